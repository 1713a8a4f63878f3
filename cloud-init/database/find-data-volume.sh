#!/bin/bash
# Finds the data volume at every boot, formats it only where it is blank, and points /run/imagecrud/data-volume at
# it, which opt-mysql.mount mounts. It would rather fail than format, or serve from, the wrong disk.
# shellcheck source=../shared/s3.sh
. /usr/local/lib/imagecrud/s3.sh
readonly limit=600 label=imagecrud-data link=/run/imagecrud/data-volume

# Nitro shows every volume as NVMe, in no fixed order, with the volume's id (dash removed) as serial number:
# https://docs.aws.amazon.com/ebs/latest/userguide/identify-nvme-ebs-device.html
by_identity() {
    local node serial=${VOLUME_ID/-/} disk
    node=/dev/disk/by-id/nvme-Amazon_Elastic_Block_Store_$serial
    [ -b "$node" ] && printf '%s\n' "$node" && return
    for disk in /sys/block/nvme*; do
        [ "$(tr -d ' ' 2>/dev/null <"$disk/device/serial")" = "$serial" ] || continue
        [ -b "/dev/${disk##*/}" ] && printf '%s\n' "/dev/${disk##*/}" && return
    done 2>/dev/null
    for node in "$DEVICE" /dev/xvdf /dev/sdf /dev/vdf; do
        [ -b "$node" ] && printf '%s\n' "$node" && return
    done
    return 1
}

# Some hypervisors choose the name themselves. Only where exactly one disk is free it can be ours; disks that say
# they are something else (another volume, an instance store) are not asked.
the_only_free_disk() {
    local disk name free=()
    for disk in /sys/block/*; do
        name=${disk##*/}
        case $name in loop* | ram* | zram* | sr* | fd* | dm-* | md* | nbd* | nvme*) continue ;; esac
        [ -b "/dev/$name" ] || continue
        compgen -G "$disk/$name*/partition" >/dev/null && continue
        [ -z "$(ls "$disk/holders")" ] || continue
        grep -q "^/dev/$name " /proc/mounts /proc/swaps && continue
        free+=("/dev/$name")
    done
    [ ${#free[@]} -eq 1 ] && printf '%s\n' "${free[0]}"
}

told=0
until volume=$(by_identity) || { ((SECONDS >= 60)) && volume=$(the_only_free_disk); }; do
    if ((SECONDS >= limit)); then
        say "volume $VOLUME_ID is not attached after $limit s: MariaDB will not start (hint: attach it as $DEVICE, then run ${0%/*}/install-mysql.sh)"
        exit 1
    fi
    if ((SECONDS - told >= 10)); then
        told=$SECONDS
        say "waiting for volume $VOLUME_ID as $DEVICE, $SECONDS of $limit s"
    fi
    sleep 0.2
done
volume=$(readlink -f "$volume")
say "volume $VOLUME_ID is $volume, found after $SECONDS s"

refuse() {
    say "$volume holds $1: neither formatted nor used (hint: give the database an empty volume, or its own)"
    exit 1
}

# Both must see nothing at all: blkid's low-level probe knows partition tables and ambivalent superblocks,
# wipefs any signature however hidden.
state=0
found=$(blkid -p -o value -s TYPE -s LABEL -s PTTYPE "$volume") || state=$?
signatures=$(wipefs --no-act --noheadings --output OFFSET,TYPE "$volume" | tr -s ' \n' ' ')
if [ "$state" -eq 2 ] && [ -z "$signatures" ]; then
    say "$volume is blank: formatting it"
    mkfs.ext4 -q -m 1 -L "$label" -E lazy_itable_init=1,lazy_journal_init=1 "$volume"
elif [ "$state" -eq 0 ] && [ "$(sort <<<"$found" | tr '\n' ' ')" = "ext4 $label " ]; then
    # 0 is clean, 1 mended. -p replays the journal of a VM that died.
    e2fsck -p "$volume" || [ $? -eq 1 ] || refuse "a damaged file system that needs e2fsck by hand"
else
    refuse "${found//$'\n'/ } (signatures: $signatures)"
fi

mkdir -p "${link%/*}"
ln -sfn "$volume" "$link"
