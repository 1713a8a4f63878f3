#!/bin/bash
# At every boot, once MariaDB runs: the application's database and user, with the password that the bucket holds
# now, and then this VM's address in the bucket, where the web VMs look for it.
# shellcheck source=../shared/s3.sh
. /usr/local/lib/imagecrud/s3.sh
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

s3_get config/database-password "$work/password"
instance_id=$(retry 60 "the instance's id" imds instance-id)
address=$(retry 60 "the instance's address" imds local-ipv4)
MYSQL_PWD=$(cat "$work/password")
[ -n "$MYSQL_PWD" ] || { say "the password in the bucket is empty"; exit 1; }

# The password travels as hexadecimal digits, so that no character of it can end a string. OR REPLACE drops
# whatever rights an older stack may have given.
mariadb --protocol=socket <<SQL
CREATE DATABASE IF NOT EXISTS eucapp CHARACTER SET utf8mb4;
EXECUTE IMMEDIATE CONCAT('CREATE OR REPLACE USER ''euca''@''%'' IDENTIFIED BY ',
    QUOTE(x'$(od -An -v -tx1 "$work/password" | tr -d ' \n')'));
GRANT ALL PRIVILEGES ON eucapp.* TO 'euca'@'%';
SQL

export MYSQL_PWD
answers() { mariadb --protocol=tcp --host="$address" --user=euca --execute='SELECT 1' eucapp >/dev/null; }
retry 60 "MariaDB at $address:3306" answers

python3 - "$instance_id" "$address" >"$work/database.json" <<'PY'
import json, os, sys, urllib.parse
instance_id, address = sys.argv[1:]
password = urllib.parse.quote(os.environ["MYSQL_PWD"], safe="")
print(json.dumps({"instance_id": instance_id, "url": f"mysql://euca:{password}@{address}:3306/eucapp"}))
PY
s3_put "$work/database.json" config/database.json
say "published $address:3306 of $instance_id"
