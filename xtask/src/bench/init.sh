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

# The machine's outer addresses are on a dummy link: every path's outer end is a socket of this machine.
ip link set lo up
ip link add outer0 type dummy
ip address add 198.51.100.1/24 dev outer0
ip address add 198.51.100.9/24 dev outer0
ip link set outer0 up
ip route add default via 198.51.100.254

# The same for every path: cubic, and enough ports for many short connections.
sysctls() {
    echo cubic > /proc/sys/net/ipv4/tcp_congestion_control
    echo "20000 65535" > /proc/sys/net/ipv4/ip_local_port_range
    echo 1 > /proc/sys/net/ipv4/tcp_tw_reuse
}
sysctls

# The baseline: a namespace at the other end of a veth.
ip netns add veth
ip link add veth0 type veth peer name veth1 netns veth
ip address add 10.99.0.1/24 dev veth0
ip link set veth0 up
ip -n veth link set lo up
ip -n veth address add 10.99.0.2/24 dev veth1
ip -n veth link set veth1 up
ip -n veth route add default via 10.99.0.1
export -f sysctls
nsenter --net=/run/netns/veth bash -c sysctls

status=0
"$@" < /dev/null || status=$?
exit "$status"
