#!/usr/bin/env python3
"""Measures the Docker guest on rvmm beside QEMU's software emulation: the same kernel, root file system, disk and shared
folder, in turn.

Times to a ready dockerd and of `docker run`, resident memory beyond the guest's, then disk, shared folder and network by workloads in the
guest (fixtures/docker/bench). Prints both numbers and their ratio, and leaves them in cache/bench/docker.json. Nothing
here passes or fails: numbers depend on the machine and on what else it does.

Usage: scripts/bench_docker.py [--runs N] [--groups boot,disk,share,tree,net] [--only rvmm|qemu] [--cpus N] [--rvmm PATH]
"""

import argparse
import json
import os
import select
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

from bench import CACHE, ROOT, resident, say

MEMORY_MIB = 1024
DISK_BYTES = 8 << 30
READY = b"rvmm-guest: docker ready"
DONE = b"bench done"
# A boot, and a group of workloads, that take longer are given up.
READY_LIMIT_S, GROUP_LIMIT_S = 600, 1800
# The client's third run of a container counts: the first two find caches cold.
CLIENT_RUNS = 3
GROUPS = ["boot", "disk", "share", "tree", "net"]
# Units of which less is better.
COSTS = {"s", "MiB"}


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def docker_client():
    script = os.path.join(ROOT, "fixtures", "docker", "client.sh")
    return subprocess.run([script], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


class Subject:
    """A program that runs the guest. A folder holds its copy of the disk and what it shares."""

    def __init__(self, name, client, command, gateway):
        self.name = name
        self.client = client  # path of the docker client
        self.command = command  # (files, words, port of dockerd on the host) -> arguments
        self.gateway = gateway  # the host's address, seen from the guest
        self.results = {}

    def add(self, workload, value, unit):
        self.results.setdefault(workload, {"unit": unit, "values": []})["values"].append(value)


class Files:
    """Kernel, root file system, disk and shared folder of one run."""

    def __init__(self, guest, folder, disk=None):
        self.kernel = os.path.join(CACHE, "guests", guest, "bzImage")
        self.initrd = os.path.join(CACHE, "guests", guest, "rootfs.cpio.xz")
        self.unpacked = os.path.join(CACHE, "bench", f"{guest}.cpio")
        self.disk = os.path.join(folder, "disk.img")
        self.share = os.path.join(folder, "share")
        self.monitor = os.path.join(folder, "monitor")
        os.makedirs(self.share, exist_ok=True)
        if disk:
            subprocess.run(["cp", "--sparse=always", disk, self.disk], check=True)
        else:
            with open(self.disk, "wb") as file:
                file.truncate(DISK_BYTES)


def unpack(guest):
    """The initramfs without its compression, which would otherwise be most of QEMU's boot."""
    os.makedirs(os.path.join(CACHE, "bench"), exist_ok=True)
    packed = os.path.join(CACHE, "guests", guest, "rootfs.cpio.xz")
    path = os.path.join(CACHE, "bench", f"{guest}.cpio")
    if not os.path.exists(path) or os.path.getmtime(path) < os.path.getmtime(packed):
        with open(path, "wb") as file:
            subprocess.run(["xz", "-dc", packed], stdout=file, check=True)


def subjects(options):
    def rvmm(files, words, port):
        return [
            options.rvmm, "boot", "--kernel", files.kernel, "--initrd", files.initrd, "--memory", f"{MEMORY_MIB}M",
            "--cpus", str(options.cpus), "--engine", "soft", "--serial", "stdio", "--cmdline", words,
            "--disk", files.disk, "--net", "user", "--forward", f"tcp:127.0.0.1:{port}=2375",
            "--share", f"{files.share},tag=share,mount=/mnt/share", "--rng",
        ]  # fmt: skip

    def qemu(files, words, port):
        return [
            "qemu-system-x86_64", "-accel", "tcg", "-M", "q35", "-m", f"{MEMORY_MIB}M", "-smp", str(options.cpus), "-nodefaults",
            "-no-user-config", "-display", "none", "-serial", "stdio", "-kernel", files.kernel, "-initrd", files.unpacked,
            "-append", words, "-drive", f"if=none,id=disk,format=raw,discard=unmap,file={files.disk}",
            "-device", "virtio-blk-pci,drive=disk", "-netdev", f"user,id=net,hostfwd=tcp:127.0.0.1:{port}-:2375",
            "-device", "virtio-net-pci,netdev=net", "-device", "virtio-rng-pci",
            "-virtfs", f"local,mount_tag=share,security_model=none,path={files.share}",
            "-monitor", f"unix:{files.monitor},server=on,wait=off",
        ]  # fmt: skip

    client = docker_client()
    found = []
    if options.only != "qemu":
        found.append(Subject("rvmm", client, rvmm, options.gateway))
    if options.only != "rvmm":
        if shutil.which("qemu-system-x86_64"):
            found.append(Subject("qemu", client, qemu, "10.0.2.2"))
        else:
            say("no qemu-system-x86_64 here: nothing to compare with")
    return found


class Guest:
    """A running guest and its console."""

    def __init__(self, subject, files, words):
        self.subject, self.files = subject, files
        self.port = free_port()
        self.seen = b""
        self.started = time.monotonic()
        self.child = subprocess.Popen(
            subject.command(files, f"console=ttyS0 quiet {words}", self.port),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def wait_for(self, text, limit_s):
        """Seconds since the start at which the console has shown `text`."""
        deadline = time.monotonic() + limit_s
        while text not in self.seen:
            ready, _, _ = select.select([self.child.stdout], [], [], max(0, deadline - time.monotonic()))
            piece = os.read(self.child.stdout.fileno(), 65536) if ready else b""
            if not piece:
                tail = self.seen[-2000:].decode(errors="replace")
                raise RuntimeError(f"{self.subject.name}: no {text.decode()!r} on the console, which ends:\n{tail}")
            self.seen += piece
        return time.monotonic() - self.started

    def docker(self, *words):
        environment = {**os.environ, "DOCKER_HOST": f"tcp://127.0.0.1:{self.port}"}
        started = time.monotonic()
        subprocess.run(
            [self.subject.client, *words], env=environment, check=True, timeout=READY_LIMIT_S, stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        return time.monotonic() - started

    def power_off(self):
        """Presses the power button; seconds until the process has ended."""
        started = time.monotonic()
        if self.subject.name == "qemu":
            with socket.socket(socket.AF_UNIX) as monitor:
                monitor.connect(self.files.monitor)
                monitor.sendall(b"system_powerdown\n")
                time.sleep(0.2)
        else:
            self.child.send_signal(signal.SIGTERM)
        while self.child.poll() is None and time.monotonic() - started < 120:
            ready, _, _ = select.select([self.child.stdout], [], [], 0.1)
            if ready:
                os.read(self.child.stdout.fileno(), 65536)
        return time.monotonic() - started

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.child.kill()
        self.child.wait()


def prepare_disk(subject, folder):
    """A disk that has been formatted and has the image: every measured boot begins with a copy of it."""
    files = Files("docker", folder)
    with Guest(subject, files, "") as guest:
        guest.wait_for(READY, READY_LIMIT_S)
        guest.docker("load", "-i", os.path.join(CACHE, "images", "busybox.tar"))
        guest.power_off()
    return files.disk


def measure_boot(subject, disk):
    with tempfile.TemporaryDirectory(dir=os.path.join(CACHE, "bench")) as folder:
        with Guest(subject, Files("docker", folder, disk), "") as guest:
            ready = guest.wait_for(READY, READY_LIMIT_S)
            for _ in range(CLIENT_RUNS):
                run = guest.docker("run", "--rm", "busybox:debian", "echo", "hello")
            total, of_guest = resident(guest.child.pid, MEMORY_MIB)
            off = guest.power_off()
    beyond = (total - of_guest) / 1024
    subject.add("docker-ready", ready, "s")
    subject.add("docker-run-echo", run, "s")
    subject.add("power-off", off, "s")
    subject.add("beyond-guest-memory", beyond, "MiB")
    say(f"  {subject.name}: dockerd ready {ready:.2f} s, docker run {run:.2f} s, off {off:.2f} s, {beyond:.0f} MiB beyond the guest's")


def measure_group(subject, group):
    """One group of workloads, in a fresh guest."""
    servers = []
    words = f"rvmm.bench={group}"
    if group == "net":
        iperf, echo = free_port(), free_port()
        micro = os.path.join(CACHE, "guests", "docker-bench", "micro")
        for command in (["iperf3", "-s", "-B", "127.0.0.1", "-p", str(iperf)], [micro, "echo", str(echo)]):
            servers.append(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        words += f" rvmm.bench-host={subject.gateway}:{iperf}:{echo}"
    try:
        with tempfile.TemporaryDirectory(dir=os.path.join(CACHE, "bench")) as folder:
            with Guest(subject, Files("docker-bench", folder), words) as guest:
                guest.wait_for(DONE, GROUP_LIMIT_S)
                lines = guest.seen.decode(errors="replace").splitlines()
    finally:
        for server in servers:
            server.kill()
            server.wait()
    for line in lines:
        fields = line.split()
        if len(fields) == 4 and fields[0] == "bench":
            subject.add(fields[1], float(fields[2]), fields[3])
            say(f"  {subject.name}: {fields[1]} {fields[2]} {fields[3]}")
        elif len(fields) > 2 and fields[0] == "bench":
            say(f"  {subject.name}: {fields[1]}: no result; the guest says:\n" + "\n".join(lines[-20:]))


def show(found):
    names = list(dict.fromkeys(name for subject in found for name in subject.results))
    say(f"\n{'':26}{'unit':>8}" + "".join(f"{subject.name:>12}" for subject in found) + "   rvmm is … times as good")
    for name in names:
        values = [subject.results.get(name) for subject in found]
        unit = next(value["unit"] for value in values if value)
        medians = [statistics.median(value["values"]) if value else None for value in values]
        cells = "".join(f"{'-' if median is None else format(median, '.2f'):>12}" for median in medians)
        ratio = ""
        if len(medians) == 2 and all(medians):
            ratio = f"{medians[1] / medians[0] if unit in COSTS else medians[0] / medians[1]:10.2f}"
        say(f"{name:26}{unit:>8}{cells}{ratio}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    target = os.environ.get("CARGO_TARGET_DIR", os.path.join(ROOT, "target"))
    parser.add_argument("--runs", type=int, default=3, help="rounds of each group (3)")
    parser.add_argument("--groups", default=",".join(GROUPS), help="which, of " + ",".join(GROUPS))
    parser.add_argument("--only", choices=["rvmm", "qemu"], help="one of the two")
    parser.add_argument("--cpus", type=int, default=1, help="vCPUs (1)")
    parser.add_argument("--rvmm", default=os.path.join(target, "release", "rvmm"), help="the program")
    parser.add_argument("--gateway", default="10.0.2.2", help="the host's address in rvmm's user network (10.0.2.2)")
    options = parser.parse_args()
    groups = options.groups.split(",")
    unknown = set(groups) - set(GROUPS)
    if unknown:
        sys.exit(f"error: no group {', '.join(sorted(unknown))}; there are {', '.join(GROUPS)}")
    needed = [os.path.join(CACHE, "guests", name, "bzImage") for name in ("docker", "docker-bench")]
    needed += [os.path.join(CACHE, "images", "busybox.tar")] + ([options.rvmm] if options.only != "qemu" else [])
    for path in needed:
        if not os.path.exists(path):
            sys.exit(f"error: {path} is not there; `make bench` makes it")

    for guest in ("docker", "docker-bench"):
        unpack(guest)
    found = subjects(options)
    with tempfile.TemporaryDirectory(dir=os.path.join(CACHE, "bench")) as folder:
        if "boot" in groups:
            say("preparing a disk")
            disk = prepare_disk(found[-1], folder)
        for round_number in range(options.runs):
            say(f"round {round_number + 1}")
            # In turns: what the machine does beside disturbs both alike.
            for group in groups:
                for subject in found:
                    try:
                        if group == "boot":
                            measure_boot(subject, disk)
                        else:
                            measure_group(subject, group)
                    except RuntimeError as error:
                        say(f"  {error}")
    show(found)
    latest = os.path.join(CACHE, "bench", "docker.json")
    with open(latest, "w") as file:
        json.dump({"cpus": options.cpus, **{subject.name: subject.results for subject in found}}, file, indent=1)
    say(f"\nnumbers: {os.path.relpath(latest)}")


main()
