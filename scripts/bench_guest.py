#!/usr/bin/env python3
"""Measures programs in a guest on rvmm beside QEMU's software emulation, and the same programs on the host.

One boot of each subject, then the workloads in turn, several rounds of them, all subjects alternating. Times are the
host's, between two lines on the guest's console, so no guest's clock is trusted. Prints medians, the ratio to QEMU and
what share of the host's own speed the guest has, and leaves the numbers in cache/bench/guest.json. Nothing here passes
or fails: numbers depend on the machine and on what else it does.

Usage: scripts/bench_guest.py [--runs N] [--scale N] [--rows NAME,...] [--cpus N] [--only rvmm|qemu] [--rvmm PATH]
"""

import argparse
import json
import lzma
import os
import select
import shutil
import statistics
import subprocess
import sys
import time

from bench import BOOT_LIMIT_S, CACHE, CMDLINE, PROMPT, ROOT, children_seconds, processor_seconds, resident, say, subjects

# Workloads longer than this are given up.
ROW_LIMIT_S = 600
MEMORY_MIB = 1024
# Files of the measuring guest (fixtures/docker/make.sh docker-bench) that the small guest gets, too.
PROGRAMS = ("usr/bin/lua5.4", "usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2")
LIBRARIES = "usr/lib/x86_64-linux-gnu/lib"
NEEDED_LIBRARIES = ("libreadline.so.8", "libtinfo.so.6", "libm.so.6", "libc.so.6")
APPLETS = ("sh", "dd", "sha256sum", "seq", "head", "gzip", "wc", "awk", "sort", "tail", "rm")
LUA = """local t, s = {}, 0
for i = 1, tonumber(arg[1]) do t[i % 1000] = i; s = (s + i * 7 // 3 + (t[(i * 31) % 1000] or 0)) % 1000003 end
for i = 1, tonumber(arg[1]) // 30 do s = s + #(tostring(i) .. "x"):rep(3) end
print(s)
"""
# Name, amount, what comes before the clock runs, what is measured. $N is the amount, $B the folder of the programs.
ROWS = [
    ("sha256sum-256m", 256, "", "dd if=/dev/zero bs=1M count=$N 2>/dev/null | sha256sum"),
    ("gzip-64m", 64, "seq 1 9000000 | head -c $((N * 1048576)) > /tmp/text", "gzip -c /tmp/text | wc -c; rm /tmp/text"),
    ("shell-loop-200k", 200000, "", "i=0; while [ $i -lt $N ]; do i=$((i + 1)); done"),
    (
        "sort-1m",
        1000000,
        "awk -v n=$N 'BEGIN { x = 1; for (i = 0; i < n; i++) { x = (x * 1103515245 + 12345) % 2147483648; print x } }' "
        "> /tmp/lines",
        "sort /tmp/lines | tail -n 1; rm /tmp/lines",
    ),
    ("lua-loop", 3000000, "", "$B/ld.so --library-path $B $B/lua5.4 $B/loop.lua $N"),
    ("syscalls", 2000000, "", "$B/micro syscalls $N"),
    ("faults", 409600, "", "$B/micro faults $N"),
    ("switches", 100000, "", "$B/micro switches $N"),
    ("forks", 2000, "", "$B/micro forks $N"),
]
# What a second vCPU is worth: the same work once, and twice at the same time.
ZEROS = "head -c $((N * 1048576)) /dev/zero > /tmp/zeros"
SEVERAL_ROWS = [
    ("one-sha256sum", 128, ZEROS, "sha256sum /tmp/zeros; rm /tmp/zeros"),
    ("two-sha256sums", 128, ZEROS, "sha256sum /tmp/zeros & sha256sum /tmp/zeros; wait; rm /tmp/zeros"),
]


def read_archive(data):
    """The regular files and links of an initramfs archive in "new ASCII" format: name -> (mode, bytes)."""
    found, at = {}, 0
    while data[at : at + 6] == b"070701":
        field = [int(data[at + 6 + 8 * i : at + 14 + 8 * i], 16) for i in range(13)]
        mode, size, name_size = field[1], field[6], field[11]
        name = data[at + 110 : at + 109 + name_size].decode()
        start = (at + 110 + name_size + 3) & ~3
        if name == "TRAILER!!!":
            break
        found[name] = (mode, data[start : start + size])
        at = (start + size + 3) & ~3
    return found


def write_archive(path, files):
    """The reverse, for a list of (name, mode, bytes)."""
    with open(path, "wb") as file:
        for number, (name, mode, content) in enumerate([*files, ("TRAILER!!!", 0, b"")], 1):
            fields = (number, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name) + 1, 0)
            header = b"070701" + b"".join(b"%08X" % field for field in fields) + name.encode() + b"\0"
            file.write(header + bytes(-len(header) % 4) + content + bytes(-len(content) % 4))


def programs(work):
    """The programs, on the host: a folder that both the host and the guest run them from."""
    folder = os.path.join(work, "programs")
    os.makedirs(folder, exist_ok=True)
    packed = os.path.join(CACHE, "guests", "docker-bench", "rootfs.cpio.xz")
    stamp = os.path.join(folder, "lua5.4")
    if not os.path.exists(stamp) or os.path.getmtime(stamp) < os.path.getmtime(packed):
        with lzma.open(packed) as file:
            archive = read_archive(file.read())

        def content(name):
            mode, data = archive[name]
            # A link's content is its target.
            return data if mode >> 12 == 8 else content(os.path.join(os.path.dirname(name), data.decode()))

        wanted = {"lua5.4": PROGRAMS[0], "ld.so": PROGRAMS[1]}
        wanted.update({name: os.path.join(os.path.dirname(LIBRARIES), name) for name in NEEDED_LIBRARIES})
        for name, source in wanted.items():
            with open(os.path.join(folder, name), "wb") as file:
                file.write(content(source))
            os.chmod(os.path.join(folder, name), 0o755)
    with open(os.path.join(folder, "loop.lua"), "w") as file:
        file.write(LUA)
    source = os.path.join(ROOT, "fixtures", "docker", "bench", "micro.c")
    subprocess.run(["cc", "-O2", "-static", "-o", os.path.join(folder, "micro"), source], check=True)
    return folder


def make_initrd(guest, work, folder):
    """The guest's own initramfs with the programs behind it: Linux unpacks one archive after the other."""
    with lzma.open(os.path.join(guest, "rootfs.cpio.xz")) as file:
        plain = file.read()
    extra = os.path.join(work, "extra.cpio")
    files = [("bench", 0o40755, b"")]
    for name in sorted(os.listdir(folder)):
        with open(os.path.join(folder, name), "rb") as file:
            files.append((f"bench/{name}", 0o100755, file.read()))
    write_archive(extra, files)
    path = os.path.join(work, "rootfs.cpio")
    with open(path, "wb") as out, open(extra, "rb") as file:
        out.write(plain + bytes(-len(plain) % 512) + file.read())
    os.remove(extra)
    busybox = next(data for name, (mode, data) in read_archive(plain).items() if name == "bin/busybox")
    return path, busybox


class Guest:
    """A subject at its prompt."""

    def __init__(self, subject):
        self.name = subject.name
        self.seen = b""
        self.child = subprocess.Popen(
            subject.command(f"{CMDLINE} quiet"), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        self.wait_for(PROMPT, BOOT_LIMIT_S)
        self.run("stty -echo; B=/bench", BOOT_LIMIT_S)

    def wait_for(self, text, limit_s):
        """The time at which the console shows `text`; forgets what came before."""
        deadline = time.monotonic() + limit_s
        while text not in self.seen:
            ready, _, _ = select.select([self.child.stdout], [], [], max(0, deadline - time.monotonic()))
            piece = os.read(self.child.stdout.fileno(), 65536) if ready else b""
            if not piece:
                raise RuntimeError(f"{self.name}: no {text.decode()!r}; the console ends:\n{self.seen[-1500:].decode(errors='replace')}")
            self.seen += piece
        at = time.monotonic()
        self.seen = self.seen[self.seen.index(text) + len(text) :]
        return at

    def run(self, command, limit_s, before=""):
        """Runs a shell command and answers its seconds."""
        # What is typed does not contain the lines that are waited for.
        line = f"{before or ':'}; echo beg''in; {command}; echo en''ded\n"
        self.child.stdin.write(line.encode())
        self.child.stdin.flush()
        started = self.wait_for(b"begin\r\n", limit_s)
        return self.wait_for(b"ended\r\n", limit_s) - started

    def measure(self, row, amount):
        """Seconds by the clock, and seconds of a processor."""
        _, _, before, command = row
        self.run(before or ":", ROW_LIMIT_S, f"N={amount}")
        spent = processor_seconds(self.child.pid)
        seconds = self.run(command, ROW_LIMIT_S)
        return seconds, processor_seconds(self.child.pid) - spent

    def close(self):
        self.child.kill()
        self.child.wait()


class Host:
    """The host itself, with the guest's own shell and tools."""

    name = "native"

    def __init__(self, folder, busybox, work):
        self.folder = folder
        self.applets = os.path.join(work, "applets")
        os.makedirs(self.applets, exist_ok=True)
        program = os.path.join(self.applets, "busybox")
        with open(program, "wb") as file:
            file.write(busybox)
        os.chmod(program, 0o755)
        for name in APPLETS:
            link = os.path.join(self.applets, name)
            if not os.path.islink(link):
                os.symlink("busybox", link)

    def measure(self, row, amount):
        """Seconds by the clock, and seconds of a processor."""
        _, _, before, command = row
        environment = {"PATH": self.applets, "B": self.folder, "N": str(amount)}
        shell = [os.path.join(self.applets, "sh"), "-c"]
        if before:
            subprocess.run([*shell, before], env=environment, check=True)
        started, spent = time.monotonic(), children_seconds()
        subprocess.run([*shell, command], env=environment, check=True, stdout=subprocess.DEVNULL, timeout=ROW_LIMIT_S)
        return time.monotonic() - started, children_seconds() - spent

    def close(self):
        pass


def measure(found, rows, runs, scale):
    times = {row[0]: {one.name: [] for one in found} for row in rows}
    for round_number in range(runs):
        for row in rows:
            amount = max(row[1] // scale, 1)
            for one in found:
                seconds, spent = one.measure(row, amount)
                times[row[0]][one.name].append((seconds, spent))
                say(f"  {row[0]}: {one.name} {seconds:.3f} s, {spent:.2f} s of a processor")
    return times


def show(found, rows, times, which, title):
    """A table of medians: of the clock's seconds (0) or the processor's (1), which a busy host distorts least."""
    names = [one.name for one in found]
    say(f"\n{title:22}" + "".join(f"{name:>14}" for name in names) + "   rvmm / qemu   of native")
    found_medians = {}
    for name, *_ in rows:
        medians = {who: statistics.median(pair[which] for pair in pairs) for who, pairs in times[name].items()}
        cells = "".join(f"{medians[who]:14.3f}" for who in names)
        peer = next((medians[who] for who in names if who.startswith("qemu")), None)
        ratio = f"{medians['rvmm'] / peer:14.2f}" if peer and "rvmm" in medians else " " * 14
        share = f"{100 * medians['native'] / medians['rvmm']:10.0f} %" if medians.get("rvmm") else ""
        found_medians[name] = medians
        say(f"{name:22}{cells}{ratio}{share}")
    return found_medians


def show_gain(found, medians):
    for one in found:
        once, twice = (medians[row[0]].get(one.name) for row in SEVERAL_ROWS)
        if once and twice:
            say(f"  {one.name}: two at once are {2 * once / twice:.2f} times as fast as one after the other")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    target = os.environ.get("CARGO_TARGET_DIR", os.path.join(ROOT, "target"))
    parser.add_argument("--runs", type=int, default=5, help="rounds (5)")
    parser.add_argument("--scale", type=int, default=1, help="divides all amounts, for a quick look (1)")
    parser.add_argument("--rows", help="which workloads (all; those of two at once with several vCPUs)")
    parser.add_argument("--guest", default="cloud", help="a guest in cache/guests (cloud)")
    parser.add_argument("--cpus", type=int, default=1, help="vCPUs (1)")
    parser.add_argument("--only", choices=["rvmm", "qemu"], help="without the other")
    parser.add_argument("--rvmm", default=os.path.join(target, "release", "rvmm"), help="the program")
    options = parser.parse_args()
    known = [row[0] for row in ROWS + SEVERAL_ROWS]
    wanted = options.rows.split(",") if options.rows else known if options.cpus > 1 else known[: len(ROWS)]
    unknown = set(wanted) - set(known)
    if unknown:
        sys.exit(f"error: no workload {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    rows = [row for row in ROWS + SEVERAL_ROWS if row[0] in wanted]
    guest = os.path.join(CACHE, "guests", options.guest)
    needed = [guest, os.path.join(CACHE, "guests", "docker-bench"), options.rvmm]
    for path in needed:
        if not os.path.exists(path):
            sys.exit(f"error: {path} is not there; `make bench` makes it")
    if not shutil.which("cc"):
        sys.exit("error: a C compiler is needed (gcc, libc6-dev)")

    work = os.path.join(CACHE, "bench", "guest")
    os.makedirs(work, exist_ok=True)
    folder = programs(work)
    initrd, busybox = make_initrd(guest, work, folder)
    # Of QEMU's machines the one whose clocks need no hints.
    chosen = [one for one in subjects(options, guest, initrd, MEMORY_MIB) if one.name in ("rvmm", "qemu q35")]
    if options.only:
        chosen = [one for one in chosen if one.name.startswith(options.only)]
    found = []
    try:
        for subject in chosen:
            found.append(Guest(subject))
        found.append(Host(folder, busybox, work))
        times = measure(found, rows, options.runs, options.scale)
        memory = {}
        for one in found[:-1]:
            total, of_guest = resident(one.child.pid, MEMORY_MIB)
            memory[one.name] = {"resident_kib": total, "guest_kib": of_guest}
            say(f"  {one.name}: {total / 1024:.1f} MiB resident, {(total - of_guest) / 1024:.1f} MiB beyond the guest's memory")
    finally:
        for one in found:
            one.close()
    medians = show(found, rows, times, 0, "seconds (median)")
    spent = show(found, rows, times, 1, "processor seconds")
    if all(row in rows for row in SEVERAL_ROWS):
        show_gain(found, medians)
    latest = os.path.join(CACHE, "bench", "guest.json")
    with open(latest, "w") as file:
        numbers = {"cpus": options.cpus, "scale": options.scale, "times": times, "memory": memory}
        json.dump({**numbers, "median_s": medians, "median_processor_s": spent}, file, indent=1)
    say(f"\nnumbers: {os.path.relpath(latest)}")


if __name__ == "__main__":
    main()
