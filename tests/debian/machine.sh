#!/bin/sh
# SPDX-License-Identifier: MIT
# machine.sh DIRECTORY COMMAND...: runs COMMAND as the first process of a machine that has this one's files, in
# namespaces that the caller has made (mounts, processes, network, names, IPC, cgroups).  What is written stays in
# memory, mounted on DIRECTORY in here only, and is gone with the last process.  $MACHINE_FILES is the root directory of
# another machine, to have the files of that one.
set -eu

base=$1
shift

mount --make-rprivate /
mount -t tmpfs -o mode=755 tmpfs "$base"
mkdir "$base/upper" "$base/work" "$base/files"
mount -t overlay -o "lowerdir=${MACHINE_FILES:-/},upperdir=$base/upper,workdir=$base/work" overlay "$base/files"
cd "$base/files"

# Nothing of the kernel that all machines share can be changed through these.
mount -t proc proc proc
mount --bind proc/sys proc/sys
mount -o remount,bind,ro proc/sys
mount -t sysfs -o ro sysfs sys

# Cgroups as systemd wants them: version 2, or beside version 1 in a hierarchy of its own.
if [ -d /sys/fs/cgroup/systemd ]; then
	mount -t tmpfs -o mode=755 tmpfs sys/fs/cgroup
	mkdir sys/fs/cgroup/systemd sys/fs/cgroup/unified
	mount -t cgroup -o none,name=systemd cgroup sys/fs/cgroup/systemd
	mount -t cgroup2 cgroup2 sys/fs/cgroup/unified
else
	mount -t cgroup2 cgroup2 sys/fs/cgroup
fi

mount -t tmpfs -o mode=755 tmpfs dev
for device in null zero full random urandom tty; do
	: >"dev/$device"
	mount --bind "/dev/$device" "dev/$device"
done
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=666,mode=620 devpts dev/pts
ln -s pts/ptmx dev/ptmx
mount -t tmpfs -o mode=1777 tmpfs dev/shm
mount -t tmpfs -o mode=755 tmpfs run
mount -t tmpfs -o mode=1777 tmpfs tmp

# Services may start here, and the name servers of this machine are not in reach.
rm -f usr/sbin/policy-rc.d etc/resolv.conf
echo '# as it was installed' >etc/resolv.conf
echo 0123456789abcdef0123456789abcdef >etc/machine-id
for unit in systemd-udevd systemd-udev-trigger systemd-hwdb-update systemd-logind systemd-tmpfiles-clean; do
	ln -sf /dev/null "etc/systemd/system/$unit.service"
done
# Each reload of systemd would run these; none of them has to do with what is tested.
mkdir -p etc/systemd/system-generators
for generator in lib/systemd/system-generators/*; do
	ln -sf /dev/null "etc/systemd/system-generators/${generator##*/}"
done
ip link set lo up

mkdir before
pivot_root . before
cd /
umount -l before
rmdir before
: >run/machine
exec env -i container=lxc PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 \
	setpriv --bounding-set -sys_time,-sys_module,-sys_rawio,-sys_boot "$@"
