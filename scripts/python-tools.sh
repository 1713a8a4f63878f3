#!/bin/bash
# The clients and the cloud that we did not write, for the tests: boto3 and awscli in target/venv, moto in
# target/moto-venv (their botocores differ). Made once per checkout; a changed list makes them anew.
#
# usage: python-tools.sh [ansible|gallery|casts]   (with one of them instead: for bench/ Ansible and its collections in
#        target/ansible-venv, or Django and what else the gallery's peers need in target/gallery-venv; for docs/casts/ a
#        terminal in target/casts-venv)
set -euo pipefail
cd "$(dirname "$0")/.."
target=${CARGO_TARGET_DIR:-target}

environment() { # environment DIRECTORY PACKAGE...
    local directory=$1
    shift
    if [ "$(cat "$directory/packages" 2>/dev/null)" = "$*" ]; then
        printf 'python: %s is there\n' "$directory" >&2
        return
    fi
    printf 'python: making %s with %s\n' "$directory" "$*" >&2
    rm -rf "$directory"
    mkdir -p "$directory"
    python3 -m venv "$directory"
    "$directory/bin/pip" install --quiet --progress-bar off "$@"
    printf '%s' "$*" >"$directory/packages"
}

if [ "${1:-}" = ansible ]; then
    environment "$target/ansible-venv" ansible==12.3.0 boto3==1.44.8
    exit
fi
if [ "${1:-}" = gallery ]; then
    environment "$target/gallery-venv" Django==5.2.19 gunicorn==27.0.1 mysqlclient==2.3.2 boto3==1.44.8 pillow==13.0.0
    exit
fi
if [ "${1:-}" = casts ]; then
    environment "$target/casts-venv" pyte==0.8.2
    exit
fi
environment "$target/venv" boto3==1.44.5 awscli==1.46.3
environment "$target/moto-venv" "moto[server]==5.2.5"
