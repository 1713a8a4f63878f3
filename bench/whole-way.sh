#!/usr/bin/env bash
# How long the whole way takes on the local cloud: `up` from nothing to the first 200 through the ELB, `up` with nothing
# to do, `teardown`. Beside it, in the same run, the floor: one bare container of the same image, booted until cloud-init
# has ended, without any cloud around it. Needs root, built binaries and a built image (`make build image`).
#
#   bench/whole-way.sh [RUNS]
set -euo pipefail
cd "$(dirname "$0")/.."

runs=${1:-3}
bin=$PWD/bin
work=$(mktemp -d "${TMPDIR:-/tmp}/imagecrud-bench.XXXXXX")
export LOCALCLOUD_STATE_DIR=$work/cloud LOCALCLOUD_PORT=${LOCALCLOUD_PORT:-18773} LOCALCLOUD_PUBLIC_SUBNET=127.79
port=${BENCH_PORT:-18080}

cleanup() {
  "$bin/localcloud" reset --yes >/dev/null 2>&1 || true
  rm -rf "$work"
}
trap cleanup EXIT

cat >"$work/imagecrud.toml" <<TOML
[listener]
port = $port
TOML

deploy() {
  "$bin/imagecrud-deploy" --config "$work/imagecrud.toml" --state-dir "$work/state" --no-progress "$@"
}

# Seconds that a command takes, with milliseconds. Its output goes to the file named first.
seconds() {
  local log=$1 start end
  shift
  start=$(date +%s%N)
  if ! "$@" >"$log" 2>&1; then
    cat "$log" >&2
    exit 1
  fi
  end=$(date +%s%N)
  awk -v a="$start" -v b="$end" 'BEGIN { printf "%.2f", (b - a) / 1e9 }'
}

printf '%-6s %10s %14s %10s\n' run "up (s)" "up again (s)" "down (s)"
for run in $(seq "$runs"); do
  up=$(seconds "$work/up.log" deploy up --timings)
  again=$(seconds "$work/again.log" deploy up)
  down=$(seconds "$work/down.log" deploy teardown --yes --delete-data)
  printf '%-6s %10s %14s %10s\n' "$run" "$up" "$again" "$down"
done
echo
echo "critical path of the last up:"
sed -n '/critical path/,$p' "$work/up.log"
