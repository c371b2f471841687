#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# VFIO's modules with device nodes and iommufd, for kernels that were built without them, as all of
# Debian's are: the modules are built once more, from the same source and for the very kernel that is
# booted, with the two options set on the compiler's command line. That works because no structure of
# the kernel proper depends on them, which was looked up for 6.12 only. For tests/vm/kernel-vfio to
# source, after lib.sh.
#   use_iommufd ARCH    sets iommufd to a directory of modules, in the order of loading
#
# shellcheck disable=SC2034,SC2154,SC2317 # lib.sh has what is missing here, and calls what looks idle

iommufd_options="-DCONFIG_IOMMUFD_MODULE=1 -DCONFIG_VFIO_DEVICE_CDEV=1"

# The parts of the kernel's source that are needed.
fetch_source() { # DIR SUITE PACKAGE VERSION
	local dir=$1 tree=$3

	apt_use "$cache/apt" "$2" amd64 && apt_update && apt_fetch "$dir" "$3=$4" || return
	dpkg-deb --fsys-tarfile "$dir"/*.deb | tar -xO "./usr/src/$tree.tar.xz" | xz -dc |
		tar -x -C "$dir" --strip-components 1 --wildcards "$tree/drivers/iommu/*" \
			"$tree/drivers/vfio/*" "$tree/lib/interval_tree.c" || return
	rm -f "$dir"/*.deb
}

# What modules are built against: as it would be installed, but below DIR.
fetch_headers() { # DIR ARCH SUITE RELEASE VERSION
	local dir=$1 arch=$2 suite=$3 release=$4 version=$5 base=${4%-*} deb

	apt_use "$cache/apt" "$suite" "$arch" && apt_update || return
	apt_fetch "$dir" "linux-headers-$release=$version" || return
	apt_use "$cache/apt" "$suite" amd64 && apt_update || return # runs here
	apt_fetch "$dir" "linux-headers-$base-common=$version" "linux-kbuild-$base=$version" || return
	for deb in "$dir"/*.deb; do
		dpkg-deb -x "$deb" "$dir" || return
	done
	rm -f "$dir"/*.deb
	headers=$dir/usr/src/linux-headers-$release
	echo "include $dir/usr/src/linux-headers-$base-common/Makefile" >"$headers/Makefile" || return
	rm -f "$headers/vmlinux" # for type information, which nobody reads here
}

# One external module tree: iommufd, vfio and vfio-pci.
iommufd_tree() { # TREE SOURCE ARCH
	local tree=$1 source=$2 more=vfio_pci_igd.o core=

	[ "$3" = amd64 ] || { more='' core=vfio_pci_zdev.o; }
	mkdir -p "$tree/iommu" "$tree/vfio/pci" || return
	cp -r "$source/drivers/iommu/iommufd" "$source/drivers/iommu/"*.h "$tree/iommu" || return
	cp "$source/drivers/vfio/"*.[ch] "$tree/vfio" || return
	cp "$source/drivers/vfio/pci/"*.[ch] "$tree/vfio/pci" || return
	rm -f "$tree/iommu/iommufd/Makefile"
	# Of this file the kernel has all but the last part.
	{
		printf '#include <linux/%s.h>\n' interval_tree export module
		sed -n '/^#ifdef CONFIG_INTERVAL_TREE_SPAN_ITER/,$p' "$source/lib/interval_tree.c" |
			sed '/^EXPORT/d'
	} >"$tree/iommu/iommufd/span_iter.c" || return
	cat >"$tree/Kbuild" <<-END
		obj-m := iommu/iommufd/ vfio/ vfio/pci/
	END
	cat >"$tree/iommu/iommufd/Kbuild" <<-END
		ccflags-y := $iommufd_options -DCONFIG_INTERVAL_TREE_SPAN_ITER=1
		obj-m := iommufd.o
		iommufd-y := device.o fault.o hw_pagetable.o io_pagetable.o ioas.o main.o pages.o
		iommufd-y += vfio_compat.o span_iter.o
	END
	cat >"$tree/vfio/Kbuild" <<-END
		ccflags-y := $iommufd_options
		obj-m := vfio.o vfio_iommu_type1.o
		vfio-y := vfio_main.o device_cdev.o group.o iommufd.o container.o virqfd.o
	END
	cat >"$tree/vfio/pci/Kbuild" <<-END
		ccflags-y := $iommufd_options
		obj-m := vfio-pci-core.o vfio-pci.o
		vfio-pci-core-y := vfio_pci_core.o vfio_pci_intrs.o vfio_pci_rdwr.o vfio_pci_config.o $core
		vfio-pci-y := vfio_pci.o $more
	END
}

build_iommufd() { # DIR ARCH SUITE RELEASE VERSION SOURCE
	local dir=$1 arch=$2 build=$1/build cross=()

	[ "$arch" != s390x ] || cross=(ARCH=s390 CROSS_COMPILE=s390x-linux-gnu-)
	mkdir "$build" && fetch_headers "$build" "$arch" "$3" "$4" "$5" || return
	iommufd_tree "$build/tree" "$6" "$arch" || return
	make -C "$headers" M="$build/tree" "${cross[@]}" -j "$(nproc)" modules || return
	cp "$kernel/modules/"*irqbypass.ko "$dir" || return
	find "$build/tree" -name '*.ko' -exec "${cross[1]:+s390x-linux-gnu-}strip" -g {} + || return
	take_modules "$build/tree" "$dir" iommufd vfio vfio_iommu_type1 vfio-pci-core vfio-pci || return
	rm -rf "$build"
}

use_iommufd() { # ARCH
	local release version suite tree

	release=$(cat "$kernel/release")
	version=$(cat "$kernel/version")
	suite=$(cat "$kernel/suite")
	tree=linux-source-$(cut -d . -f 1,2 <<<"$release")
	[ "$tree" = linux-source-6.12 ] || skip "iommufd's modules are known to fit into Linux 6.12 only"
	need make gcc
	cached "source-$version" fetch_source "$suite" "$tree" "$version"
	cached "iommufd-$1-$version" build_iommufd "$1" "$suite" "$release" "$version" \
		"$cache/source-$version"
	iommufd=$cache/iommufd-$1-$version
}
