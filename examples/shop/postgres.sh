#!/bin/sh
# PostgreSQL with a database of its own for each network. It refuses to run as root; then it runs as the user postgres.
set -eu
bin=$(ls -d /usr/lib/postgresql/*/bin | sort -V | tail -n 1)
if [ "$(id -u)" = 0 ]; then
    base=${EXAMPLE_DATA:-/var/lib/minato-examples}
    as="setpriv --reuid=postgres --regid=postgres --init-groups"
else
    base=${EXAMPLE_DATA:-$PWD/data}
    as=
fi
data=$base/$MINATO_NETWORK/postgres
mkdir -p "$data"
chmod 700 "$data"
cd "$data"
if [ ! -e "$data/cluster/PG_VERSION" ]; then
    # In a directory beside it first: one that was interrupted is no database.
    rm -rf "$data/new"
    echo "$PGPASSWORD" > "$data/password"
    if [ "$as" ]; then
        chown postgres:postgres "$data" "$data/password"
    fi
    $as "$bin/initdb" --pgdata "$data/new" --username "$PGUSER" --auth scram-sha-256 --pwfile "$data/password" \
        --encoding UTF8 --locale C.UTF-8 --no-sync --no-instructions
    rm "$data/password"
    echo "host all all all scram-sha-256" >> "$data/new/pg_hba.conf"
    mv "$data/new" "$data/cluster"
fi
exec $as "$bin/postgres" -D "$data/cluster" -c listen_addresses='*' -c unix_socket_directories="$data"
