#!/bin/bash
# Runs a command in a control group, if there is one ("" otherwise), and removes the group afterwards.
group=$1; shift
[ -z "$group" ] || echo $$ > "$group/cgroup.procs"
# However this shell ends, the command does.
setpriv --pdeathsig KILL "$@" &
trap 'kill $!' INT TERM HUP
wait $!
status=$?
if [ -n "$group" ]; then
    # Not with this shell in it. What the command's namespace has ended may take a moment.
    echo $$ > "${group%/*}/cgroup.procs"
    for _ in 1 2 3 4 5 6 7 8 9 10; do
        rmdir "$group" 2> /dev/null && break
        sleep 0.2
    done
fi
exit "$status"
