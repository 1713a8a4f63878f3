#!/usr/bin/env bash
# boto3, awscli and moto_server in target/venv: the tests speak to the local cloud with the first two, and to the third
# as a cloud that we did not write.
set -euo pipefail
cd "$(dirname "$0")/.."

venv=target/venv
# The list is the stamp: another list makes another environment.
tools='boto3 awscli moto[ec2,elb,autoscaling,cloudwatch,iam,s3,server]'
if [[ -f $venv/.tools && $(<"$venv/.tools") == "$tools" ]]; then
  exit 0
fi
echo " • installing into $venv: $tools" >&2
rm -rf "$venv"
python3 -m venv "$venv"
# shellcheck disable=SC2086  # a list of words
"$venv/bin/pip" install --quiet --disable-pip-version-check $tools
printf '%s' "$tools" >"$venv/.tools"
