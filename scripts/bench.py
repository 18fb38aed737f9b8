#!/usr/bin/env python3
"""Measures rvmm beside QEMU's software emulation: the same kernel, initramfs, command line and memory, in turn.

Prints medians and ratios, and leaves the numbers in cache/bench/latest.json. Nothing here passes or fails: numbers
depend on the machine and on what else it does.

Usage: scripts/bench.py [--runs N] [--guest NAME] [--cpus N] [--only boot|idle] [--rvmm PATH]
"""

import argparse
import json
import os
import resource
import select
import shutil
import statistics
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
CACHE = os.path.join(ROOT, "cache")

MEMORY_MIB = 512
CMDLINE = "console=ttyS0"
PROMPT = b"rvmm:~# "
# A boot that takes longer than this is given up.
BOOT_LIMIT_S = 180
# Linux waits for ever now and then while it calibrates clocks on a busy host. Such a boot is counted, and tried again.
PEER_LIMIT_S, PEER_TRIES = 20, 3
# How long the guest at its prompt is left to settle, then watched.
SETTLE_S, WATCH_S = 3, 10
# First bytes of a kernel's payload, and what unpacks it.
PACKERS = {
    b"\xfd7zXZ": ["xz", "-dcq", "--single-stream"],
    b"\x1f\x8b": ["gzip", "-dcq"],
    b"\x28\xb5\x2f\xfd": ["zstd", "-dcq"],
    b"\x02\x21\x4c\x18": ["lz4", "-dcq"],
}


def say(text):
    print(text, flush=True)


def unpack_kernel(bz_image, vmlinux):
    """The ELF kernel inside a bzImage (Linux boot protocol 2.08: payload_offset, payload_length)."""
    with open(bz_image, "rb") as file:
        image = file.read()
    setup_sectors = image[0x1F1] or 4
    start = (setup_sectors + 1) * 512 + int.from_bytes(image[0x248:0x24C], "little")
    payload = image[start : start + int.from_bytes(image[0x24C:0x250], "little")]
    # All but xz are followed by the unpacked size, four bytes.
    for magic, tool in PACKERS.items():
        if payload.startswith(magic):
            packed = payload if tool[0] == "xz" else payload[:-4]
            kernel = subprocess.run(tool, input=packed, stdout=subprocess.PIPE, check=True).stdout
            break
    else:
        sys.exit(f"error: {bz_image}: a payload this script does not unpack")
    with open(vmlinux, "wb") as file:
        file.write(kernel)


def host_khz():
    """About the frequency of the host's TSC."""
    with open("/proc/cpuinfo") as file:
        found = next((line.split(":")[1] for line in file if line.startswith("cpu MHz")), "1000")
    return round(float(found) * 1000)


class Subject:
    """A program that boots the guest."""

    def __init__(self, name, command, limit_s=BOOT_LIMIT_S):
        self.name = name
        self.command = command  # command line words -> arguments
        self.limit_s = limit_s
        self.hangs = 0
        self.processor_s = []


def subjects(options, guest, initrd=None, memory_mib=MEMORY_MIB):
    kernel, initrd = os.path.join(guest, "bzImage"), initrd or os.path.join(guest, "rootfs.cpio.xz")
    work = os.path.join(CACHE, "bench", options.guest)
    os.makedirs(work, exist_ok=True)
    vmlinux = os.path.join(work, "vmlinux")
    unpack_kernel(kernel, vmlinux)
    cpus, memory = str(options.cpus), f"{memory_mib}M"

    def rvmm(words):
        return [
            options.rvmm, "boot", "--kernel", kernel, "--initrd", initrd, "--memory", memory, "--cpus", cpus,
            "--serial", "stdio", "--on-reboot", "exit", "--engine", "soft", "--cmdline", words,
            "--report", "json", "--unpack-cache", os.path.join(CACHE, "bench", "unpacked"),
        ]  # fmt: skip

    def qemu(*machine):
        def command(words):
            return [
                "qemu-system-x86_64", "-accel", "tcg", *machine, "-m", memory, "-smp", cpus, "-nodefaults",
                "-no-user-config", "-display", "none", "-no-reboot", "-serial", "stdio", "-append", words,
            ]  # fmt: skip

        return command

    found = [Subject("rvmm", rvmm)]
    if not shutil.which("qemu-system-x86_64"):
        say("no qemu-system-x86_64 here: nothing to compare with")
        return found
    # Its fastest set-up: no firmware's work to do, the kernel unpacked outside and entered through its PVH note. The
    # initramfs stays as it is: QEMU does not unpack it.
    bare = qemu("-M", "microvm,x-option-roms=off,auto-kernel-cmdline=off", "-kernel", vmlinux, "-initrd", initrd)

    def microvm(words):
        # This machine has no clock to calibrate the TSC with, and nothing tells its frequency, which is the host's:
        # without a hint most boots hang on a busy host.
        return bare(f"{words} tsc_early_khz={host_khz()}")

    found.append(Subject("qemu microvm", microvm, PEER_LIMIT_S))
    q35 = qemu("-M", "q35", "-kernel", kernel, "-initrd", initrd)
    found.append(Subject("qemu q35", q35, PEER_LIMIT_S))
    return found


def boot(subject):
    """Boots to /init and powers off: seconds of wall time and the report, if it gives one; None if it hangs."""
    command = subject.command(f"{CMDLINE} rvmm.poweroff")
    started = time.monotonic()
    before = children_seconds()
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        output, errors = child.communicate(timeout=subject.limit_s)
    except subprocess.TimeoutExpired:
        child.kill()
        child.communicate()
        return None
    wall = time.monotonic() - started
    subject.processor_s.append(children_seconds() - before)
    if b"rvmm: /init reached" not in output:
        tail = (output[-1500:] + errors[-1500:]).decode(errors="replace")
        sys.exit(f"error: {subject.name} ended (code {child.returncode}) before /init; its output ends:\n{tail}")
    return wall, find_report(errors)


def boot_surely(subject):
    """Boots, again where it hung. None where a peer always does; rvmm may not hang once."""
    tries = 1 if subject.name == "rvmm" else PEER_TRIES
    for _ in range(tries):
        done = boot(subject)
        if done:
            return done
        subject.hangs += 1
        say(f"  {subject.name}: hung, ended after {subject.limit_s} s")
    if subject.name == "rvmm":
        sys.exit("error: rvmm does not power off")
    return None


def find_report(errors):
    """rvmm's report on its standard error: a line that is a JSON object."""
    for line in reversed(errors.decode(errors="replace").splitlines()):
        if line.startswith("{") and '"phases"' in line:
            return json.loads(line)
    return None


def measure_boots(found, runs):
    times = {subject.name: [] for subject in found}
    reports = []
    for round_number in range(runs + 1):
        for subject in found:
            done = boot_surely(subject)
            if not done:
                continue
            wall, report = done
            kept = "" if round_number else " (to warm up, not counted)"
            say(f"  {subject.name}: {wall:.3f} s{kept}")
            if round_number:
                times[subject.name].append(wall)
                if report:
                    reports.append(report)
    return times, reports


def children_seconds():
    """Processor time of the children that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def processor_seconds(pid):
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident(pid, memory_mib=MEMORY_MIB):
    """Resident KiB: all, and the guest's memory, which is the mapping of its size."""
    total = guest = 0
    size = 0
    with open(f"/proc/{pid}/smaps") as file:
        for line in file:
            word, _, rest = line.partition(":")
            if word == "Size":
                size = int(rest.split()[0])
            elif word == "Rss":
                kib = int(rest.split()[0])
                total += kib
                # The mapping may begin with guard pages or be merged with a neighbour.
                if memory_mib * 1024 <= size <= memory_mib * 1024 + 4096:
                    guest += kib
    return total, guest


def idle(subject):
    """Boots to the prompt and watches it: share of one core, resident memory there."""
    child = subprocess.Popen(
        subject.command(f"{CMDLINE} quiet"), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        seen = b""
        deadline = time.monotonic() + subject.limit_s
        while PROMPT not in seen:
            ready, _, _ = select.select([child.stdout], [], [], max(0, deadline - time.monotonic()))
            piece = os.read(child.stdout.fileno(), 65536) if ready else b""
            if not piece:
                say(f"  {subject.name}: no prompt after {subject.limit_s} s; its console ends: {seen[-200:]!r}")
                return None
            seen += piece
        time.sleep(SETTLE_S)
        before = processor_seconds(child.pid)
        time.sleep(WATCH_S)
        share = (processor_seconds(child.pid) - before) / WATCH_S
        total, guest = resident(child.pid)
        # rvmm says at its end how large its engine's caches are; the guest idles, so they are what they were.
        child.terminate()
        report = find_report(child.communicate(timeout=10)[1]) or {}
    finally:
        child.kill()
        child.wait()
    say(f"  {subject.name}: {share * 100:.2f} % of a core at the prompt")
    caches = (report.get("engine_cache_bytes") or 0) / 1024
    return {"share": share, "resident_kib": total, "guest_kib": guest, "engine_cache_kib": caches}


def phase_ms(reports, name):
    found = [phase["at_us"] / 1000 for report in reports for phase in report["phases"] if phase["name"] == name]
    return statistics.median(found) if found else None


def show_boots(found, times, reports, numbers):
    times = {name: values for name, values in times.items() if values}
    medians = {name: statistics.median(values) for name, values in times.items()}
    say("\nboot to /init and power off, seconds (median, least, most)")
    for name, values in times.items():
        ratio = f"   rvmm / this: {medians['rvmm'] / medians[name]:.2f}" if name != "rvmm" else ""
        say(f"  {name:<14}{medians[name]:8.3f}{min(values):8.3f}{max(values):8.3f}{ratio}")
    say("\nprocessor seconds of such a boot (median): what a busy host distorts least")
    spent = {subject.name: statistics.median(subject.processor_s[1:]) for subject in found if subject.processor_s[1:]}
    for name, value in spent.items():
        ratio = f"   rvmm / this: {spent['rvmm'] / value:.2f}" if name != "rvmm" else ""
        say(f"  {name:<14}{value:8.3f}{ratio}")
    numbers["processor_s"] = spent
    for subject in found:
        if subject.hangs:
            say(f"  {subject.name} hung in {subject.hangs} further boots (this host is busy)")
    numbers["boot_s"] = times
    numbers["ratio"] = {name: medians["rvmm"] / value for name, value in medians.items() if name != "rvmm"}
    if not reports:
        say("  rvmm gave no report")
        return
    say("\nrvmm's phases, milliseconds (median)")
    for phase in reports[-1]["phases"]:
        say(f"  {phase['name']:<20}{phase_ms(reports, phase['name']):10.1f}")
    rates = []
    for report in reports:
        instructions = report.get("guest_instructions")
        if instructions:
            at_us = {phase["name"]: phase["at_us"] for phase in report["phases"]}
            rates.append(instructions / max(at_us["end"] - at_us["first_instruction"], 1))
            numbers["guest_instructions"] = instructions
    if rates:
        instructions = numbers["guest_instructions"]
        say(f"  guest instructions  {instructions / 1e6:10.1f} million, {statistics.median(rates):.0f} million a second")
        numbers["guest_mips"] = rates
    numbers["report"] = reports[-1]
    exits = ", ".join(f"{exit['reason']} {exit['count']}" for exit in reports[-1]["exits"][:10])
    say(f"  exits: {exits}")


def beyond_guest(seen):
    return seen["resident_kib"] - seen["guest_kib"]


def show_idle(watched, numbers):
    say("\nat the prompt: share of a core; resident MiB in all, of the guest's memory, of the engine's caches, besides")
    for name, seen in watched.items():
        if not seen:
            say(f"  {name:<14} never came to a prompt")
            continue
        total, guest, caches = (seen[part] / 1024 for part in ("resident_kib", "guest_kib", "engine_cache_kib"))
        shown = f"{caches:9.1f}" if caches else "        ?"  # QEMU does not tell
        ratio = ""
        if name != "rvmm" and watched.get("rvmm"):
            ratio = f"   rvmm's beyond guest memory / this: {beyond_guest(watched['rvmm']) / beyond_guest(seen):.2f}"
        say(f"  {name:<14}{seen['share'] * 100:7.2f} %{total:9.1f}{guest:9.1f}{shown}{total - guest - caches:9.1f}{ratio}")
    numbers["idle"] = watched


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    target = os.environ.get("CARGO_TARGET_DIR", os.path.join(ROOT, "target"))
    parser.add_argument("--runs", type=int, default=5, help="boots of each that count (5)")
    parser.add_argument("--guest", default="cloud", help="a guest in cache/guests (cloud)")
    parser.add_argument("--cpus", type=int, default=1, help="vCPUs (1)")
    parser.add_argument("--only", choices=["boot", "idle"], help="half of it")
    parser.add_argument("--rvmm", default=os.path.join(target, "release", "rvmm"), help="the program")
    options = parser.parse_args()
    guest = os.path.join(CACHE, "guests", options.guest)
    for path in (options.rvmm, guest):
        if not os.path.exists(path):
            sys.exit(f"error: {path} is not there; `make bench` makes it")

    found = subjects(options, guest)
    numbers = {"guest": options.guest, "cpus": options.cpus, "memory_mib": MEMORY_MIB}
    if options.only != "idle":
        say(f"booting {options.guest} with {options.cpus} vCPU(s), in turn")
        times, reports = measure_boots(found, options.runs)
    if options.only != "boot":
        say("watching the guest at its prompt")
        watched = {}
        for subject in found:
            tries = (idle(subject) for _ in range(3))
            watched[subject.name] = next(filter(None, tries), None)
    if options.only != "idle":
        show_boots(found, times, reports, numbers)
    if options.only != "boot":
        show_idle(watched, numbers)
    latest = os.path.join(CACHE, "bench", "latest.json")
    with open(latest, "w") as file:
        json.dump(numbers, file, indent=1)
    say(f"\nnumbers: {os.path.relpath(latest)}")


if __name__ == "__main__":
    main()
