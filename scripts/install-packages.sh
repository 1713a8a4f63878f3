#!/bin/bash
# Installs the Debian packages that are missing, and nothing else; elsewhere says what is missing, and stops.
# No service that a package brings is started or enabled: our programs run their own, on their own files.
#
# usage: install-packages.sh run|test     (test: what `make up` needs, and what tests and lints need besides)
set -euo pipefail

# command:package. The command tells, on any distribution, whether it is there.
needed=(
    cc:gcc
    cmake:cmake
    nasm:nasm
    systemd-nspawn:systemd-container
    haproxy:haproxy
    dnsmasq:dnsmasq-base
    nft:nftables
    mmdebstrap:mmdebstrap
    ip:iproute2
    nsenter:util-linux
    losetup:mount
    mkfs.ext4:e2fsprogs
    ssh:openssh-client
    curl:curl
    tar:tar
)
# Only the packages themselves can tell.
libraries=(libc6-dev ca-certificates)
# Elsewhere than on Debian its keys must be brought along to build a Debian tree.
libraries+=(debian-archive-keyring)
for_tests=(
    mariadbd:mariadb-server
    openssl:openssl
    shellcheck:shellcheck
    cloud-init:cloud-init
    python3:python3-venv
    jq:jq
)
# Ubuntu has Chromium as a snap only: there the tests in a browser say that they are left out, unless one is there.
if grep -qs '^ID=debian$' /etc/os-release; then
    for_tests+=(chromium:chromium chromedriver:chromium-driver)
fi
# Every Node.js brings npm along; Debian's package of it would not go beside one from elsewhere.
command -v npm >/dev/null || for_tests+=(npm:npm)

# sbin is not in everybody's path.
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

install_as_root() {
    export DEBIAN_FRONTEND=noninteractive
    # Asked by every package before it starts a service. https://people.debian.org/~hmh/invokerc.d-policyrc.d-specification.txt
    local policy=/usr/sbin/policy-rc.d
    if [ ! -e "$policy" ]; then
        trap 'rm -f /usr/sbin/policy-rc.d' EXIT
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod 0755 "$policy"
    fi
    local package
    for package in "$@"; do
        if [ "$package" = cloud-init ]; then
            # Wanted for its schema only. With this file there it does nothing at boot, on this machine.
            mkdir -p /etc/cloud
            touch /etc/cloud/cloud-init.disabled
        fi
    done
    apt-get -q update
    apt-get -q -y --no-install-recommends install "$@"
    for package in "$@"; do
        case $package in
        haproxy) systemctl disable --quiet haproxy.service || true ;;
        mariadb-server) systemctl disable --quiet mariadb.service || true ;;
        nftables) systemctl disable --quiet nftables.service || true ;;
        esac
    done
}

case ${1:-} in
run) ;;
test) needed+=("${for_tests[@]}") ;;
--install)
    shift
    install_as_root "$@"
    exit
    ;;
*)
    echo "usage: install-packages.sh run|test" >&2
    exit 2
    ;;
esac

missing=()
if command -v dpkg-query >/dev/null && command -v apt-get >/dev/null; then
    for package in "${needed[@]#*:}" "${libraries[@]}"; do
        # shellcheck disable=SC2016 # a format of dpkg-query, not of the shell
        if [ "$(dpkg-query --show --showformat '${db:Status-Status}' "$package" 2>/dev/null)" != installed ] &&
            [[ " ${missing[*]} " != *" $package "* ]]; then
            missing+=("$package")
        fi
    done
    if [ ${#missing[@]} -eq 0 ]; then
        echo "packages: all there" >&2
        exit 0
    fi
    echo "packages: installing ${missing[*]}" >&2
    exec "$(dirname "$0")/as-root.sh" "installing packages" "$(realpath "$0")" --install "${missing[@]}"
fi

for pair in "${needed[@]}"; do
    command -v "${pair%%:*}" >/dev/null || missing+=("${pair%%:*} (Debian: ${pair#*:})")
done
if [ ${#missing[@]} -gt 0 ]; then
    {
        echo "error: this is no Debian or Ubuntu, and these programs are missing:"
        printf '  %s\n' "${missing[@]}"
        echo "hint: install them, then run make again"
    } >&2
    exit 1
fi
