#!/bin/bash
# Process 1 of a test's machine: runs in fresh network, mount and process namespaces, prepares them, then runs the test.
# When it ends, the kernel ends every other process of the machine and frees its namespaces.
set -euo pipefail
minato=$1 user=$2 test=$3; shift 2

# Private places: nothing that the test writes reaches the real machine.
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/bin /run/etc /run/log /run/kept /run/lock /run/netns /run/work "/run/user/$user/home" /run/user/0
mkdir -m 1777 /run/tmp
chown "$user:$user" /run/log /run/work "/run/user/$user" "/run/user/$user/home"
chmod 777 /run/log /run/work
chmod 700 "/run/user/$user" /run/user/0

# The program under test, and this test as a program for hosts, readable for every user wherever the clone lies.
touch /run/bin/minato /run/bin/e2e
mount --bind "$minato" /run/bin/minato
mount --bind "$test" /run/bin/e2e

# /dev/net/tun may be closed to ordinary users; this machine opens it, as most distributions do.
mknod -m 666 /run/tun c 10 200
mount --bind /run/tun /dev/net/tun

# An ordinary user, and a resolver configuration that the test may change.
{ grep -v "^[^:]*:[^:]*:$user:" /etc/passwd; echo "tester:x:$user:$user:tester:/run/user/$user/home:/bin/sh"; } > /run/etc/passwd
mount --bind /run/etc/passwd /etc/passwd
echo "nameserver 198.51.100.2" > /run/etc/resolv.conf
mount --bind /run/etc/resolv.conf /etc/resolv.conf

# The network: this machine, and "outside" at the other end of one link. The addresses are those of documentation.
ip link set lo up
# As systemd sets it at boot: everybody may send echo requests.
echo "0 2147483647" > /proc/sys/net/ipv4/ping_group_range
ip netns add outside
ip link add up0 type veth peer name down0 netns outside
ip -n outside link set lo up
ip -n outside link set down0 up
ip link set up0 up
# After the links are up: IPv6 addresses that come before lose their first second.
ip address add 198.51.100.1/24 dev up0
ip address add 2001:db8:51::1/64 dev up0 nodad
ip -n outside address add 198.51.100.2/24 dev down0
ip -n outside address add 198.51.100.3/24 dev down0
ip -n outside address add 2001:db8:51::2/64 dev down0 nodad
ip route add default via 198.51.100.2
ip -6 route add default via 2001:db8:51::2

# Not exec: process 1 must reap the orphans.
status=0
"$@" < /dev/null || status=$?
exit "$status"
