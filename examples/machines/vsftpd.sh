#!/bin/sh
# vsftpd with a directory that everybody may read.
set -eu
directory=${EXAMPLE_DATA:-/var/lib/minato-examples}/$MINATO_NETWORK/vsftpd
mkdir -p "$directory/files" "$directory/empty"
echo "hello from port 21" > "$directory/files/welcome.txt"
cat > "$directory/vsftpd.conf" <<CONF
listen=YES
background=NO
anonymous_enable=YES
anon_root=$directory/files
no_anon_password=YES
pasv_min_port=30000
pasv_max_port=30009
secure_chroot_dir=$directory/empty
vsftpd_log_file=$directory/vsftpd.log
CONF
exec vsftpd "$directory/vsftpd.conf"
