#!/bin/sh
# systemd's own service manager, where process 1 is none, for one socket unit: what it opens is handed over to the program
# whose command line follows, at the first connection. Run by root in a network and a mount namespace of its own.
#
#   systemd.sh CGROUP SOCKET_UNIT PROGRAM ARGUMENT ...
#
# CGROUP is a group at the top of the second version's hierarchy, for systemd to make its own in.
set -eu
if [ "$1" != inside ]; then
    mount --make-rprivate /
    mount -t tmpfs none /run
    umount -R /sys/fs/cgroup 2>/dev/null || :
    mount -t cgroup2 none /sys/fs/cgroup
    echo $$ >"/sys/fs/cgroup/$1/cgroup.procs"
    umount /sys/fs/cgroup
    shift
    exec unshare --cgroup sh "$0" inside "$@"
fi
unit=$2
shift 2
mount -t cgroup2 none /sys/fs/cgroup
# By this directory it knows that a host was started with it.
mkdir -p /run/systemd/system /run/user /run/units
cp "$unit" /run/units/
printf '[Unit]\nRequires=%s\nAfter=%s\n' "${unit##*/}" "${unit##*/}" >/run/units/test.target
program=$(command -v "$1")
shift
printf '[Service]\nType=notify\nNotifyAccess=all\nExecStart=%s %s\n' "$program" "$*" >/run/units/sekisho.service
export XDG_RUNTIME_DIR=/run/user SYSTEMD_UNIT_PATH=/run/units:/usr/lib/systemd/user
exec /usr/lib/systemd/systemd --user --log-target=console --show-status=no --unit=test.target
