#!/bin/bash
# The user-data of both kinds of VM, as the provisioner renders it, against cloud-init's own schema.
set -euo pipefail
cd "$(dirname "$0")/.."
program=${CARGO_TARGET_DIR:-target}/debug/imagecrud-deploy
rendered=$(mktemp)
trap 'rm -f "$rendered"' EXIT
for kind in database web; do
    "$program" render-user-data "$kind" >"$rendered"
    printf '%s: %s bytes, ' "$kind" "$(stat --format %s "$rendered")"
    cloud-init schema --config-file "$rendered"
done
