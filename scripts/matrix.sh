#!/bin/sh
# Boots every guest there is (make guests, make guests-all) with one and with two vCPUs, runs the guest's own checks
# of its machine, and powers off.
#   scripts/matrix.sh [GUEST...]
# RVMM names the program, TIMEOUT the seconds a boot may take.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
rvmm=${RVMM:-${CARGO_TARGET_DIR:-$root/target}/release/rvmm}
timeout=${TIMEOUT:-120}
logs=$root/cache/matrix
mkdir -p "$logs"

# The Docker guest has tests of its own.
[ $# -gt 0 ] || set -- $(cd "$root/cache/guests" && for guest in *; do case $guest in docker*) ;; *) echo "$guest" ;; esac; done)
passed=0
failed=0
for guest in "$@"; do
    files=$root/cache/guests/$guest
    for cpus in 1 2; do
        log=$logs/$guest-$cpus.log
        started=$(date +%s)
        code=0
        "$rvmm" boot --kernel "$files/bzImage" --initrd "$files/rootfs.cpio.xz" --memory 512M --cpus "$cpus" \
            --engine soft --serial stdio --on-reboot exit --timeout "$timeout" \
            --cmdline 'console=ttyS0 rvmm.selftest' > "$log" 2>&1 < /dev/null || code=$?
        spent=$(($(date +%s) - started))
        if [ "$code" = 0 ] && grep -q 'rvmm: selftest passed' "$log"; then
            passed=$((passed + 1))
            verdict=passed
        else
            failed=$((failed + 1))
            verdict="FAILED (code $code; $(grep -a FAILED "$log" | tr -d '\r' | head -1 || true)) ${log#"$root"/}"
        fi
        printf '%-12s %s vCPU %4s s  %-34s %s\n' "$guest" "$cpus" "$spent" "$(cut -d' ' -f1 "$files/kernel-version")" "$verdict"
    done
done
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
