#!/bin/bash
# The first boot of a web VM: the application's binary out of the stack's bucket, run by systemd only if it is the
# very one that the launch template names.
# shellcheck source=../shared/s3.sh
. /usr/local/lib/imagecrud/s3.sh
readonly program=/usr/local/bin/imagecrud
step() { say "$1 (at $SECONDS s)"; }

partial=$(mktemp "$program.XXXXXX")
trap 'rm -f "$partial"' EXIT
step "fetching s3://$BUCKET/$BUNDLE_KEY"
s3_get "$BUNDLE_KEY" "$partial"
actual=$(sha256_of "$partial")
if [ "$actual" != "$BUNDLE_SHA256" ]; then
    say "s3://$BUCKET/$BUNDLE_KEY has SHA-256 $actual, not $BUNDLE_SHA256: not installed"
    exit 1
fi
chmod 0755 "$partial"
mv "$partial" "$program"

if [ -n "${DATABASE_AUTHORITY_SHA256:-}" ]; then
    step "fetching s3://$BUCKET/$DATABASE_AUTHORITY_KEY"
    authority=/etc/imagecrud/database-authority.pem
    s3_get "$DATABASE_AUTHORITY_KEY" "$authority"
    actual=$(sha256_of "$authority")
    if [ "$actual" != "$DATABASE_AUTHORITY_SHA256" ]; then
        say "s3://$BUCKET/$DATABASE_AUTHORITY_KEY has SHA-256 $actual, not $DATABASE_AUTHORITY_SHA256: not trusted"
        exit 1
    fi
    chmod 0644 "$authority"
fi

step "starting imagecrud"
systemctl enable --no-reload --quiet imagecrud.service
systemctl daemon-reload
systemctl start imagecrud.service
healthy() { curl -sSf -m 5 -o /dev/null http://127.0.0.1/healthz; }
if ! retry 60 "imagecrud's health check" healthy; then
    journalctl --no-pager --lines 20 --unit imagecrud.service
    exit 1
fi
step "serving"
