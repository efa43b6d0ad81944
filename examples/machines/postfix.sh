#!/bin/sh
# postfix, which puts all mail for anybody@server into one inbox.
set -eu
directory=${EXAMPLE_DATA:-/var/lib/minato-examples}/$MINATO_NETWORK/postfix
mkdir -p "$directory/queue" "$directory/data" "$directory/mail"
chown postfix "$directory/data"
chown nobody "$directory/mail"
cat > "$directory/main.cf" <<CONF
compatibility_level = 3.6
queue_directory = $directory/queue
data_directory = $directory/data
maillog_file = /dev/stdout
myhostname = $MINATO_HOST.$MINATO_NETWORK.internal
mydestination =
inet_interfaces = all
alias_maps =
alias_database =
virtual_mailbox_domains = $MINATO_HOST
virtual_mailbox_base = $directory/mail
virtual_mailbox_maps = static:inbox
virtual_uid_maps = static:$(id -u nobody)
virtual_gid_maps = static:$(id -g nobody)
CONF
# No chroot: the queue directory has no copies of /etc.
sed 's/  y       -  /  n       -  /' /usr/share/postfix/master.cf.dist > "$directory/master.cf"
if [ ! -d "$directory/queue/active" ]; then
    postfix -c "$directory" check # makes the queue's directories
fi
exec /usr/lib/postfix/sbin/master -s -c "$directory"
