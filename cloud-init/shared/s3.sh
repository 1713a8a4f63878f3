# shellcheck shell=bash
# What a VM knows of its cloud: itself by IMDS, and the stack's bucket with its role's credentials; where the cloud has
# no instance profiles, with an access key that came with the user-data.
# Sourced by the other scripts. Settings come from /etc/imagecrud/stack.env; no other secret is written to a disk,
# and none is given on a command line, where `ps` would show it.
set -euo pipefail
: "${STACK_ENV:=/etc/imagecrud/stack.env}" "${ACCESS_KEY_ENV:=/etc/imagecrud/access-key.env}"
# shellcheck source=/dev/null
. "$STACK_ENV"
# shellcheck source=/dev/null
[ ! -e "$ACCESS_KEY_ENV" ] || . "$ACCESS_KEY_ENV"

say() { printf '%s: %s\n' "${0##*/}" "$*"; }

# retry SECONDS WHAT COMMAND...: until it succeeds. COMMAND runs without `set -e`, as in any condition.
retry() {
    local limit=$1 what=$2 started=$SECONDS told=$SECONDS error
    shift 2
    until { error=$("$@" 2>&1 >&3); } 3>&1; do
        if ((SECONDS - started >= limit)); then
            say "gave up on $what after $limit s: ${error##*$'\n'}"
            return 1
        fi
        if ((SECONDS - told >= 10)); then
            told=$SECONDS
            say "waiting for $what, $((SECONDS - started)) of $limit s: ${error##*$'\n'}"
        fi
        sleep 0.5
    done
}

# need COMMAND PACKAGE: installs only what the image lacks, so that a baked image boots without a mirror.
need() {
    command -v "$1" >/dev/null && return 0
    say "installing $2"
    export DEBIAN_FRONTEND=noninteractive
    retry 300 "the package lists" apt-get -q update
    retry 300 "the package $2" apt-get -q -y --no-install-recommends install "$2"
}

# IMDSv2 where there is a token to be had, IMDSv1 elsewhere (Eucalyptus 4 has none).
imds() {
    local base=http://169.254.169.254/latest token
    if token=$(curl -sf -m 5 -X PUT -H 'x-aws-ec2-metadata-token-ttl-seconds: 300' "$base/api/token"); then
        curl -sSf -m 5 -H "x-aws-ec2-metadata-token: $token" "$base/meta-data/$1"
    else
        curl -sSf -m 5 "$base/meta-data/$1"
    fi
}

load_credentials() {
    local role document
    if [ -n "${AWS_ACCESS_KEY_ID:-}" ]; then
        CREDENTIALS="user = \"$AWS_ACCESS_KEY_ID:$AWS_SECRET_ACCESS_KEY\""
        return
    fi
    role=$(imds iam/security-credentials/) || return
    document=$(imds "iam/security-credentials/${role%%$'\n'*}") || return
    # As curl's own options: curl signs with the first and sends the second.
    CREDENTIALS=$(python3 -c 'import json, sys
d = json.load(sys.stdin)
print("user = \"%s:%s\"\nheader = \"x-amz-security-token: %s\""
      % (d["AccessKeyId"], d["SecretAccessKey"], d["Token"]))' <<<"$document") || return
}

# s3_request SHA256 KEY [CURL OPTION...]
s3_request() {
    local hash=$1 key=$2
    shift 2
    # Asked anew every time: a role's first credentials may be too young for the object store to know them.
    load_credentials || return
    curl -sSf -m 300 --connect-timeout 5 -K - --aws-sigv4 "aws:amz:$AWS_REGION:s3" \
        -H "x-amz-content-sha256: $hash" "$@" "$S3_ENDPOINT/$BUCKET/$key" <<<"$CREDENTIALS"
}

sha256_of() { sha256sum "$1" | cut -d ' ' -f 1; }

# s3_get KEY FILE, s3_put FILE KEY: give up after five minutes.
s3_get() { retry 300 "s3://$BUCKET/$1" s3_request "$(sha256_of /dev/null)" "$1" -o "$2"; }
s3_put() { retry 300 "writing s3://$BUCKET/$2" s3_request "$(sha256_of "$1")" "$2" -o /dev/null -T "$1"; }

need curl curl
