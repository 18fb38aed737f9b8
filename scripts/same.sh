#!/bin/sh
# Boots a guest again and again with --engine-opts clock=virtual and counts the outcomes that differ: the console's bytes
# and the number of instructions. One is right.
#   scripts/same.sh [COUNT [FLAG...]]
# GUEST names the guest (cloud), WORDS what its kernel is told beside its console, RVMM the program, OPTS more engine
# options (jit=off, seed=7), BOTH=1 has every second boot interpreted.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
rvmm=${RVMM:-${CARGO_TARGET_DIR:-$root/target}/release/rvmm}
files=$root/cache/guests/${GUEST:-cloud}
count=${1:-200}
[ $# = 0 ] || shift
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

number=0
while [ "$number" -lt "$count" ]; do
    number=$((number + 1))
    options=clock=virtual${OPTS:+,$OPTS}
    [ -z "${BOTH:-}" ] || [ $((number % 2)) = 1 ] || options=$options,jit=off
    if ! "$rvmm" boot --kernel "$files/bzImage" --initrd "$files/rootfs.cpio.xz" --memory 256M --engine soft \
        --serial "file=$work/console" --timeout 300s --engine-opts "$options" --report json "$@" \
        --cmdline "console=ttyS0 ${WORDS:-rvmm.poweroff}" < /dev/null 2> "$work/report"; then
        cat "$work/report" >&2
        echo "error: boot $number failed" >&2
        exit 1
    fi
    instructions=$(sed -n 's/.*"guest_instructions":\([0-9]*\).*/\1/p' "$work/report")
    echo "$(sha256sum < "$work/console" | cut -c1-16) $instructions" >> "$work/outcomes"
done
sort "$work/outcomes" | uniq -c | sort -rn | while read -r times hash instructions; do
    echo "$times boots: console $hash, $instructions instructions"
done
distinct=$(sort -u "$work/outcomes" | wc -l)
echo "$count boots, $distinct outcomes"
[ "$distinct" = 1 ]
