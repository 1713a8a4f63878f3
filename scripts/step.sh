#!/bin/bash
# Runs one long step: says what it does, and in the end how long it took.
#
# usage: step.sh WHAT COMMAND...
set -euo pipefail
what=$1
shift
printf '==> %s\n' "$what" >&2
state=0
"$@" || state=$?
if [ "$state" -eq 0 ]; then
    printf '==> %s: done in %s s\n' "$what" "$SECONDS" >&2
else
    printf '==> %s: failed after %s s (exit code %s)\n' "$what" "$SECONDS" "$state" >&2
fi
exit "$state"
