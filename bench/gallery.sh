#!/usr/bin/env bash
# The gallery beside Django and nginx: CPU time and rate of pages and uploads, memory, cold start (bench/gallery.py). Goals: a
# page costs a 50th of the first IMAGE CRUD's design and a 10th of a tuned Django, the same at 1,000,000 rows; 250 uploads/s on a
# core with thumbnails; 64 uploads of 20 MB in 300 MB; the first answer after 50 ms.
# Needs root, built programs, and mariadb-server, nginx-light, wrk, libmariadb-dev, pkg-config and gcc of Debian.
#
#   bench/gallery.sh [RUNS] [SECONDS] [ROWS]
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/python-tools.sh gallery
exec "${CARGO_TARGET_DIR:-target}/gallery-venv/bin/python" bench/gallery.py "$@"
