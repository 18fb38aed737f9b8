#!/bin/sh
# Builds for both Apple targets on Linux, as far as that can go without a Mac.
#
#   scripts/apple/check.sh types    type-check every crate, tests included
#   scripts/apple/check.sh all      and lint, link the program, check the symbols it needs, sign it with its entitlement
#
# Linking uses text stubs that are written here from lists of names: what a stub does not list does not link. So a
# misspelt function of the framework, one of the other architecture, and one newer than the oldest macOS we start on
# (those are to be looked up at run time) are all found.
set -eu
export LC_ALL=C
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
cache=${RVMM_CACHE:-$root/cache}
work=$cache/apple
toolchain=$work/toolchain

export MACOSX_DEPLOYMENT_TARGET=11.0
TARGETS="aarch64-apple-darwin x86_64-apple-darwin"
RCODESIGN=0.29.0

say() { printf '%s\n' "$*" >&2; }
die() { say "error: $*"; exit 1; }

# Cargo of the unpacked toolchain. Standard library: built from source, which only a nightly, or the bootstrap
# variable, may ask for. Dependencies unoptimised: they are not run.
apple_cargo() (
    libraries=$(echo "$toolchain"/usr/lib/*-linux-gnu)
    unset RUSTC RUSTFLAGS CARGO_ENCODED_RUSTFLAGS RUSTC_WRAPPER RUSTUP_TOOLCHAIN CARGO_BUILD_TARGET
    export LD_LIBRARY_PATH="$libraries" PATH="$toolchain/usr/bin:$PATH" RUSTC_BOOTSTRAP=1
    export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$root/target}/apple" CARGO_INCREMENTAL=0
    command=$1
    shift
    targets=
    for target in $TARGETS; do targets="$targets --target $target"; done
    cd "$root"
    "$toolchain/usr/bin/cargo" "$command" --locked -Zbuild-std=std,panic_abort $targets \
        --config 'profile.dev.package."*".opt-level=0' --config 'profile.dev.debug=false' "$@"
)

types() {
    say "apple: type-checking for $TARGETS"
    apple_cargo check --workspace --all-targets
}

lint() {
    say "apple: clippy for $TARGETS"
    apple_cargo clippy --workspace --all-targets -- -D warnings
}

# stub FILE INSTALL-NAME TARGET: a text stub that exports the names on standard input.
stub() {
    mkdir -p "${1%/*}"
    {
        printf -- '--- !tapi-tbd\ntbd-version: 4\ntargets: [ %s ]\ninstall-name: %s\nexports:\n' "$3" "'$2'"
        printf '  - targets: [ %s ]\n    symbols:\n' "$3"
        sort -u | sed "s/^=/-/; t; s/^/_/; " | sed "s/^-//; s/.*/      - '&'/"
        echo ...
    } > "$1"
}

# system_names: the C library's functions: those that the libc crate declares for macOS, and those of the list.
system_names() {
    sed 's/#.*//' "$here/libSystem.list" | tr -s ' ' '\n' | grep .
    for source in $(cd "$root" && cargo metadata --locked --format-version 1 --filter-platform aarch64-apple-darwin |
        grep -o '"manifest_path":"[^"]*/libc-0[^"]*/Cargo.toml"' | cut -d'"' -f4 | sort -u) \
        "$toolchain"/usr/lib/rustlib/src/rust/library/vendor/libc-0*/Cargo.toml; do
        (cd "${source%/*}/src" && find unix/mod.rs unix/bsd/mod.rs unix/bsd/apple new -name '*.rs' -exec cat {} +)
    done | sed -n 's/.*fn \([a-z_A-Z0-9]*\)(.*/\1/p; s/.*link_name = "\([^"]*\)".*/\1/p' | sed 's/^\x01//'
}

# at_most A B: whether version A is no newer than version B.
at_most() { [ "$(printf '%s\n%s\n' "$1" "$2" | sort -V | tail -1)" = "$2" ]; }

# sdk ARCHITECTURE: stubs in place of an SDK; prints their folder.
sdk() {
    sdk=$work/sdk-$1
    rm -rf "$sdk"
    framework=System/Library/Frameworks/Hypervisor.framework
    grep -v '^#' "$here/Hypervisor.$1.list" | while read -r name since; do
        ! at_most "$since" "$MACOSX_DEPLOYMENT_TARGET" || echo "$name"
    done | stub "$sdk/$framework/Hypervisor.tbd" "/$framework/Versions/A/Hypervisor" "$1-macos"
    framework=System/Library/Frameworks/vmnet.framework
    grep -v '^#' "$here/vmnet.list" | stub "$sdk/$framework/vmnet.tbd" "/$framework/Versions/A/vmnet" "$1-macos"
    system_names > "$work/system-names"
    for library in System c m iconv objc; do
        stub "$sdk/usr/lib/lib$library.tbd" /usr/lib/libSystem.B.dylib "$1-macos" < "$work/system-names"
    done
    echo "$sdk"
}

link() {
    for target in $TARGETS; do
        architecture=${target%%-*}
        [ "$architecture" = x86_64 ] || architecture=arm64
        say "apple: linking for $target"
        stubs=$(sdk "$architecture")
        flags="'-Clinker-flavor=ld64.lld','-Cstrip=none'"
        flags="$flags,'-Clink-arg=-F$stubs/System/Library/Frameworks','-Clink-arg=-L$stubs/usr/lib'"
        flags="$flags,'-Clink-arg=--error-limit=0'"
        linker=$(echo "$toolchain"/usr/lib/llvm-*/bin/ld64.lld)
        (TARGETS=$target SDKROOT=$stubs && export SDKROOT && apple_cargo build -p rvmm \
            --config "target.$target.linker='$linker'" --config "target.$target.rustflags=[$flags]") ||
            die "$target does not link. An undefined symbol _hv_… is not in scripts/apple/Hypervisor.$architecture.list, or newer than macOS $MACOSX_DEPLOYMENT_TARGET (look it up at run time). Another one: if macOS's C library has it, add it to scripts/apple/libSystem.list"
        program=$(program "$target")
        head -c 4 "$program" | od -An -tx1 | grep -q 'cf fa ed fe' || die "$program is no Mach-O file"
        used=$(grep -ao '_hv_[a-z0-9_]*' "$program" | sort -u | wc -l)
        say "apple: $target: $(wc -c < "$program") bytes, $used names of the framework"
        [ "$architecture" != x86_64 ] || [ "$used" -gt 0 ] || die "$target: the native provider is not linked in"
    done
}

program() { echo "${CARGO_TARGET_DIR:-$root/target}/apple/$1/debug/rvmm"; }

# Names that are looked up at run time must be in one of the lists, of whatever version.
looked_up() {
    names=$(grep -rhoE 'c"hv_[a-z0-9_]+"' "$root"/*/src --include='*.rs' | sed 's/^c"\(.*\)"$/\1/' | sort -u)
    for name in $names; do
        grep -qE "^$name " "$here"/Hypervisor.*.list || die "$name, looked up at run time, is in no Hypervisor.*.list"
    done
    say "apple: $(echo $names | wc -w) names looked up at run time, all known"
}

sign() {
    tool=$work/rcodesign/bin/rcodesign
    if [ ! -x "$tool" ]; then
        say "apple: building the signing tool, once (about two minutes)"
        cargo install --quiet --locked --debug --no-default-features --config 'profile.dev.debug=0' \
            --target-dir "$work/rcodesign/target" --root "$work/rcodesign" "apple-codesign@$RCODESIGN"
        rm -rf "$work/rcodesign/target"
    fi
    for target in $TARGETS; do
        signed=$work/signed/$target/rvmm
        mkdir -p "${signed%/*}"
        "$tool" sign --entitlements-xml-path "$here/rvmm.entitlements" "$(program "$target")" "$signed" > "$work/sign.log" 2>&1 ||
            { cat "$work/sign.log" >&2; die "$target: signing failed"; }
        "$tool" print-signature-info "$signed" | grep -q com.apple.security.hypervisor ||
            die "$target: the signature lacks the entitlement"
        say "apple: signed with the entitlement: ${signed#"$root"/}"
    done
}

[ $# -gt 0 ] || set -- all
"$here/toolchain.sh"
case $1 in
    types) types ;;
    link) link && looked_up ;;
    sign) sign ;;
    all)
        types
        lint
        link
        looked_up
        sign
        ;;
    *) die "types, link, sign or all" ;;
esac
