#!/bin/sh
# A Rust toolchain that can build for Apple's systems on Debian, unpacked into cache/apple/toolchain.
#
# A target's standard library comes with no Debian package, but the standard library's source does: cargo builds it
# (-Zbuild-std). Compiler, source and linter must be of one version, so all are taken from Debian and the machine's own
# toolchain is left alone. ld64.lld links. About 150 MB to download, 600 MB on disk.
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
CACHE=${RVMM_CACHE:-$root/cache}
. "$root/fixtures/debian.sh"

toolchain=$CACHE/apple/toolchain
[ ! -e "$toolchain/ready" ] || exit 0

say "toolchain for Apple's targets"
rm -rf "$toolchain"
debian_apt "$(debian_suite)" "$(dpkg --print-architecture)"
# Releases whose own rustc is too old carry a newer one for web browsers.
if [ -n "$(apt-cache show rustc-web 2> /dev/null)" ]; then
    set -- rustc-web cargo-web rust-web-src rust-web-clippy
else
    set -- rustc cargo rust-src rust-clippy
fi
# The linker of the LLVM that this rustc was built with.
library=$(apt-cache depends --recurse --no-recommends --no-suggests --no-conflicts --no-breaks --no-replaces \
    --no-enhances "$1" | sed -n 's/^libllvm\([0-9]*\).*/\1/p' | sort -n | tail -1)
debian_unpack "$toolchain" "$@" "lld-${library:?rustc needs no libllvm: which lld fits it is unknown}" ||
    die "the toolchain could not be unpacked"
touch "$toolchain/ready"
