#!/bin/bash
# The benchmark's machine: fresh network, mount and process namespaces. Process 1; runs the benchmark, then everything ends.
set -euo pipefail
user=$1 minato=$2 load=$3; shift 3

mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/bin /run/netns /run/log /run/work "/run/user/$user"
mkdir -m 1777 /run/tmp
chown "$user:$user" "/run/user/$user" /run/log /run/work
chmod 700 "/run/user/$user"
touch /run/bin/minato /run/bin/minato-load
[ -e "$minato" ] && mount --bind "$minato" /run/bin/minato
mount --bind "$load" /run/bin/minato-load
mknod -m 666 /run/tun c 10 200
mount --bind /run/tun /dev/net/tun

# An ordinary user with a name and with subordinate IDs, which RootlessKit asks for.
{ grep -v "^[^:]*:[^:]*:$user:" /etc/passwd; echo "tester:x:$user:$user:tester:/run/work:/bin/sh"; } > /run/passwd
mount --bind /run/passwd /etc/passwd
echo "tester:100000:65536" > /run/subid
for file in /etc/subuid /etc/subgid; do
    mount --bind /run/subid "$file"
done

# The machine's outer addresses are on a link to nowhere: every path's outer end is a socket of this machine.
ip link set lo up
ip netns add nowhere
ip link add outer0 type veth peer name nowhere0 netns nowhere
ip -n nowhere link set nowhere0 up
ip address add 198.51.100.1/24 dev outer0
ip address add 198.51.100.9/24 dev outer0
ip link set outer0 up
ip route add default via 198.51.100.254

# The same for every path: enough ports for many short connections, and cubic, also for the sockets of relays, whose
# code does not ask for it. A namespace can't change its default where the machine restricts cubic; a route can.
ports() {
    echo "20000 65535" > /proc/sys/net/ipv4/ip_local_port_range
    echo 1 > /proc/sys/net/ipv4/tcp_tw_reuse
}
ports
for address in 198.51.100.1 198.51.100.9 127.0.0.1 127.0.0.0/8; do
    ip route change table local local "$address" dev lo congctl cubic
done

# The baseline: a namespace at the other end of a veth.
ip netns add veth
ip link add veth0 type veth peer name veth1 netns veth
ip address add 10.99.0.1/24 dev veth0
ip link set veth0 up
ip -n veth link set lo up
ip -n veth address add 10.99.0.2/24 dev veth1
ip -n veth link set veth1 up
ip -n veth route add default via 10.99.0.1 congctl cubic
ip -n veth route change 10.99.0.0/24 dev veth1 congctl cubic
ip route change 10.99.0.0/24 dev veth0 congctl cubic
export -f ports
nsenter --net=/run/netns/veth bash -c ports

status=0
"$@" < /dev/null || status=$?
exit "$status"
