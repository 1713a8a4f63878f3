#!/usr/bin/env bash
# How long `up` from nothing, `up` with nothing to do and `teardown` take where every call to the cloud takes 0, 20, 100
# and 300 ms: on the local cloud's fake drivers, behind a proxy that delays, so that nothing but calls takes time. Prints
# the longest chain of calls that wait for each other. Goal: time grows with that chain, not with the number of calls.
# Connections are local ones: what their making would take beside the calls is not in it.
# Needs root (for the local cloud's sockets).
#
#   bench/round-trips.sh
set -euo pipefail
cd "$(dirname "$0")/.."
exec cargo test --quiet --workspace --test it -- --ignored --exact --nocapture \
  round_trips::time_grows_with_the_longest_chain_of_calls_and_not_with_their_number
