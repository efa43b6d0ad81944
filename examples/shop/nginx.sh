#!/bin/sh
# nginx with a directory of its own, so that it needs none of the system's.
set -eu
prefix=${EXAMPLE_DATA:-$PWD/data}/$MINATO_NETWORK/nginx
mkdir -p "$prefix"
exec nginx -e stderr -p "$prefix" -c "$PWD/nginx.conf"
