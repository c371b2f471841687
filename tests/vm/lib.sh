#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# What the tests in emulated machines share: packages fetched once into a cache, Debian's kernels,
# initial file systems, QEMU, and the verdict. For scripts to source.
#
# A guest says what it thinks of itself in lines on its console; QEMU's own exit status is no verdict,
# it is 0 after a kernel's panic as well. A test passes only if the line EXIT-STATUS 0 is there.
# A guest may ask its host for something, too: a line "HOST: COMMAND" is given to QEMU's monitor.
#
# Exit status of a test: 0 passed, 1 failed, 77 skipped (said why).
# Environment: SMCDU_CACHE  packages are fetched once into this directory
#              SMCDU_KEEP=1 keep the logs of a run that passed
# shellcheck disable=SC2034 # much of it is for those who source this

vm_here=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
# shellcheck source=scripts/apt.sh
. "$vm_here/../../scripts/apt.sh"

cache=${SMCDU_CACHE:-${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/smcd-user}
boot_seconds=180
patience=600 # tenths of a second; what takes longer does not happen
work=
pids=()
failed=0

skip() {
	echo "SKIP: $*"
	exit 77
}

fail() { # STAGE WHY
	echo "FAIL: $1: $2"
	failed=1
}

ok() { # STAGE WHAT
	echo "ok: $1: $2"
}

# shellcheck disable=SC2317 # the trap calls it
vm_cleanup() {
	local status=$? pid

	for pid in "${pids[@]}"; do
		kill "$pid" 2>/dev/null || true
		wait "$pid" 2>/dev/null || true
	done
	if [ -n "$work" ]; then
		if [ "$status" != 1 ] && [ -z "${SMCDU_KEEP:-}" ]; then
			rm -rf "$work"
		else
			echo "logs: $work"
		fi
	fi
}

# Ends whatever was started and is in pids, however the test ends.
vm_begin() { # NAME
	trap vm_cleanup EXIT
	trap 'exit 1' INT TERM HUP
	if ! mkdir -p "$cache" 2>/dev/null || [ ! -w "$cache" ]; then
		skip "cannot write to the cache $cache"
	fi
	work=$(mktemp -d "${TMPDIR:-/tmp}/$1.XXXXXX")
}

stop() { # PID
	local pid rest=()

	kill "$1" 2>/dev/null || true
	wait "$1" 2>/dev/null || true
	for pid in "${pids[@]}"; do
		[ "$pid" = "$1" ] || rest+=("$pid")
	done
	pids=("${rest[@]}")
}

need() { # TOOL...
	local tool

	for tool in "$@"; do
		command -v "$tool" >/dev/null || skip "no $tool (scripts/setup test installs it)"
	done
}

# --- packages -------------------------------------------------------------------------------------

# cache/NAME is a directory that the function has filled once; what it says goes to a log.
# Several tests may ask at once: one fetches, the others wait, also those that want something else,
# since apt's lists are shared.
cached() { # NAME FUNCTION ARG...
	local dir=$cache/$1 log=$cache/$1.log make=("${@:2}") lock

	exec {lock}>"$cache/lock"
	flock "$lock"
	if [ ! -e "$dir" ]; then
		need apt-get apt-cache dpkg-deb xz
		[ -r "$apt_keyring" ] || skip "no $apt_keyring (package debian-archive-keyring)"
		echo "fetching $1 into $cache"
		rm -rf "$dir.new"
		mkdir "$dir.new"
		"${make[0]}" "$dir.new" "${make[@]:1}" >"$log" 2>&1 || {
			tail -n 5 "$log"
			skip "cannot fetch $1, see $log"
		}
		mv "$dir.new" "$dir"
	fi
	exec {lock}>&-
}

# For functions that cached() calls: everything there returns what failed.
unpack_all() { # SUITE ARCH DIR PACKAGE...: with all they depend on
	local suite=$1 arch=$2 dir=$3 deb
	shift 3

	mkdir -p "$dir/deb" && apt_use "$cache/apt" "$suite" "$arch" && apt_update &&
		apt_fetch_all "$dir/deb" "$@" || return
	for deb in "$dir/deb/"*.deb; do
		dpkg-deb -x "$deb" "$dir" || return
	done
	rm -rf "$dir/deb"
}

# Modules of a kernel, numbered in the order in which they can be loaded.
take_modules() { # TREE DIR NAME...
	local tree=$1 dir=$2 nr=0 name file
	shift 2

	for name in "$@"; do
		file=$(find "$tree" -name "$name.ko*" -print -quit)
		case $file in
		*.xz) xz -dc "$file" >"$dir/$nr-$name.ko" || return ;;
		*) cp "$file" "$dir/$nr-$name.ko" || return ;;
		esac
		nr=$((nr + 1))
	done
}

# For kernel-netlink; infiniband belongs to SMC.
take_networks() { # DIR
	mkdir "$1/net" "$1/smc" &&
		take_modules "$1" "$1/net" llc stp bridge garp mrp 8021q dummy macvlan &&
		take_modules "$1" "$1/smc" ib_core ccwgroup pnet smc
}

# DIR/vmlinuz, DIR/modules (of VFIO), for s390x DIR/net and DIR/smc as well, and in DIR/suite,
# DIR/release and DIR/version (of the package) what it is. All that any test wants of an architecture's
# kernel, so that it is fetched once. The first suite that has one: modules for that of
# bookworm-backports can be built by bookworm's own compiler.
fetch_kernel() { # DIR ARCH
	local dir=$1 arch=$2 suite name wanted=('./boot/vmlinuz*' '*/virt/lib/irqbypass.ko*' '*/drivers/vfio/*')

	[ "$arch" != s390x ] || wanted+=('*/net/*' '*/infiniband/core/*' '*/s390/cio/*')

	for suite in bookworm-backports trixie; do
		apt_use "$cache/apt" "$suite" "$arch" || return
		apt_update || continue
		name=$(apt_newest "linux-image-$arch" linux-image-) || continue
		apt_fetch "$dir" "$name" || continue
		dpkg-deb --fsys-tarfile "$dir/$name"_*.deb | tar -x -C "$dir" --wildcards "${wanted[@]}" ||
			return
		mkdir "$dir/modules" || return
		take_modules "$dir" "$dir/modules" irqbypass vfio vfio_iommu_type1 vfio-pci-core vfio-pci ||
			return
		[ "$arch" != s390x ] || take_networks "$dir" || return
		mv "$dir"/boot/vmlinuz* "$dir/vmlinuz" || return
		echo "$suite" >"$dir/suite"
		echo "${name#linux-image-}" >"$dir/release"
		dpkg-deb -f "$dir/$name"_*.deb Version >"$dir/version" || return
		rm -rf "$dir/$name"_*.deb "${dir:?}"/{boot,lib,usr}
		return 0
	done
	return 1
}

fetch_busybox() { # DIR ARCH
	local dir=$1

	apt_use "$cache/apt" bookworm "$2" && apt_update && apt_fetch "$dir" busybox-static || return
	dpkg-deb -x "$dir"/busybox-static_*.deb "$dir" || return
	mv "$dir/bin/busybox" "$dir/busybox" || return
	rm -rf "$dir"/*.deb "${dir:?}"/{bin,usr}
}

# Sets kernel to the directory with the kernel of ARCH.
use_kernel() { # ARCH
	cached "linux-$1" fetch_kernel "$1"
	cached "busybox-$1" fetch_busybox "$1"
	kernel=$cache/linux-$1
	echo "Linux $(cat "$kernel/release") from $(cat "$kernel/suite")"
}

# --- initial file systems -------------------------------------------------------------------------

# Begins one in $root. Programs find their libraries in the directories named here.
ird_new() { # NAME ARCH LIBRARY-DIR...
	root=$work/$1.root
	libdirs=("${@:3}")
	mkdir -p "$root/bin" "$root/lib" "$root/lib64" "$root/proc" "$root/sys" "$root/dev" "$root/tmp" \
		"$root/run" "$root/etc" "$root/modules"
	cp "$cache/busybox-$2/busybox" "$root/bin/busybox"
	ln -s busybox "$root/bin/sh"
	printf 'root:x:0:0::/:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n' >"$root/etc/passwd"
}

# A program with the libraries that it names, and those that they name.
ird_program() { # FILE
	cp "$1" "$root/bin"
	ird_libraries "$1"
	# x86-64 looks for its loader elsewhere than for libraries.
	[ ! -e "$root/lib/ld-linux-x86-64.so.2" ] || ln -sf ../lib/ld-linux-x86-64.so.2 "$root/lib64"
}

ird_libraries() { # FILE
	local file=$1 name dir own

	own=$(readelf -d "$file" | sed -n 's/.*R[UN]*PATH.*\[\(.*\)\]/\1/p')
	own=${own//\$ORIGIN/$(dirname "$file")}
	while read -r name; do
		[ ! -e "$root/lib/$name" ] || continue
		for dir in ${own//:/ } "${libdirs[@]}"; do
			[ -e "$dir/$name" ] || continue
			cp -L "$dir/$name" "$root/lib/$name"
			ird_libraries "$dir/$name"
			continue 2
		done
		echo "no $name for $file in ${libdirs[*]}"
		exit 1
	done < <(readelf -d "$file" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p'
		readelf -l "$file" | sed -n 's/.*program interpreter: .*\/\(.*\)\]/\1/p')
}

ird_init() { # FILE: as init, with what init scripts source
	install -m 755 "$1" "$root/init"
	install -m 644 "$vm_here/guest.sh" "$root/guest.sh"
}

# Into $work/NAME.ird
ird_pack() { # NAME
	(cd "$root" && find . | cpio -o -H newc -R 0:0 --quiet | gzip -1) >"$work/$1.ird"
}

# --- machines -------------------------------------------------------------------------------------

qemu_common=(-nodefaults -no-user-config -display none -no-reboot -accel tcg -cpu max)

# Runs QEMU until the guest has switched itself off, and judges it. The console is the chardev
# "console", which the caller's options have to give a device.
vm_boot() { # NAME QEMU COMMAND-LINE QEMU-OPTION...
	local name=$1 qemu=$2 append=$3 console=$work/$1.console asked=0 line pid monitor
	shift 3

	mkfifo "$work/$name.monitor.in" "$work/$name.monitor.out"
	: >"$console"
	timeout -k 5 "$boot_seconds" "$qemu" "${qemu_common[@]}" \
		-chardev "file,id=console,path=$console" \
		-chardev "pipe,id=monitor,path=$work/$name.monitor" -mon chardev=monitor \
		-kernel "$kernel/vmlinuz" -initrd "$work/$name.ird" -append "quiet panic=-1 $append" "$@" \
		</dev/null >"$work/$name.qemu.log" 2>&1 &
	pid=$!
	pids+=("$pid")
	exec {monitor}<>"$work/$name.monitor.in" # to write does not block, whether QEMU reads or is gone
	while kill -0 "$pid" 2>/dev/null; do
		while read -r line; do
			asked=$((asked + 1))
			echo "$line" >&"$monitor"
		done < <(tr -d '\r' <"$console" | sed -n 's/^HOST: //p' | tail -n "+$((asked + 1))")
		sleep 0.1
	done
	exec {monitor}>&-
	stop "$pid"
	vm_judge "$name"
}

vm_judge() { # NAME
	local name=$1 console=$work/$1.verdict

	tr -d '\r' <"$work/$name.console" >"$console"
	if grep -qx 'EXIT-STATUS 0' "$console"; then
		grep -E '^(ok|skip): ' "$console" || true
		ok "$name" "the guest's verdict"
		return
	fi
	tail -n 60 "$console"
	tail -n 5 "$work/$name.qemu.log"
	if grep -q '^EXIT-STATUS ' "$console"; then
		fail "$name" "the guest says $(grep '^EXIT-STATUS ' "$console")"
	else
		fail "$name" "the guest did not get to its end"
	fi
}
