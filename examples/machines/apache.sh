#!/bin/sh
# apache2 with a configuration of its own.
set -eu
directory=${EXAMPLE_DATA:-/var/lib/minato-examples}/$MINATO_NETWORK/apache
mkdir -p "$directory/site"
echo "hello from port 80" > "$directory/site/index.html"
cat > "$directory/apache2.conf" <<CONF
ServerRoot $directory
ServerName $MINATO_HOST
Listen 80
PidFile $directory/apache.pid
DefaultRuntimeDir $directory
Mutex file:$directory
LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
LoadModule dir_module /usr/lib/apache2/modules/mod_dir.so
ErrorLog /dev/stderr
CustomLog /dev/stdout "%h %r %>s"
User nobody
Group nogroup
DocumentRoot $directory/site
<Directory $directory/site>
    Require all granted
</Directory>
CONF
exec apache2 -D FOREGROUND -f "$directory/apache2.conf"
