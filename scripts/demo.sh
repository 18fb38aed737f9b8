#!/bin/sh
# Boots the Docker guest on this terminal and says, once dockerd answers, how to reach it.
#
# Its disk and socket stay in cache/demo. MEMORY, CPUS and SHARE (a folder; the home folder without) can be set.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
rvmm=$root/target/release/rvmm
guest=$root/cache/guests/docker
place=${RVMM_DEMO:-$root/cache/demo}
socket=$place/docker.sock
share=${SHARE:-$HOME}
mkdir -p "$place"

# Socket addresses are short; a deep folder needs another place.
[ ${#socket} -lt 100 ] || socket=$(mktemp -d)/docker.sock

# Tells when the API answers, and ends with rvmm.
announce() {
    python3 - "$socket" "$1" <<'WATCH'
import os, socket, sys, time

path, pid = sys.argv[1], int(sys.argv[2])
while True:
    try:
        os.kill(pid, 0)
    except OSError:
        sys.exit(0)
    try:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(5)
            client.connect(path)
            client.sendall(b"GET /_ping HTTP/1.0\r\n\r\n")
            if b"200" in client.recv(64):
                break
    except OSError:
        pass
    time.sleep(1)
# The terminal is raw: lines need their carriage returns.
lines = ["", "Docker is ready. In another terminal:", "", f"    export DOCKER_HOST=unix://{path}", "    docker version", ""]
sys.stderr.write("\r\n".join(lines) + "\r\n")
WATCH
}

announce $$ &
exec "$rvmm" boot \
    --kernel "$guest/bzImage" --initrd "$guest/rootfs.cpio.xz" --append quiet \
    --memory "${MEMORY:-2G}" --cpus "${CPUS:-2}" \
    --disk "$(echo "$place/disk.img" | sed 's/,/,,/g'),size=16G" \
    --net user --forward "unix:$socket=tcp:2375" \
    --share "$(echo "$share" | sed 's/,/,,/g')" --rng --balloon
