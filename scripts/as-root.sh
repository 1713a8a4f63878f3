#!/bin/bash
# Runs a command as root, by sudo where need be, and says so.
#
# usage: as-root.sh WHY COMMAND...
set -euo pipefail
why=$1
shift
if [ "$(id -u)" -eq 0 ]; then
    exec "$@"
fi
if ! command -v sudo >/dev/null; then
    printf 'error: %s needs root, and there is no sudo here\nhint: run make as root\n' "$why" >&2
    exit 1
fi
printf 'sudo: %s needs root\n' "$why" >&2
# sudo forgets the environment; these are the settings that our programs read.
keep=()
while IFS='=' read -r name _; do
    case $name in
    LOCALCLOUD_* | IMAGECRUD_* | NO_COLOR | DEBIAN_FRONTEND) keep+=("$name=${!name}") ;;
    esac
done < <(env)
exec sudo -- env "${keep[@]}" "$@"
