#!/usr/bin/env bash
# rustfmt, clippy with warnings denied, shellcheck, and cloud-init's own opinion of our user-data.
set -euo pipefail
cd "$(dirname "$0")/.."

echo " • rustfmt" >&2
cargo fmt --all --check
echo " • clippy" >&2
cargo clippy --workspace --all-targets --quiet -- -D warnings
echo " • shellcheck" >&2
git ls-files -z '*.sh' .ci/run | xargs -0 shellcheck --external-sources
echo " • cloud-init schema" >&2
# By the cloud-init that will read it: the one in the VM image.
image=$(bin/localcloud image build)
rendered=$(mktemp -d)
trap 'rm -rf "$rendered"' EXIT
for kind in database web; do
  bin/imagecrud-deploy user-data "$kind" >"$rendered/$kind.yaml"
  systemd-nspawn --quiet --register=no --keep-unit --volatile=overlay --pipe --directory="$image" \
    --bind-ro="$rendered/$kind.yaml:/mnt/user-data.yaml" \
    cloud-init schema --config-file /mnt/user-data.yaml >&2
done
