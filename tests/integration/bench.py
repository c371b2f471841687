#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""That scripts/bench works and keeps its format: bench.py BENCH BUILD. Looks at no figure's size."""
import json
import subprocess
import sys
import tempfile

VALUES = {
    "case": {"rtt", "stream", "connect", "idle", "costed"},
    "path": {"attached", "mediated"},
    "wait": {"spin", "block", "sleep"},
    "copy": {"copy", "zero"},
    "cores": {1, 2},
}
NUMBERS = ("size", "ours", "runs", "discarded")
# Of each of these there is a row.
WANTED = [
    {"case": "rtt", "path": "attached", "wait": "spin", "copy": "copy", "metric": "p50_us", "peer": "ring"},
    {"case": "rtt", "path": "attached", "wait": "block", "copy": "copy", "metric": "p99.9_us", "peer": "eventfd"},
    {"case": "rtt", "path": "attached", "cores": 1, "metric": "p50_us", "peer": "eventfd"},
    {"case": "rtt", "path": "attached", "copy": "zero", "metric": "max_us", "peer": "ring"},
    {"case": "rtt", "path": "mediated", "metric": "p99_us_beside_stream", "peer": "alone"},
    {"case": "stream", "path": "attached", "metric": "GB/s", "peer": "seqpacket"},
    {"case": "stream", "path": "attached", "copy": "zero", "metric": "GB/s", "peer": "copy"},
    {"case": "stream", "path": "attached", "metric": "bidi_GB/s", "peer": "unix"},
    {"case": "stream", "path": "attached", "metric": "x16_msg/s", "peer": "unix"},
    {"case": "stream", "path": "mediated", "metric": "cpu_s/GB", "peer": "unix"},
    {"case": "connect", "path": "attached", "metric": "conn/s", "peer": "unix"},
    {"case": "connect", "path": "mediated", "metric": "connect_us", "peer": "unix"},
    {"case": "idle", "path": "attached", "metric": "cpu_ms/s", "peer": None},
    {"case": "idle", "path": "mediated", "metric": "daemon_KiB/channel", "peer": None},
    {"case": "costed", "path": "mediated", "metric": "overhead_ns/pcistb", "peer": None},
]


def check(row):
    for key, values in VALUES.items():
        assert row[key] in values, f"{key}: {row}"
    for key in NUMBERS:
        assert isinstance(row[key], (int, float)), f"{key}: {row}"
    assert isinstance(row["metric"], str), row
    if row["peer"] is None:
        assert row["theirs"] is None and row["ratio"] is None, row
    else:
        assert isinstance(row["theirs"], (int, float)) and isinstance(row["ratio"], (int, float)), row
    if row["case"] in ("rtt", "stream", "connect"):
        assert row["ours"] > 0, row


def main():
    bench, build = sys.argv[1:]
    with tempfile.NamedTemporaryFile("r", suffix=".json") as f:
        subprocess.run([bench, "--quick", "--verify", "--build", build, "--json", f.name], check=True)
        rows = json.load(f)
    for row in rows:
        check(row)
    for want in WANTED:
        assert any(all(row[k] == v for k, v in want.items()) for row in rows), f"no row for {want}"


main()
