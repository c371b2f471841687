#!/bin/sh
# SPDX-License-Identifier: MIT
#
# In a guest: what its init scripts share. For them to source.
export PATH=/bin LD_LIBRARY_PATH=/lib HOME=/
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/shm
mount -t tmpfs tmp /tmp
mount -t tmpfs tmp /run
mount -t tmpfs tmp /dev/shm
ip link set lo up

failed=0
# The host requires the last line.
finish() {
	echo "EXIT-STATUS $failed"
	poweroff -f
}

# expect NAME COMMAND...: its output only if it fails
expect() {
	name=$1
	shift
	if "$@" >/tmp/expect.log 2>&1; then
		echo "ok: $name"
	else
		echo "not ok: $name: exit status $?"
		cat /tmp/expect.log
		failed=1
	fi
}

# Those below /modules, in order.
load_modules() {
	for module in /modules/*.ko; do
		insmod "$module" || failed=1
	done
}

# pci_find VENDOR DEVICE: addresses of all such functions
pci_find() {
	for at in /sys/bus/pci/devices/*; do
		[ "$(cat "$at/vendor" "$at/device" | tr '\n' ' ')" != "$1 $2 " ] || echo "${at##*/}"
	done
}
