#!/bin/bash
# Is there a Rust that is new enough? The workspace's manifest names the oldest.
set -euo pipefail
cd "$(dirname "$0")/.."
wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
hint="hint: install it, or update it, with rustup (your distribution's own may be too old); then open a new shell"
if ! command -v cargo >/dev/null; then
    printf 'error: cargo is not there; Rust %s or newer is needed\n%s\n' "$wanted" "$hint" >&2
    exit 1
fi
actual=$(rustc --version | cut -d ' ' -f 2)
if [ "$(printf '%s\n%s\n' "$wanted" "${actual%%-*}" | sort --version-sort | head -n 1)" != "$wanted" ]; then
    printf 'error: Rust %s is too old; %s or newer is needed\n%s\n' "$actual" "$wanted" "$hint" >&2
    exit 1
fi
printf 'rust: %s\n' "$actual" >&2
