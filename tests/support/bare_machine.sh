#!/usr/bin/env bash
# bare_machine: a fresh clone does all its own set-up on a bare Debian 12.
#
#   tests/support/bare_machine.sh              examples/run and tests/run --quick, then both again without network
#   tests/support/bare_machine.sh COMMAND...   this command instead, once
#
# Makes a minimal system with debootstrap in a temporary folder, clones what is committed into it, and runs the
# command there in a chroot with /proc and /dev. Needs root and debootstrap. The machine's own apt configuration
# and name resolution are copied into the chroot, so that it reaches the archive the way the machine does.
set -euo pipefail
cd "$(dirname "$0")/../.."
((EUID == 0)) || { echo "bare_machine: needs root" >&2; exit 1; }
command -v debootstrap >/dev/null || { echo "bare_machine: needs debootstrap" >&2; exit 1; }

mirror=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null |
    grep -oE 'https?://[^ ]+/debian/?( |$)' | head -n 1 | tr -d ' ' || true)
root=$(mktemp -d "${TMPDIR:-/var/tmp}/bare-machine.XXXXXX")
trap 'rm -rf --one-file-system "$root"' EXIT
chmod 755 "$root"

echo "bare_machine: debootstrap of Debian 12 in $root"
debootstrap --variant=minbase bookworm "$root" "${mirror:-http://deb.debian.org/debian}" >"$root.log" 2>&1 ||
    { tail -n 20 "$root.log"; exit 1; }
rm "$root.log"
cp /etc/resolv.conf /etc/hosts "$root/etc/"
for file in /etc/apt/apt.conf /etc/apt/apt.conf.d/*prox*; do
    [[ ! -f $file ]] || cp "$file" "$root/etc/apt/apt.conf.d/"
done
git clone -q --no-local . "$root/root/runnel"

# inside NETWORK COMMAND...: the mounts live in a namespace of their own and go with it.
inside() {
    local network=$1
    shift
    echo "bare_machine: $* ($network)"
    unshare --mount --propagation private ${network_of[$network]} bash -euc '
        [[ $1 == online ]] || ip link set lo up
        mount --bind /proc "$2/proc"
        mount --rbind /dev "$2/dev"
        exec chroot "$2" /usr/bin/env -i HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin TERM="${TERM-dumb}" \
            http_proxy="${http_proxy-}" https_proxy="${https_proxy-}" RUNNEL_JOBS="${RUNNEL_JOBS-}" \
            bash -euc "cd /root/runnel && \"\$@\"" bash "${@:3}"' bash "$network" "$root" "$@"
}
declare -A network_of=([online]='' [offline]='--net')

# What an installed package started would still run in the chroot.
no_service_left() {
    local process
    for process in /proc/[0-9]*; do
        if [[ $(readlink "$process/root" || true) == "$root" ]]; then
            echo "bare_machine: still running: $(tr '\0' ' ' <"$process/cmdline")" >&2
            return 1
        fi
    done
}

if (($#)); then
    inside online "$@"
else
    for network in online offline; do
        inside "$network" examples/run
        inside "$network" tests/run --quick
    done
fi
no_service_left
echo "bare_machine: done"
