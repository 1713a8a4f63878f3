#!/bin/bash
# The last part of `make up`: the stack, the sample pictures, and as the last line the gallery's URL.
set -euo pipefail
cd "$(dirname "$0")/.."

deploy=(bin/imagecrud-deploy up)
if [ "${IMAGECRUD_CLOUD:-local}" = local ]; then
    scripts/step.sh "the VM image (built once, then cached)" \
        scripts/as-root.sh "the local cloud" bin/localcloud image build
    deploy=(scripts/as-root.sh "the local cloud" "${deploy[@]}")
fi
# Its stdout is the URL; what it does is told on stderr.
result=$(mktemp)
trap 'rm -f "$result"' EXIT
scripts/step.sh "imagecrud-deploy up" "${deploy[@]}" >"$result"
url=$(grep -Eo 'https?://[^ ]+/imagecrud/' "$result" | tail -n 1)
if [ -z "$url" ]; then
    echo "error: imagecrud-deploy up printed no URL" >&2
    exit 1
fi

upload_samples() {
    local picture name
    for picture in sample/*.jpeg; do
        name=$(basename "$picture" .jpeg)
        printf '    %s\n' "$url$name" >&2
        bin/imagecrud upload "$picture" "$url$name" >/dev/null
    done
}
export -f upload_samples
export url
scripts/step.sh "uploading the sample pictures" bash -euc upload_samples
echo "$url"
