#!/bin/bash
# The VM image of the local cloud: one Debian tree that systemd-nspawn boots as a container.
#
# It holds what any cloud image holds (systemd, cloud-init, sshd, curl) and MariaDB, so that a database VM needs
# no package mirror. It knows nothing of the stacks that will run on it. Whatever cannot work in a container, or
# only slows its boot, is masked here, so that `systemctl is-system-running` says `running`.
#
# usage: recipe.sh SUITE DESTDIR      (as root; DESTDIR must not exist, or be empty; progress goes to stderr)
set -euo pipefail

say() { printf 'image: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

[ $# -eq 2 ] || die "usage: recipe.sh SUITE DESTDIR"
suite=$1
destination=$2
[ "$(id -u)" -eq 0 ] || die "building a Debian tree needs root (hint: run it by sudo)"
command -v mmdebstrap >/dev/null || die "mmdebstrap is missing (hint: apt-get install mmdebstrap)"
if [ -e "$destination" ] && [ -n "$(ls -A "$destination")" ]; then
    die "$destination exists and is not empty"
fi

work=$(mktemp -d)
finished=no
clean_up() {
    rm -rf "$work"
    if [ "$finished" = no ]; then
        rm -rf --one-file-system "$destination"
    fi
}
trap clean_up EXIT

packages=(
    systemd systemd-sysv dbus libnss-myhostname
    cloud-init
    openssh-server
    mariadb-server
    ca-certificates curl jq
    iproute2 e2fsprogs procps less sudo python3
)

# Where the host runs the same release, its own sources are the ones known to be reachable from here. Only the
# distribution's entries are taken: main of SUITE, SUITE-updates and SUITE-security, signed by Debian's keyring.
host_sources() {
    cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list 2>/dev/null | awk -v suite="$suite" '
        function official(s) { return s == suite || s == suite "-updates" || s == suite "-security" }
        $1 == "deb" {
            options = ""; first = 2
            if ($2 ~ /^\[/) {
                while (first <= NF && $first !~ /\]$/) { options = options $first " "; first++ }
                options = options $first " "; first++
            }
            if (options ~ /signed-by/ && options !~ /debian-archive-keyring/) next
            if (!official($(first + 1))) next
            for (i = first + 2; i <= NF; i++)
                if ($i == "main") print "deb " options $first " " $(first + 1) " main"
        }' || true
    for file in /etc/apt/sources.list.d/*.sources; do
        [ -e "$file" ] || continue
        # A stanza may end at the end of its file: the empty line keeps the next file's apart.
        cat "$file"
        printf '\n\n'
    done | awk -v suite="$suite" '
        function official(s) { return s == suite || s == suite "-updates" || s == suite "-security" }
        function stanza_ends(   i, j, u, s, options) {
            if (value["types"] ~ /(^| )deb( |$)/ && value["components"] ~ /(^| )main( |$)/ \
                && tolower(value["enabled"]) !~ /^ *no/ \
                && (value["signed-by"] == "" || value["signed-by"] ~ /debian-archive-keyring/)) {
                options = value["signed-by"] == "" ? "" : "[signed-by=" value["signed-by"] "] "
                gsub(/= +/, "=", options)
                split(value["uris"], u, " "); split(value["suites"], s, " ")
                for (i in u) for (j in s) if (official(s[j])) print "deb " options u[i] " " s[j] " main"
            }
            delete value
        }
        /^#/ { next }
        /^[ \t]*$/ { stanza_ends(); next }
        /^[^ \t]/ { key = tolower($0); sub(/:.*/, "", key); line = $0; sub(/^[^:]*:[ \t]*/, "", line); value[key] = line; next }
        { line = $0; sub(/^[ \t]+/, "", line); value[key] = value[key] " " line }
        END { stanza_ends() }'
}

sources=()
# shellcheck source=/dev/null
host_suite=$(. /etc/os-release && printf "%s" "${VERSION_CODENAME:-}")
if [ "$host_suite" = "$suite" ]; then
    host_sources | sort -u >"$work/sources.list"
    if grep -q " $suite main" "$work/sources.list"; then
        sources=("$work/sources.list")
    fi
fi
if [ ${#sources[@]} -eq 0 ]; then
    say "sources: mmdebstrap's own for $suite"
else
    say "sources: this machine's own for $suite"
fi

# ---------------------------------------------------------------------------------- files of our own in the tree
mkdir -p "$work/tree"
put() { # put PATH: stdin becomes the tree's file of that path
    mkdir -p "$work/tree$(dirname "$1")"
    cat >"$work/tree$1"
}

put /etc/systemd/network/10-host0.network <<'END'
# nspawn's side of the bridge. The address comes from the cloud's DHCP, the host name from its metadata.
[Match]
Name=host0

[Link]
RequiredForOnline=routable

[Network]
DHCP=ipv4
LinkLocalAddressing=no
IPv6AcceptRA=no

[DHCPv4]
ClientIdentifier=mac
UseHostname=no
END

put /etc/systemd/system/systemd-networkd-wait-online.service.d/host0.conf <<'END'
[Service]
ExecStart=
ExecStart=/usr/lib/systemd/systemd-networkd-wait-online --interface=host0:routable --timeout=60
END

# The cloud's resolver, at AWS's address for it. It knows the instances' names, and answers at once that no other
# exists: one that does not answer would cost 3 s of every boot, as cloud-init tries three invented names in DNS before
# it asks the metadata service.
put /etc/resolv.conf <<'END'
nameserver 169.254.169.253
END

put /etc/cloud/cloud.cfg.d/90_localcloud.cfg <<'END'
# One data source, at one address: without the list below cloud-init would also look for the name
# "instance-data." in DNS before it asks anything.
datasource_list: [Ec2]
datasource:
  Ec2:
    strict_id: false
    metadata_urls: ["http://169.254.169.254"]
    timeout: 3
    max_wait: 60
# systemd-networkd has done it already.
network: {config: disabled}

manage_etc_hosts: false
ssh_genkeytypes: [ed25519]
apt_preserve_sources_list: true

# Debian's lists without what has no meaning in a container (partitions, boot loader, clocks) and without what
# costs a second and is never used here (locales, snap, configuration management).
cloud_init_modules:
  - bootcmd
  - write-files
  - mounts
  - set_hostname
  - ca-certs
  - users-groups
  - ssh
cloud_config_modules:
  - set-passwords
  - runcmd
cloud_final_modules:
  - package-update-upgrade-install
  - write-files-deferred
  - scripts-per-once
  - scripts-per-boot
  - scripts-per-instance
  - scripts-user
  - phone-home
  - final-message
  - power-state-change
END

put /etc/systemd/journald.conf.d/volatile.conf <<'END'
# The instance's console is the lasting record, as on any cloud.
[Journal]
Storage=volatile
RuntimeMaxUse=32M
END

put /etc/ssh/sshd_config.d/localcloud.conf <<'END'
PasswordAuthentication no
UseDNS no
END

# /dev, /proc and /sys come from nspawn; the root is an overlay that needs neither checks nor growing.
put /etc/fstab <<'END'
END

masked=(
    # No real console, no kernel of its own, no clock, no firmware, no disk of its own.
    getty.target console-getty.service getty-static.service systemd-firstboot.service
    systemd-udevd.service systemd-udevd-control.socket systemd-udevd-kernel.socket systemd-udev-trigger.service
    systemd-modules-load.service modprobe@.service systemd-sysctl.service systemd-binfmt.service
    systemd-timesyncd.service systemd-random-seed.service systemd-pstore.service systemd-fsck-root.service
    systemd-remount-fs.service systemd-quotacheck.service systemd-boot-random-seed.service
    sys-kernel-config.mount sys-kernel-debug.mount sys-kernel-tracing.mount sys-fs-fuse-connections.mount
    dev-hugepages.mount dev-mqueue.mount proc-sys-fs-binfmt_misc.automount
    # Housekeeping of machines that live for years.
    apt-daily.timer apt-daily.service apt-daily-upgrade.timer apt-daily-upgrade.service dpkg-db-backup.timer
    e2scrub_all.timer e2scrub_reap.service fstrim.timer logrotate.timer man-db.timer
    systemd-update-utmp.service systemd-update-utmp-runlevel.service systemd-update-done.service
    systemd-journal-catalog-update.service systemd-hwdb-update.service systemd-sysusers.service ldconfig.service
    systemd-network-generator.service systemd-networkd.socket
    # ifupdown comes with cloud-init; here networkd does its work.
    networking.service ifup@.service
    # A bus name nobody waits for.
    cloud-init-hotplugd.socket
)

cat >"$work/customize.sh" <<'END'
#!/bin/bash
# Runs on the host; $1 is the tree.
set -euo pipefail
tree=$1
work=$(dirname "$0")

cp -a --no-preserve=ownership "$work/tree/." "$tree/"
mkdir -p "$tree/etc/systemd/system"
while read -r unit; do
    ln -sfn /dev/null "$tree/etc/systemd/system/$unit"
done <"$work/masked"

chroot "$tree" systemctl enable --quiet systemd-networkd.service systemd-networkd-wait-online.service
rm -f "$tree/etc/systemd/system/sockets.target.wants/systemd-networkd.socket"
# MariaDB is there for whoever wants it. Its first, pristine data directory stays in /var/lib/mysql.
chroot "$tree" systemctl disable --quiet mariadb.service
[ -e "$tree/var/lib/mysql/ibdata1" ]

chroot "$tree" passwd --quiet --lock root
# Each VM makes its own: an empty machine-id is filled at boot, host keys are made by cloud-init.
: >"$tree/etc/machine-id"
rm -f "$tree"/etc/ssh/ssh_host_* "$tree/var/lib/dbus/machine-id" "$tree/etc/hostname" "$tree"/etc/network/interfaces
printf '127.0.0.1 localhost\n' >"$tree/etc/hosts"
rm -rf "$tree"/var/lib/apt/lists/* "$tree"/var/cache/apt/* "$tree"/var/log/*.log "$tree"/var/log/apt \
    "$tree"/var/cache/debconf/*-old "$tree"/usr/share/doc/* "$tree"/usr/share/man/* "$tree"/usr/share/mysql-test
mkdir -p "$tree/var/cache/apt/archives/partial" "$tree/var/lib/apt/lists/partial"
# Newer than /usr: systemd's "needs update" units have nothing to do.
touch "$tree/etc/.updated" "$tree/var/.updated"
END
chmod 0755 "$work/customize.sh"
printf '%s\n' "${masked[@]}" >"$work/masked"

started=$SECONDS
say "building Debian $suite with ${#packages[@]} packages and what they need"
mmdebstrap --mode=root --format=directory --variant=minbase \
    --include="$(IFS=,; printf '%s' "${packages[*]}")" \
    --aptopt='Acquire::Retries "5"' \
    --dpkgopt=force-unsafe-io \
    --dpkgopt='path-exclude=/usr/share/doc/*' \
    --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' \
    --dpkgopt='path-exclude=/usr/share/info/*' \
    --dpkgopt='path-exclude=/usr/share/mysql/*/errmsg.sys' \
    --dpkgopt='path-include=/usr/share/mysql/english/errmsg.sys' \
    --customize-hook="$work/customize.sh" \
    "$suite" "$destination" "${sources[@]}" >&2
finished=yes
say "built in $((SECONDS - started)) s, $(du -sm --one-file-system "$destination" | cut -f1) MB"
