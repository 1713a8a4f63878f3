#!/usr/bin/env bash
# How long the whole way takes on the local cloud: `up` from nothing to the first 200 through the ELB, `up` with nothing
# to do, a replaced database, `teardown`; and where the time of `up` goes. Goals, on 2 cores: 30, 5, - and 20 s.
# Needs root, built binaries and a built image (`make build image`).
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

# Pulls the database's plug through the EC2 API.
terminate_database() {
  local id
  id=$(deploy status --json | python3 -c 'import json, sys
print(*[r["id"] for r in json.load(sys.stdin)["resources"] if (r["type"], r["name"]) == ("instance", "database")])')
  # shellcheck source=/dev/null
  (
    . "$LOCALCLOUD_STATE_DIR/eucarc"
    curl -sSf -o /dev/null --aws-sigv4 "aws:amz:$AWS_AUTH_REGION:ec2" --user "$AWS_ACCESS_KEY_ID:$AWS_SECRET_ACCESS_KEY" \
      --data "Action=TerminateInstances&Version=2016-11-15&InstanceId.1=$id" "$EC2_URL/"
  )
}

printf '%-6s %8s %14s %14s %10s\n' run "up (s)" "up again (s)" "db healed (s)" "down (s)"
for run in $(seq "$runs"); do
  up=$(seconds "$work/up.log" deploy up --timings)
  again=$(seconds "$work/again.log" deploy up)
  terminate_database
  healed=$(seconds "$work/healed.log" deploy up)
  down=$(seconds "$work/down.log" deploy teardown --yes --delete-data)
  printf '%-6s %8s %14s %14s %10s\n' "$run" "$up" "$again" "$healed" "$down"
done
echo
echo "the last up, its critical path:"
sed -n '/longest chain/,/^[^ ]/p' "$work/up.log"
