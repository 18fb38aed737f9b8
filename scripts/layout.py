#!/usr/bin/env python3
"""Checks what the compiler does not: which crate may use which, licences, where a host's name may stand.

Prints one line per finding and exits 1 when there is one. Notes about long files do not fail.
Usage: scripts/layout.py [--offline]
"""

import json
import os
import re
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

# The dependency arrows of ARCHITECTURE.md: crate -> crates of ours that its code may use.
# Tests may use anything, so development dependencies are not looked at.
ARROWS = {
    "guest-memory": set(),
    "engine": {"guest-memory"},
    "hypervisor-framework": {"guest-memory", "engine"},
    "devices": {"guest-memory"},
    "boot": set(),
    "vmm": {"guest-memory", "hypervisor-framework", "devices", "boot"},
    "rvmm": {"vmm"},
    "tests": {"guest-memory", "engine", "hypervisor-framework", "devices", "boot", "vmm", "rvmm"},
}

# Licences a dependency may be under: permissive ones, usable in a work under Apache-2.0 OR MIT.
LICENCES = {
    "0BSD", "Apache-2.0", "Apache-2.0 WITH LLVM-exception", "BSD-1-Clause", "BSD-2-Clause", "BSD-3-Clause",
    "BSL-1.0", "CC0-1.0", "ISC", "MIT", "MIT-0", "Unicode-3.0", "Unlicense", "Zlib", "bzip2-1.0.6",
}  # fmt: skip

# Folders in which the host's architecture and system may be asked for.
HOST_FOLDERS = {"native", "os"}

VAGUE_NAMES = {"common", "util", "utils", "base", "helper", "helpers", "manager", "misc"}

LONG_FILE = 600  # lines of production code that ask for a second look


def metadata():
    command = ["cargo", "metadata", "--format-version", "1", "--locked"]
    if "--offline" in sys.argv[1:]:
        command.append("--offline")
    return json.loads(subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout)


def permitted(expression):
    """Whether an SPDX expression (or Cargo's older "A/B") leaves us a licence of the list."""
    words = re.findall(r"\(|\)|[^\s()]+", expression.replace("/", " OR "))
    position = 0

    def any_of():
        nonlocal position
        good = all_of()
        while position < len(words) and words[position] == "OR":
            position += 1
            good = all_of() or good
        return good

    def all_of():
        nonlocal position
        good = single()
        while position < len(words) and words[position] == "AND":
            position += 1
            good = single() and good
        return good

    def single():
        nonlocal position
        word = words[position]
        position += 1
        if word == "(":
            good = any_of()
            position += 1
            return good
        if position < len(words) and words[position] == "WITH":
            word = f"{word} WITH {words[position + 1]}"
            position += 2
        return word in LICENCES

    return any_of()


def check_arrows(packages):
    for package in packages:
        allowed = ARROWS.get(package["name"])
        if allowed is None:
            yield f"{package['name']}: a crate that ARROWS in scripts/layout.py does not know"
            continue
        for dependency in package["dependencies"]:
            name = dependency["name"]
            if name in ARROWS and dependency["kind"] != "dev" and name not in allowed:
                yield f"{package['name']} may not depend on {name}"


def check_licences(packages):
    for package in packages:
        licence = package["license"]
        if not licence:
            yield f"{package['name']} {package['version']}: names no licence"
        elif not permitted(licence):
            yield f"{package['name']} {package['version']}: licence {licence} is not on the list"


def tracked():
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=ROOT, check=True, stdout=subprocess.PIPE
    ).stdout
    return [path for path in listed.decode().split("\0") if path and os.path.isfile(os.path.join(ROOT, path))]


def without_comments(source):
    return re.sub(r"//[^\n]*", "", source)


def check_sources(paths, notes):
    for path in paths:
        parts = path.split("/")
        stem = os.path.splitext(parts[-1])[0]
        with open(os.path.join(ROOT, path), "rb") as file:
            content = file.read()
        if b"\0" in content:
            yield f"{path}: a binary file; the repository holds none"
            continue
        text = content.decode(errors="replace")
        if not path.endswith(".rs"):
            continue
        is_test = stem.endswith("_test") or stem == "tests" or parts[0] == "tests" or "tests" in parts[:-1]
        if VAGUE_NAMES & {*parts[:-1], stem}:
            yield f"{path}: a name that says nothing of what it holds"
        if not is_test and not HOST_FOLDERS & set(parts[:-1]):
            code = without_comments(text)
            for match in re.finditer(r"\bcfg(?:_attr)?!?\s*\((?:[^()]|\([^()]*\))*target_(?:arch|os)\b", code):
                line = code.count("\n", 0, match.start()) + 1
                yield f"{path}:{line}: asks for the host outside a native/ or os/ folder"
        lines = text.count("\n")
        if not is_test and lines > LONG_FILE:
            notes.append(f"note: {path} has {lines} lines: is there a second idea in it?")


def main():
    data = metadata()
    ours = [package for package in data["packages"] if package["source"] is None]
    theirs = [package for package in data["packages"] if package["source"] is not None]
    notes = []
    findings = [
        *check_arrows(ours),
        *check_licences(theirs),
        *check_sources(tracked(), notes),
    ]
    for line in notes + findings:
        print(line)
    if findings:
        sys.exit(1)
    print(f"layout: {len(ours)} crates of ours, {len(theirs)} of others: arrows, licences and host names as they should be")


main()
