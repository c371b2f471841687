#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# Installs a build into a scratch root, builds a small application against it through pkg-config,
# runs it, and lets systemd judge the units: install.sh BUILD-DIR
set -euo pipefail
build=$1
root=$(mktemp -d "${TMPDIR:-/tmp}/smcdu-install.XXXXXX")
trap 'rm -rf "$root"' EXIT

fail() {
	echo "install: $*" >&2
	exit 1
}

meson install -C "$build" --no-rebuild --quiet --destdir "$root/dest" >"$root/log" 2>&1 || {
	cat "$root/log" >&2
	fail "meson install failed"
}
prefix=$(meson introspect "$build" --buildoptions |
	python3 -c 'import json,sys; print(next(o["value"] for o in json.load(sys.stdin) if o["name"] == "prefix"))')
lib=$(find "$root/dest" -name 'libsmcd-user.so.0' -printf '%h\n')
[ -n "$lib" ] || fail "no shared library"
export LD_LIBRARY_PATH=$lib # the scratch root is not where the loader looks
for program in smcd-userd smcd-userctl smcd-user-cat smcd-user-chat smcd-user-perf ism-fabricd; do
	test -x "$root/dest$prefix/bin/$program" || fail "$program is not installed"
	"$root/dest$prefix/bin/$program" --help >/dev/null || fail "$program --help fails"
	"$root/dest$prefix/bin/$program" --version | grep -q '[0-9]\.[0-9]' || fail "$program --version says nothing"
done
if meson introspect "$build" --targets | grep -q smcd-userd.8; then
	for page in smcd-userd.8 smcd-userctl.8 ism-fabricd.8 smcd-user-cat.1 smcd-user-chat.1 smcd-user-perf.1 \
		smcd-userd.conf.5; do
		ls "$root/dest$prefix"/share/man/man?/"$page"* >/dev/null || fail "no manual page $page"
	done
fi

if meson introspect "$build" --dependencies | grep -q libsystemd; then
	test -f "$root/dest$prefix/lib/udev/rules.d/60-smcd-user.rules" || fail "no udev rules"
fi

pc=$(find "$root/dest" -name smcd-user.pc -printf '%h\n')
[ -n "$pc" ] || fail "no pkg-config file"
cat >"$root/app.c" <<'EOF'
#include <smcd-user.h>
#include <stdio.h>

int main(void)
{
	struct smcdu_ctx *ctx;
	struct smcdu_channel *ch;

	if (smcdu_open(NULL, &ctx))
		return 1;
	if (smcdu_connect(ctx, "nobody@0x1", &ch) == 0)
		return 2;
	printf("%s: %s\n", smcdu_version(), smcdu_last_error());
	smcdu_close_ctx(ctx);
	return 0;
}
EOF
pkg() {
	PKG_CONFIG_PATH=$pc PKG_CONFIG_SYSROOT_DIR=$root/dest pkg-config "$@" smcd-user
}
# shellcheck disable=SC2046 # several words each
cc -std=c99 -Wall -Wextra -Werror -pedantic $(pkg --cflags) -o "$root/app" "$root/app.c" $(pkg --libs)
SMCD_USER_SOCKET=$root/none "$root/app" | grep -q '^0\.1\.0: .*none' ||
	fail "the application got no clear error without a daemon"
exported=$(nm -D --defined-only "$lib/libsmcd-user.so.0" | awk '$2 != "A" { sub(/@.*/, "", $3); print $3 }' | grep -v '^smcdu_' || true)
[ -z "$exported" ] || fail "exports besides smcdu_: $exported"

command -v systemd-analyze >/dev/null || exit 0
units=$root/dest$prefix/lib/systemd/system
[ -d "$units" ] || exit 0
mkdir "$root/units"
for unit in "$units"/*; do # the programs are in the scratch root
	sed "s|^ExecStart=|&$root/dest|; s|--config $prefix|--config $root/dest$prefix|" "$unit" >"$root/units/$(basename "$unit")"
done
SYSTEMD_LOG_LEVEL=warning systemd-analyze verify --man=no "$root"/units/* >"$root/verify" 2>&1 || true
[ ! -s "$root/verify" ] || { cat "$root/verify" >&2; fail "systemd-analyze verify has findings"; }
systemd-analyze security --offline=true --threshold=6 "$root/units/smcd-userd.service" >"$root/security" ||
	{ tail -n 1 "$root/security" >&2; fail "smcd-userd.service is more exposed than 0.6"; }
