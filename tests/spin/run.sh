#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# run.sh CC MODEL holds|fails [MACRO...]: verifies a model exhaustively, in bounded memory and time.
# With "fails" each macro must break it by itself: a model that cannot fail proves nothing.
set -euo pipefail
cc=$1 model=$(realpath "$2") want=$3
shift 3
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"

# verify MACRO...: 0 when it holds, 1 when not; anything else ends the script
verify() {
	local out
	spin "${@/#/-D}" -a "$model"
	# Exhaustive search for assertions and dead ends; COLLAPSE packs the states.
	"$cc" -O2 -w -DSAFETY -DCOLLAPSE -DMEMLIM=1024 -o pan pan.c
	out=$(timeout 290 ./pan -m100000) || true
	if grep -qE 'max search depth too small|reached -DMEMLIM|Search not completed' <<<"$out" &&
		! grep -q '^pan:1:' <<<"$out"; then
		echo "$out"
		echo "run.sh: not exhausted" >&2
		exit 2
	fi
	grep -E '^pan:1:|states, stored' <<<"$out" | sed "s/^/$* /"
	grep -q 'errors: 0' <<<"$out" && return 0
	grep -q '^pan:1:' <<<"$out" && return 1
	echo "$out"
	exit 2
}

if [ "$want" = holds ]; then
	verify "$@"
	exit
fi
for macro in "$@"; do
	if verify "$macro"; then
		echo "run.sh: the model still holds with $macro" >&2
		exit 1
	fi
done
