# rvmm's tasks. `make demo` and `make test` do with a fresh Debian machine that has Rust; both work a second time
# without the network. `make` alone lists the tasks.

CARGO ?= cargo
GUEST ?= cloud
CMDLINE ?= console=ttyS0 quiet

# What tests that boot guests are told: the program as it ships, and the guests.
export RVMM_GUESTS := $(CURDIR)/cache/guests

.DEFAULT_GOAL := help
.PHONY: help demo demo-shell lockstep same guests guests-all docker-guest tools build test check check-apple check-apple-types fuzz bench matrix clean

help: ## list the tasks
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1|\2/p' $(MAKEFILE_LIST) | \
	    while IFS='|' read -r task text; do printf '%-18s %s\n' "$$task" "$$text"; done

demo: build docker-guest ## boot the Docker guest on this terminal; Ctrl-A x quits (CPUS=2 MEMORY=2G SHARE=folder)
	@scripts/demo.sh

demo-shell: tools guests ## boot the small guest to a shell (GUEST=cloud|generic CPUS=1 MEMORY=512M)
	$(CARGO) build --locked --release -p rvmm
	$(CARGO) run --locked --release -q -p rvmm -- boot \
	    --kernel cache/guests/$(GUEST)/bzImage --initrd cache/guests/$(GUEST)/rootfs.cpio.xz \
	    --memory $(or $(MEMORY),512M) --cpus $(or $(CPUS),1) --cmdline '$(CMDLINE)'

tools:
	@scripts/need.sh cargo:rust cc:gcc /usr/include/stdio.h:libc6-dev git:git python3:python3

guests: ## make the guests from Debian's packages
	@fixtures/guest/make.sh cloud generic

guests-all: ## make the guests of the boot matrix too: older, newer, real-time, 32-bit
	@fixtures/guest/make.sh $$(sed 's/#.*//' fixtures/guest/guests.list | awk 'NF { print $$1 }')

docker-guest: ## make the Docker guest, and an image for it
	@fixtures/docker/make.sh
	@fixtures/docker/image.sh
	@fixtures/docker/client.sh > /dev/null

build: tools ## build the release
	$(CARGO) build --locked --release -p rvmm

# The tests' own result lines come last.
test: tools guests docker-guest ## run all tests
	@scripts/need.sh qemu-img:qemu-utils
	@scripts/layout.py
	$(CARGO) fmt --all --check
	scripts/apple/check.sh types
	scripts/fuzz.sh short
	$(CARGO) build --locked --release -p rvmm
	$(CARGO) test --locked --workspace --no-fail-fast

check: tools ## format, lints, documentation, and the rules of scripts/layout.py
	$(CARGO) fmt --all --check
	scripts/layout.py
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc --locked --workspace --no-deps --document-private-items

check-apple: tools ## type-check, lint, link and sign for both Apple targets, without a Mac
	scripts/apple/check.sh all

fuzz: tools ## fuzz every target for a while (SECONDS_EACH=60)
	scripts/fuzz.sh long

bench: tools guests docker-guest ## measure against QEMU's software emulation on this machine
	@scripts/need.sh qemu-system-x86_64:qemu-system-x86 lz4:lz4 xz:xz-utils zstd:zstd iperf3:iperf3
	@fixtures/docker/make.sh docker-bench
	$(CARGO) build --locked --release -p rvmm
	scripts/bench.py
	scripts/bench_guest.py
	scripts/bench_guest.py --cpus 2 --rows one-sha256sum,two-sha256sums
	scripts/bench_docker.py
	$(CARGO) bench --locked -q -p tests --bench virtio_blk
	$(CARGO) bench --locked -q -p tests --bench p9
	$(CARGO) run --locked -q --release -p devices --features mock --example net_throughput

lockstep: tools guests ## boot two kernels with the interpreter beside the translator, compared all the way (minutes)
	$(CARGO) build --locked --release -p rvmm
	$(CARGO) test --locked -p rvmm --test kernels -- --ignored --nocapture lock_step

same: build guests ## boot in counted time again and again: one outcome (COUNT=200 CPUS=1 GUEST=cloud)
	GUEST=$(GUEST) scripts/same.sh $(or $(COUNT),200) --cpus $(or $(CPUS),1)

matrix: build ## boot every guest there is with one and two vCPUs and run its checks (make guests-all first)
	scripts/matrix.sh

clean: ## remove what was built and fetched
	$(CARGO) clean
	rm -rf cache
