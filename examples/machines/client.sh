#!/bin/sh
# One name, three ports, three services.
set -eu
echo "web says: $(curl --silent --show-error --fail http://server/)"
echo "files say: $(curl --silent --show-error --fail ftp://server/welcome.txt)"
printf 'Subject: hello\n\nhello to port 25\n' |
    curl --silent --show-error --mail-from client@client --mail-rcpt reader@server --upload-file - smtp://server/
echo "mail is sent"
