#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Settings by interface, with real ones in a network namespace of its own:
#   interface.sh SMCD-USERCTL SMCD-USERD
# Exits with 77 (skipped) where the machine forbids that or its kernel has no VLANs.
set -eu
ctl=$1
daemon=$2

if [ "${SMCDU_IN_NAMESPACE:-}" != yes ]; then
	unshare -rn true 2>/dev/null || {
		echo "interface: skipped: no network namespaces here"
		exit 77
	}
	SMCDU_IN_NAMESPACE=yes exec unshare -rn "$0" "$@"
fi
command -v ip >/dev/null || {
	echo "interface: skipped: no ip(8)"
	exit 77
}

dir=$(mktemp -d "${TMPDIR:-/tmp}/smcdu-interface.XXXXXX")
trap 'rm -rf "$dir"' EXIT

fail() {
	echo "interface: $*" >&2
	exit 1
}

# expect_error TEXT: the last command failed with it on standard error, and wrote nothing
expect_error() {
	grep -qF -- "$1" "$dir/err" || {
		cat "$dir/err" >&2
		fail "no mention of '$1'"
	}
	[ ! -e "$dir/resolved" ] || fail "a file in spite of an error"
}

cat >"$dir/conf" <<'END'
[function ism0]
vfio-user = /nonexistent/ism0.sock
[peer b]
gid = 0x2
vlan = interface:nope
END
! "$ctl" config resolve "$dir/conf" --output "$dir/resolved" 2>"$dir/err" || fail "found what is not there"
expect_error "conf:5: vlan = interface:nope: there is no network interface 'nope'"
# The daemon does not look it up itself.
! "$daemon" --config "$dir/conf" --check-config >/dev/null 2>"$dir/err" || fail "the daemon took a name"
expect_error "config resolve"

# A small ip(8), as in a test's machine, knows only the latter.
ip link add left type veth peer name right 2>/dev/null || {
	ip link add left type dummy
	ip link add right type dummy
}
ip link add link left name left.100 type vlan id 100 2>"$dir/err" || {
	echo "interface: skipped: this kernel has no VLANs: $(cat "$dir/err")"
	exit 77
}
ip link add link right name right.7 type vlan id 7
ip link add bridge0 type bridge
ip link set right.7 master bridge0
above=left.100
! ip link add link left.100 name above type macvlan 2>/dev/null || above=above
ip link add link left.100 name inner type vlan id 33

cat >"$dir/conf" <<END
[function ism0]
vfio-user = /nonexistent/ism0.sock
vlan = interface:left.100
[peer b]
gid = 0x2
vlan = interface:bridge0
[peer c]
gid = 0x3
vlan = interface:$above
[peer d]
gid = 0x4
vlan = interface:inner
END
"$ctl" config resolve "$dir/conf" --output "$dir/resolved"
"$daemon" --config "$dir/conf" --config "$dir/resolved" --check-config >"$dir/effect"
grep -A 9 '^\[function ism0\]' "$dir/effect" | grep -m 1 -q '^vlan = 100\b' || fail "left.100 is not 100"
for want in b:7 c:100 d:33; do
	awk -v s="[peer ${want%:*}]" '$0 == s { on = 1; next } /^\[/ { on = 0 } on' "$dir/effect" |
		grep -q "^vlan = ${want#*:}\b" || {
		cat "$dir/effect"
		fail "peer ${want%:*} is not in VLAN ${want#*:}"
	}
done
rm "$dir/resolved"

# A second VLAN on the bridge: which one is meant?
ip link add link right name right.8 type vlan id 8
ip link set right.8 master bridge0
! "$ctl" config resolve "$dir/conf" --output "$dir/resolved" 2>"$dir/err" || fail "one of two was guessed"
expect_error "interface 'bridge0' stands on several VLANs"

# Not a VLAN, and no PNETID.
sed -i 's/bridge0/left/; s/^gid = 0x3/&\npnetid = interface:left.100/' "$dir/conf"
! "$ctl" config resolve "$dir/conf" --output "$dir/resolved" 2>"$dir/err" || fail "no VLAN is one"
expect_error "interface 'left' is no VLAN interface"
expect_error "interface 'left.100' has no PNETID"
echo "interface: ok"
