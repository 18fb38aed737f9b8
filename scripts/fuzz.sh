#!/bin/sh
# Builds the fuzz targets and runs them.
#
#   scripts/fuzz.sh short            a few thousand inputs each, for `make test`
#   scripts/fuzz.sh long [TARGET...] SECONDS_EACH seconds each (60)
#
# The targets are cargo-fuzz's, but the coverage a fuzzer needs can be asked of any stable compiler, so nothing has to
# be installed. What was found stays in tests/fuzz/corpus; an input that fails, in tests/fuzz/artifacts.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
fuzz=$root/tests/fuzz
host=$(rustc -vV | sed -n 's/^host: //p')

say() { printf '%s\n' "$*" >&2; }

length=${1:-long}
[ $# = 0 ] || shift
case $length in
    short | long) ;;
    *) say "error: short or long"; exit 2 ;;
esac
seconds=${SECONDS_EACH:-60}
[ $# -gt 0 ] || set -- kernel initramfs devices mmio p9 net disk_config qcow2 virtio_blk virtio

"$root/scripts/need.sh" g++:g++ # libFuzzer, in libfuzzer-sys, is C++

say "fuzz: building"
# With a target named, build scripts and procedural macros are left without instrumentation.
RUSTFLAGS="--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table
    -Cllvm-args=-sanitizer-coverage-trace-compares" \
    CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$root/target}/fuzz" \
    cargo build --release --manifest-path "$fuzz/Cargo.toml" --target "$host"
programs=${CARGO_TARGET_DIR:-$root/target}/fuzz/$host/release

# seed TARGET NAME: standard input becomes an input to start from.
seed() {
    mkdir -p "$fuzz/corpus/$1"
    cat > "$fuzz/corpus/$1/seed-$2"
}

# Inputs to start from are made here, of what the machine has.
seeds() {
    payload=$(printf '070701%0104d' 0)
    for tool in 'gzip -nc' 'xz -c' 'xz --check=crc32 -c' 'lzma -c' 'bzip2 -c' 'zstd -qc' 'lz4 -lc' 'lzop -c'; do
        name=$(echo "$tool" | tr -dc a-z0-9)
        if command -v "${tool%% *}" > /dev/null; then
            printf '%s' "$payload" | $tool | seed initramfs "$name"
            # A packed file is a kernel's payload as well.
            printf '%s' "$payload" | $tool | seed kernel "$name"
        fi
    done
    printf '%s' "$payload" | seed initramfs cpio
    for guest in "$root"/cache/guests/*/bzImage; do
        [ ! -e "$guest" ] || head -c 20000 "$guest" | seed kernel "$(basename "$(dirname "$guest")")"
    done
    # MOV to and from memory, in the three forms compilers use, behind a mode byte and registers.
    printf '\003\000\000%s\211\007' "$(printf '%24s' '' | tr ' ' '\220')" | seed mmio mov32
    printf '\003\000\000%s\110\213\006' "$(printf '%24s' '' | tr ' ' '\220')" | seed mmio mov64
    printf '\003\000\000%s\363\244' "$(printf '%24s' '' | tr ' ' '\220')" | seed mmio movs
    printf '\023\000\000%s\363\154' "$(printf '%24s' '' | tr ' ' '\220')" | seed mmio ins
    # The host connects, the guest answers its SYN, both send.
    printf '\077\003\000\000\007\001\001\000\000\377\377\000\000\264\005\007\000\000\007' | seed net connect
    printf '\000\002\003\040\000\021\000\000\000' | seed devices ports
    # Each virtio device over both transports, with both kinds of ring, and two requests: the rest of an input is zeros.
    for device in 0 1 2 3 4 5 6; do
        for way in 0 1 2 3; do
            printf "\\00$device\\00$way\\000\\005\\000\\000\\002\\000\\000\\000\\001\\002" | seed virtio "$device-$way"
        done
    done
    # A guest program that connects by vsock, and a host program that does.
    printf '\003\000\000\007\000\001\000\000\000\001\000\000\001\000\002\000\004\010\006' | seed virtio vsock-guest
    printf '\003\000\000\007\000\000\010\000\010\001\016\010\003' | seed virtio vsock-host
}
seeds

# options TARGET: a short run has the same inputs each time, and as many of them on a quick machine as on a slow one: what
# passed does not fail by luck. Ten seconds' worth.
options() {
    [ "$length" = short ] || return 0
    case $1 in
        kernel | net) runs=60000 ;;
        initramfs) runs=150000 ;;
        devices) runs=400000 ;;
        mmio) runs=1500000 ;;
        disk_config) runs=2500000 ;;
        p9 | virtio_blk) runs=40000 ;;
        qcow2) runs=6000 ;;
        virtio) runs=2500 ;;
        *) runs=10000 ;;
    esac
    echo "-seed=1 -runs=$runs"
}

# Targets leave their last files behind. Memory is a hundred times faster than a disk here.
TMPDIR=$(mktemp -d -p /dev/shm 2> /dev/null || mktemp -d)
export TMPDIR
trap 'rm -rf "$TMPDIR"' EXIT

for target in "$@"; do
    mkdir -p "$fuzz/corpus/$target" "$fuzz/artifacts/$target"
    say "fuzz: $target, at most $seconds s"
    log=$fuzz/artifacts/$target.log
    # An input may take ten seconds, and unpacking as much memory as the targets allow; more is a finding.
    # shellcheck disable=SC2046 # several options
    if "$programs/$target" $(options "$target") -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -max_len=20000 \
        -print_final_stats=1 -verbosity=1 -artifact_prefix="$fuzz/artifacts/$target/" "$fuzz/corpus/$target" \
        > "$log" 2>&1; then
        say "fuzz: $target: $(sed -n 's/^stat::number_of_executed_units: *//p' "$log") inputs run, $(sed -n 's/.* cov: \([0-9]*\).*/\1/p' "$log" | tail -1) edges, no failure"
    else
        tail -40 "$log" >&2
        say "error: fuzz target $target failed; the input is in ${fuzz#"$root"/}/artifacts/$target"
        exit 1
    fi
done
