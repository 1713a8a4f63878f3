#!/bin/bash
# axe-core, which the browser tests hold the gallery's pages against, into target/axe. It is no part of the programs.
set -euo pipefail
cd "$(dirname "$0")/.."
directory=${CARGO_TARGET_DIR:-target}/axe
version=4.14.1
if [ "$(cat "$directory/version" 2>/dev/null)" = "$version" ]; then
    echo "axe-core: $version is there" >&2
    exit
fi
if ! command -v npm >/dev/null; then
    echo "axe-core: no npm, so the tests of accessibility say that they are left out" >&2
    exit
fi
mkdir -p "$directory"
npm install --prefix "$directory" --no-save --no-package-lock --ignore-scripts --no-audit --no-fund --silent "axe-core@$version"
printf '%s' "$version" >"$directory/version"
echo "axe-core: $version" >&2
