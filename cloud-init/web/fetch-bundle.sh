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

# Sent along with every answer: a new version is judged by what its own instances answer.
instance_id=$(retry 60 "the instance's id" imds instance-id)
printf '%s\n' "$instance_id" >/etc/imagecrud/instance-id
printf 'SERVED_BY=%s/%s\n' "$instance_id" "${BUNDLE_SHA256:0:12}" >>/etc/imagecrud/imagecrud.env
# For people, at the foot of the pages; one without a zone serves as well.
zone=$(imds placement/availability-zone) && printf 'SERVED_IN=%s\n' "$zone" >>/etc/imagecrud/imagecrud.env

step "starting imagecrud"
systemctl enable --no-reload --quiet imagecrud.service
systemctl daemon-reload
# One that cannot even be executed is told of below, with its journal.
systemctl start imagecrud.service || true
healthy() { curl -sSf -m 5 -o /dev/null http://127.0.0.1/healthz; }
restarts() { systemctl show --property NRestarts --value imagecrud.service; }
started=$SECONDS
until healthy 2>/dev/null; do
    if ((SECONDS - started >= 60 || $(restarts) >= 5)); then
        journalctl --no-pager --output cat --lines 12 --unit imagecrud.service
        # The deployer looks for these words in the console output.
        say "imagecrud does not serve: $(restarts) restarts in $((SECONDS - started)) s"
        exit 1
    fi
    sleep 0.5
done
step "serving"
