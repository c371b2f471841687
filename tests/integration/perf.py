#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""smcd-user-perf as a program under test: perf.py threads|corrupt|sender|peers BENCH BUILD.

threads: many threads on many channels, and two on each; for a sanitizer that watches threads.
corrupt: bytes change in the receiver's memory; whoever verifies has to find out, and say so.
peers: whoever has no zero copy is measured all the same.
sender: what a PCISTB takes of the daemon that executes it is never less than the model charges.
"""
import importlib.machinery
import importlib.util
import os
import random
import subprocess
import sys
import time

HANG = 60  # s
CDC = 32
STORE_NS = 20000
TICK_NS = 10_000_000  # to which the CPU time of somebody else who is running is known, at worst


def load(path):
    """scripts/bench, for its guests."""
    loader = importlib.machinery.SourceFileLoader("bench", path)
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("bench", loader))
    loader.exec_module(module)
    return module


def threads(guests):
    for path in ("attached", "mediated"):
        for copy in ("copy", "zero"):
            for wait, channels in ("block", 4), ("sleep", 4), ("spin", 1):
                rows = guests.measure("--path", path, "--copy", copy, "--wait", wait, "--channels", channels,
                                      "--test", "rtt,stream,bidi", "--sizes", "64,40000", "--count", 40,
                                      "--runs", 1, "--verify")
                assert rows, "no figures"
        rows = guests.measure("--path", path, "--channels", 16, "--test", "stream,bidi", "--sizes", "4K",
                              "--count", 100, "--runs", 1, "--verify")
        assert rows, "no figures"


def peers_without(guests):
    """Whoever has no zero copy is measured copying beside ours that has."""
    rows = guests.measure("--copy", "zero", "--test", "stream", "--sizes", "64K", "--count", 20, "--runs", 1,
                          "--baseline", "unix,seqpacket", "--sockbuf", "1M")
    for peer in "unix", "seqpacket":
        assert any(r["peer"] == peer and r["theirs"] for r in rows), f"no figures of {peer}"


def rings(pid):
    """The DMBs of a daemon."""
    found = []
    for fd in os.listdir(f"/proc/{pid}/fd"):
        name = f"/proc/{pid}/fd/{fd}"
        try:
            if "memfd:ism-dmb" in os.readlink(name):
                found.append(os.open(name, os.O_RDWR | os.O_CLOEXEC))
        except OSError:
            pass  # closed meanwhile
    return found


def flip(fd):
    """Any byte behind the CDC block."""
    size = os.fstat(fd).st_size
    if size <= CDC:
        return  # it is being made
    at = random.randrange(CDC, size)
    os.pwrite(fd, bytes([os.pread(fd, 1, at)[0] ^ 0x55]), at)


def attempt(guests, spoil, *options):
    """A stream, bytes of which may change on their way until it ends. Exit status, and what was said."""
    command = [guests.perf, "--socket", f"{guests.run}/a.sock", "perf@b", "--runs", "1", "--seconds", "0.5",
               "--sizes", "4K", "--test", "stream", *options]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    until = time.monotonic() + HANG
    while spoil and child.poll() is None and time.monotonic() < until:
        time.sleep(0.01)
        for fd in rings(guests.pids["b"]):
            flip(fd)
            os.close(fd)
    _, said = child.communicate(timeout=HANG)
    return child.returncode, said


def corrupt(guests):
    for path in ("attached", "mediated"):
        for copy in ("copy", "zero"):
            options = "--path", path, "--copy", copy
            # It may complain of a machine on which no run was undisturbed.
            status, said = attempt(guests, False, *options, "--verify")
            assert status == 0 and "not those sent" not in said, said
            # A byte that nobody reads any more harms nobody, and one of the test's own ends it otherwise.
            for _ in range(20):
                status, said = attempt(guests, True, *options, "--verify")
                if "the bytes received are not those sent" in said:
                    break
            else:
                raise AssertionError(f"{path}, {copy}: bytes changed, and nobody noticed: {said}")
            assert status == 1, status
            print(path, copy, "noticed:", said.strip())


def stream_costs(guests, *options):
    rows = guests.measure("--path", "mediated", "--test", "stream", "--sizes", "4K", "--runs", 1, "--seconds", 1,
                          "--sender", guests.pids["a"], *options)
    by_metric = {r["metric"]: r["ours"] for r in rows if r["case"] == "stream"}
    # The receiver's stores, which take their time beside these, would make it less.
    assert by_metric["ns/pcistb"] >= STORE_NS, by_metric
    # A sender that is busy with a store is running.
    assert by_metric["cpu_ns/pcistb"] >= STORE_NS * (1 - 2 * TICK_NS / 1e9), by_metric
    return by_metric


def sender(guests):
    stream_costs(guests)
    first, *rest = sorted(os.sched_getaffinity(0))
    if not rest:
        print("one processor: no sender can have one to itself")
        return
    os.sched_setaffinity(guests.pids["a"], {first})
    costs = stream_costs(guests, "--alone", "--cpus", rest[0])
    # A wait that began before the run is counted when it ends.
    assert costs["cpu_ns/pcistb"] + costs["wait_ns/pcistb"] <= costs["ns/pcistb"] * 1.25, costs


def main():
    what, bench, build = sys.argv[1:]
    knobs = (f"store_ns={STORE_NS}",) if what == "sender" else ()
    with load(bench).Guests(build, knobs) as guests:
        {"threads": threads, "corrupt": corrupt, "sender": sender, "peers": peers_without}[what](guests)


main()
