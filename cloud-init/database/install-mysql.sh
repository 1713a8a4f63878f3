#!/bin/bash
# The first boot of a database VM: MariaDB on the data volume. On a volume that has served before, everything in
# it stays; only the server, its settings and the application's user are made anew.
# shellcheck source=../shared/s3.sh
. /usr/local/lib/imagecrud/s3.sh
readonly pristine=/var/lib/mysql data=/opt/mysql/data
step() { say "$1 (at $SECONDS s)"; }

# Masked meanwhile: the package would start a server on its own directory.
if ! command -v mariadbd >/dev/null; then
    systemctl mask --runtime mariadb.service
    need mariadbd mariadb-server
    systemctl unmask --runtime mariadb.service
fi
# Whatever the image has running does so on the wrong directory.
systemctl stop mariadb.service
install -m 0644 /usr/local/lib/imagecrud/imagecrud.cnf /etc/mysql/mariadb.conf.d/90-imagecrud.cnf
systemctl enable --no-reload --quiet mariadb.service imagecrud-address.service
systemctl daemon-reload

step "mounting the data volume"
systemctl start opt-mysql.mount
mountpoint -q /opt/mysql

if [ -d "$data" ]; then
    step "the volume has a database already: it is kept"
    chown -R mysql:mysql "$data" # the user's number may differ from image to image
else
    # Renamed when complete, so that a VM that dies half-way leaves nothing that looks like a database.
    rm -rf "$data.new"
    if [ -e "$pristine/ibdata1" ]; then
        step "copying the pristine database of the package"
        cp -a "$pristine" "$data.new"
    else
        step "making a database"
        install -d -o mysql -g mysql -m 0755 "$data.new"
        mariadb-install-db --no-defaults --user=mysql --datadir="$data.new" --skip-test-db \
            --auth-root-authentication-method=socket >/dev/null
    fi
    chown mysql:mysql "$data.new"
    sync -f "$data.new"
    mv "$data.new" "$data"
fi

step "starting MariaDB"
systemctl start mariadb.service
step "giving the application its access, publishing the address"
systemctl start imagecrud-address.service
step "done"
