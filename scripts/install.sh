#!/usr/bin/env bash
# Installs the Debian packages that are missing: `install.sh build|test|bench`.
set -euo pipefail

build=(libpq-dev libsqlite3-dev libxml2-dev pkg-config python3)
test=("${build[@]}" curl libfaketime openssl pgbouncer postgresql-15 prometheus)
bench=("${test[@]}" linux-perf redis-server wrk strace)

declare -n wanted="${1:?build, test or bench}"
missing=()
for package in "${wanted[@]}"; do
    dpkg-query --show --showformat='${Status}\n' "$package" 2>/dev/null | grep -q 'install ok installed' || missing+=("$package")
done
# A Python of one's own brings its own venv; Debian's comes without.
python3 -c 'import venv, ensurepip' 2>/dev/null || missing+=(python3-venv)

if [ ${#missing[@]} -gt 0 ]; then
    echo "Installing ${missing[*]}"
    sudo=()
    [ "$(id -u)" = 0 ] || sudo=(sudo)
    "${sudo[@]}" apt-get update -qq
    # Services that a package would start are none of ours, and neither is the cluster that PostgreSQL's would make.
    clusters=/etc/postgresql-common/createcluster.d
    "${sudo[@]}" mkdir -p "$clusters"
    "${sudo[@]}" tee "$clusters/none.conf" <<< 'create_main_cluster = false' >/dev/null
    trap '"${sudo[@]}" rm "$clusters/none.conf"' EXIT
    "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 SYSTEMD_OFFLINE=1 \
        apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi

command -v swift >/dev/null || { echo "Swift 6.3 is needed: https://www.swift.org/install/linux" >&2; exit 1; }
