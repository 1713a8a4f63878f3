#!/usr/bin/env bash
# A new version of the web servers on the local cloud, under a steady load: three VMs replaced one after the other, then a
# broken binary that is rolled back by itself, then `rollback`. Goal: 0 failed of 200 requests a second throughout.
# Needs root, built binaries and a built image (`make build image`).
#
#   bench/rolling.sh [RUNS]
set -euo pipefail
cd "$(dirname "$0")/.."

runs=${1:-3} rate=${RATE:-200}
bin=${BIN:-$PWD/bin}
work=$(mktemp -d "${TMPDIR:-/tmp}/imagecrud-rolling.XXXXXX")
export LOCALCLOUD_STATE_DIR=$work/cloud LOCALCLOUD_PORT=${LOCALCLOUD_PORT:-18773} LOCALCLOUD_PUBLIC_SUBNET=${LOCALCLOUD_PUBLIC_SUBNET:-127.79}
export PATH=$bin:$PATH
port=${BENCH_PORT:-18080}

cleanup() {
  [ -z "${load:-}" ] || kill "$load" 2>/dev/null || true
  "$bin/localcloud" reset --yes >/dev/null 2>&1 || true
  rm -rf "$work"
}
trap cleanup EXIT

cat >"$work/imagecrud.toml" <<TOML
[listener]
port = $port
[web]
min = 3
TOML

deploy() {
  "$bin/imagecrud-deploy" --config "$work/imagecrud.toml" --state-dir "$work/state" --no-progress "$@"
}

# row NAME EXPECTED COMMAND...: what a command of the deployer takes, and what happens to the requests meanwhile.
row() {
  local name=$1 expected=$2 start end status=0
  shift 2
  python3 bench/steady-load.py "$url" --rate "$rate" >"$work/load.json" &
  load=$!
  start=$(date +%s%N)
  deploy "$@" >"$work/deploy.log" 2>&1 || status=$?
  end=$(date +%s%N)
  kill -TERM "$load"
  wait "$load" || true
  load=
  if [ "$status" -ne "$expected" ]; then
    cat "$work/deploy.log" >&2
    exit 1
  fi
  python3 - "$name" "$(((end - start) / 1000000))" "$work/load.json" <<'PYTHON'
import json, sys
name, millis, path = sys.argv[1:]
load = json.load(open(path))
print(f"{name:28} {int(millis) / 1000:6.1f} s  {load['rate']:6.1f}/s  {load['sent']:7} sent  {load['failed']:4} failed"
      f"  p99 {load['p99_ms']} ms  max {load['max_ms']} ms", *load["failures"], sep="\n  ")
sys.exit(1 if load["failed"] else 0)
PYTHON
}

# A version is told by its bytes: what stands behind an ELF file's end changes nothing else.
binary() {
  cp "$bin/imagecrud" "$work/imagecrud"
  printf 'version %s' "$1" >>"$work/imagecrud"
}

printf '#!/bin/sh\necho "this version is broken" >&2\nexit 1\n' >"$work/broken"
chmod +x "$work/broken"
binary 0
url=$(deploy up -q --bundle "$work/imagecrud")
for run in $(seq "$runs"); do
  binary "$run"
  row "$run: new version, 3 VMs" 0 up --bundle "$work/imagecrud"
  row "$run: broken, rolled back" 1 up --bundle "$work/broken"
  row "$run: rollback, 3 VMs" 0 rollback
done
