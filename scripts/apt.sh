#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# Packages of any Debian suite and architecture, to be unpacked and never installed: for scripts to
# source. Lists and configuration are in a directory of their own, the system's apt is untouched.
#   apt_use DIR SUITE ARCH         what the others work with from now on
#   apt_update                     fetches the lists
#   apt_fetch DIR PACKAGE...       the packages alone, as files in DIR
#   apt_fetch_all DIR PACKAGE...   the same with everything that they depend on
#   apt_newest PACKAGE PREFIX      of a metapackage: the name of what it stands for today
# All return an error where something cannot be had.

apt_keyring=/usr/share/keyrings/debian-archive-keyring.gpg

# Where the system itself gets its packages from.
apt_mirror() {
	# shellcheck disable=SC2016 # apt-get's own syntax
	apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 2>/dev/null |
		awk '/\/debian\/*$/ && !uri { uri = $0 } END { print uri ? uri : "http://deb.debian.org/debian" }'
}

apt_use() { # DIR SUITE ARCH
	apt_dir=$1/$2-$3

	mkdir -p "$apt_dir/lists/partial" "$apt_dir/cache/archives/partial" || return
	: >"$apt_dir/status" || return
	echo "deb [signed-by=$apt_keyring] $(apt_mirror) $2 main" >"$apt_dir/sources.list" || return
	apt_opts=(-q -o "Dir::Etc::SourceList=$apt_dir/sources.list" -o Dir::Etc::SourceParts=/dev/null
		-o Dir::Etc::Preferences=/dev/null -o Dir::Etc::PreferencesParts=/dev/null
		-o "Dir::State=$apt_dir" -o "Dir::State::Lists=$apt_dir/lists"
		-o "Dir::State::status=$apt_dir/status" -o "Dir::Cache=$apt_dir/cache"
		-o "APT::Architecture=$3" -o "APT::Architectures=$3" -o Acquire::Languages=none
		-o APT::Sandbox::User= -o Debug::NoLocking=1)
}

apt_update() {
	apt-get "${apt_opts[@]}" update
}

apt_fetch() { # DIR PACKAGE...
	local dir=$1
	shift

	(cd "$dir" && apt-get "${apt_opts[@]}" download "$@")
}

apt_fetch_all() { # DIR PACKAGE...
	local dir=$1
	shift

	apt-get "${apt_opts[@]}" -y --no-install-recommends --download-only install "$@" || return
	mv "$apt_dir/cache/archives/"*.deb "$dir"
}

apt_newest() { # PACKAGE PREFIX
	apt-cache "${apt_opts[@]}" depends "$1" |
		awk -v prefix="$2" '$1 == "Depends:" && index($2, prefix) == 1 && !name { name = $2 }
			END { print name; exit !name }'
}
