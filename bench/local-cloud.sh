#!/usr/bin/env bash
# The local cloud by itself: its API beside moto_server, in one run; and, on real containers, how long it takes from a load
# to a new web server in service, and back, once undisturbed and once while its daemon is killed every 11 s. Goals, on 2
# cores: 20 × moto's speed, a third of its memory, 1 % of a core idle, 300 ms to the first answer, 5 s until cloud-init has
# finished, 30 s out, no request lost.
# Needs root, built binaries and a built image (`make build image`), and the Python tools of `make test`.
#
#   bench/local-cloud.sh
set -euo pipefail
cd "$(dirname "$0")/.."

bin=$PWD/bin
target=${CARGO_TARGET_DIR:-target}
work=$(mktemp -d "${TMPDIR:-/tmp}/localcloud-bench.XXXXXX")
export LOCALCLOUD_STATE_DIR=$work/cloud LOCALCLOUD_PORT=${LOCALCLOUD_PORT:-18773} LOCALCLOUD_PUBLIC_SUBNET=127.79
load_run=("$target/venv/bin/python" bench/load-run.py --eucarc "$LOCALCLOUD_STATE_DIR/eucarc" --port "${BENCH_PORT:-18080}")

cleanup() {
  "$bin/localcloud" reset --yes >/dev/null 2>&1 || true
  rm -rf "$work"
}
trap cleanup EXIT

"$target/venv/bin/python" bench/beside-moto.py "$target/debug/examples/fake_cloud" "$target/moto-venv/bin/moto_server"

for _ in 1 2 3; do
  start=$(date +%s%N)
  "$bin/localcloud" serve --detach 2>/dev/null
  echo "localcloud serve answers after $((($(date +%s%N) - start) / 1000000)) ms"
  "$bin/localcloud" stop 2>/dev/null
done
"$bin/localcloud" serve --detach
"$target/venv/bin/python" bench/boot.py "$LOCALCLOUD_STATE_DIR/eucarc"

echo "undisturbed:"
"${load_run[@]}"

echo "with the daemon killed every 11 s:"
"${load_run[@]}" &
run=$!
while kill -0 "$run" 2>/dev/null; do
  sleep 11
  kill -9 "$(cat "$LOCALCLOUD_STATE_DIR/daemon.lock")"
  "$bin/localcloud" serve --detach
done
wait "$run"
