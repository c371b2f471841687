#!/bin/sh
# SPDX-License-Identifier: MIT
# Runs the conformance suite against a function of a fabric of its own.
# usage: run-fabricd.sh ISM-FABRICD SMCD-CONFORMANCE vfio-user|attached
set -eu

dir=$(mktemp -d)
pid=

cleanup() {
	if [ -n "$pid" ]; then
		kill "$pid" 2>/dev/null || true
		wait "$pid" 2>/dev/null || true
	fi
	rm -rf "$dir"
}
trap cleanup EXIT
trap 'exit 1' HUP INT TERM

# shellcheck disable=SC2086 # the emulator of a cross build, in words
${MESON_EXE_WRAPPER:-} "$1" --functions 2 --dir "$dir" >"$dir/log" 2>&1 &
pid=$!
tries=0
while [ ! -S "$dir/ism1.sock" ]; do
	tries=$((tries + 1))
	if [ "$tries" -gt 600 ] || ! kill -0 "$pid" 2>/dev/null; then
		cat "$dir/log" >&2
		echo "Bail out! the fabric did not start"
		exit 1
	fi
	sleep 0.1
done
# shellcheck disable=SC2086
${MESON_EXE_WRAPPER:-} "$2" --provider "$3:$dir/ism1.sock"
