# shellcheck shell=sh
# Runs one machine: `sh -c SCRIPT launcher COMMAND…`. systemd-nspawn ends with 133 when the guest reboots itself, so
# it is started again; with anything else the machine is off. LAUNCHER_CGROUPS and MACHINE_CGROUPS are lists of
# cgroup.procs files; a process that writes 0 into one joins it.
for file in $LAUNCHER_CGROUPS; do
    echo 0 >"$file" || exit 1
done
while :; do
    (
        for file in $MACHINE_CGROUPS; do
            echo 0 >"$file" || exit 1
        done
        unset LAUNCHER_CGROUPS MACHINE_CGROUPS
        exec "$@"
    )
    status=$?
    [ "$status" -eq 133 ] || exit "$status"
done
