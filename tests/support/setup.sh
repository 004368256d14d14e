# setup: gives a bare Debian 12 the packages that a script needs. Sourced, not run.
#
# Asks dpkg first, so that it does nothing (and needs neither network nor root) when everything is there.
# None of these packages has a service of its own; one that a dependency might bring is kept from starting.

build_packages=(g++ liburing-dev meson ninja-build pkg-config)
example_packages=(curl libcli11-dev libfmt-dev libhiredis-dev netcat-openbsd redis-tools)
test_packages=(clang-19 clang-format-19 cmake doctest-dev gdb libbenchmark-dev libclang-rt-19-dev libssl-dev llvm-19 openssl
    python3 socat wrk)

# setup_packages NAME...: installs those that are missing, and says so.
setup_packages() {
    local missing=() name
    for name in "$@"; do
        [[ $(dpkg-query -W -f='${db:Status-Status}' "$name" 2>/dev/null) == installed ]] || missing+=("$name")
    done
    ((${#missing[@]})) || return 0

    local as_root=()
    if ((EUID)); then
        if ! command -v sudo >/dev/null; then
            echo "setup: not root and no sudo; please install: ${missing[*]}" >&2
            return 1
        fi
        as_root=(sudo)
    fi
    echo "setup: installing ${missing[*]}"
    if ! "${as_root[@]}" bash -s -- "${missing[@]}" <<'INSTALL' >&2; then
        set -euo pipefail
        export DEBIAN_FRONTEND=noninteractive
        if [[ ! -e /usr/sbin/policy-rc.d ]]; then
            trap 'rm -f /usr/sbin/policy-rc.d' EXIT
            printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
            chmod +x /usr/sbin/policy-rc.d
        fi
        apt-get -qq update || echo "setup: apt-get update failed, trying with the lists that are there"
        apt-get -qq install -y --no-install-recommends "$@" </dev/null >/dev/null
INSTALL
        echo "setup: could not install ${missing[*]}" >&2
        return 1
    fi
}
