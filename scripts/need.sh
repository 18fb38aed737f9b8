#!/bin/sh
# Sees to it that commands and files are there; installs Debian packages for those that are not.
#   scripts/need.sh COMMAND-OR-ABSOLUTE-PATH:PACKAGE...
set -eu

packages=
for pair in "$@"; do
    case $pair in
        /*) [ ! -e "${pair%%:*}" ] || continue ;;
        *) ! command -v "${pair%%:*}" > /dev/null || continue ;;
    esac
    packages="$packages ${pair#*:}"
done
[ -n "$packages" ] || exit 0

case " $packages" in
    *" rust"*)
        echo "error: no Rust here: install it by rustup, or as Debian's packages cargo and rustc, 1.90 or newer" >&2
        exit 1
        ;;
esac
if ! command -v apt-get > /dev/null; then
    echo "error: missing here, and there is no apt-get to install it with:$packages" >&2
    exit 1
fi
as_root=
if [ "$(id -u)" != 0 ]; then
    command -v sudo > /dev/null || {
        echo "error: missing here:$packages (as root: apt-get install$packages)" >&2
        exit 1
    }
    as_root=sudo
fi
echo "installing$packages" >&2
export DEBIAN_FRONTEND=noninteractive
# The lists may be absent or older than the archive: fetch them when the first try fails.
$as_root apt-get -qq install -y --no-install-recommends $packages > /dev/null 2>&1 || {
    $as_root apt-get -qq update >&2
    $as_root apt-get -qq install -y --no-install-recommends $packages >&2
}
