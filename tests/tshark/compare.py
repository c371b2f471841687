#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""
Lets Wireshark's SMC dissector judge our CLC messages: compare.py GEN TSHARK [COUNT [SEED]]

GEN writes a capture and what was meant by each message (gen.c); tshark decodes the capture; here
each field is compared. A message that tshark finds malformed, or a field that it shows otherwise,
is a failure. What is wrong or missing in tshark itself is the list of KNOWN below, and nothing
else is let pass. The list was made with tshark 4.0; it says of each entry how many messages needed
it, so that one can be dropped when no supported version needs it any more.
"""

import collections
import json
import os
import subprocess
import sys
import tempfile

KNOWN = {
    "accept-r0":
        "A first-contact Accept of release 0 ends behind the host name (114 bytes). tshark reads "
        "16 reserved bytes more whatever the release says, and calls the message malformed. "
        "(It does not do so in Confirm.)",
    "v1-r-only":
        "In a version 1 Proposal of SMC-R alone the IP area begins at byte 40 (its offset is 0). "
        "tshark takes it to be at byte 80 and calls shorter messages malformed.",
    "features":
        "There is no field for the feature mask. In Proposals of SMC-D alone and in Accepts it is "
        "inside what is shown as reserved, where it is compared; a Confirm and a Proposal with "
        "SMC-R do not show it.",
    "gid-ext":
        "There is no field for the lower half of an emulated device's GID in Accept and Confirm; "
        "it is compared inside what is shown as reserved.",
    "text":
        "EIDs and host names are shown as text: from a byte that is no ASCII, or from a NUL on, "
        "they cannot be compared.",
}

EMULATED = 0xFF00
R, D, NEITHER, BOTH = range(4)
FIELDS = """frame.number _ws.malformed smc.clc_msg smc.length smc.reserved
smc.proposal.smc.version smc.proposal.smc.type smc.proposal.smcv2.type
smc.proposal.smc.version.relnum smc.proposal.smc.seid smc.proposal.smc.chid smc.proposal.ism.gid
smc.proposal.ismv2_gid_count smc.proposal.eid.count smc.proposal.eid smc.proposal.system.eid
smc.accept.smc.type smc.confirm.smc.type smc.accept.flags smc.confirm.flags
smc.accept.first.contact smc.confirm.first.contact
smc.accept.sender.server.ism.gid smc.confirm.sender.client.ism.gid
smc.accept.dmb.token smc.confirm.dmb.token
smc.accept.dmbe.conn.index smc.confirm.dmbe.conn.index
smc.accept.dmbe.buffer.size smc.confirm.dmbe.buffer.size
smc.accept.server.linkid smc.confirm.client.linkid
smc.accept.smc.chid smc.confirm.smc.chid smc.accept.eid smc.confirm.eid
smc.accept.os.type smc.confirm.os.type
smc.accept.smc.version.relnum smc.confirm.smc.version.relnum
smc.accept.peer.host.name smc.confirm.peer.host.name
smc.decline.smc.version smc.decline.osync smc.decline.os.type smc.peer.diag.info""".split()

used = collections.Counter()


def known(name):
    assert name in KNOWN
    used[name] += 1


class Shown:
    """What tshark shows of one message."""

    def __init__(self, layers):
        self.layers = layers

    def all(self, field):
        return self.layers.get(field, [])

    def num(self, field, at=0):
        """The value as a number; None if tshark does not show the field."""
        values = self.all(field)
        return int(values[at], 0) if at < len(values) else None

    def flag(self, field):
        values = self.all(field)
        return int(values[0] in ("1", "True", "true")) if values else None

    def reserved(self, length, at=0):
        """One of the reserved parts of that length."""
        parts = [r.replace(":", "") for r in self.all("smc.reserved")]
        parts = [r for r in parts if len(r) == 2 * length]
        return parts[at] if at < len(parts) else None


class Judge:
    def __init__(self, meant, shown):
        self.m, self.s = meant, shown
        self.wrong = []
        self.compared = 0

    def same(self, what, meant, shown):
        self.compared += 1
        if meant != shown:
            self.wrong.append(f"{what}: meant {meant!r}, tshark shows {shown!r}")

    def text(self, what, meant_hex, shown):
        """EIDs and host names, without the padding that we take off and tshark leaves on."""
        raw = bytes.fromhex(meant_hex)
        plain = next((i for i, b in enumerate(raw) if not 0x20 <= b < 0x7F), len(raw))
        if plain < len(raw):
            known("text")
            self.same(what, raw[:plain].decode(), (shown or "")[:plain])
        else:
            self.same(what, raw.decode().rstrip(" "), None if shown is None else shown.rstrip(" "))

    # ---- Proposal

    def proposal(self):
        m, s = self.m, self.s
        self.same("version", m["version"], s.num("smc.proposal.smc.version"))
        self.same("typev1", m["typev1"], s.num("smc.proposal.smc.type"))
        if m["version"] < 2:
            if m["typev1"] == R and "smc.proposal.ism.gid" not in s.layers:
                known("v1-r-only")
            return
        self.same("typev2", m["typev2"], s.num("smc.proposal.smcv2.type"))
        if (m["typev1"] | m["typev2"]) & D:
            self.same("v1 GID", m["v1_gid"], s.num("smc.proposal.ism.gid"))
        if m["typev2"] & D:
            self.same("v1 CHID", m["v1_chid"], s.num("smc.proposal.smc.chid"))
        if m["v2ext"]:
            self.extension()
        if m["d2ext"]:
            self.extension_d()

    def extension(self):
        m, s = self.m, self.s
        self.same("UEIDs", m["nr_ueid"], s.num("smc.proposal.eid.count"))
        self.same("release", m["release"], s.num("smc.proposal.smc.version.relnum"))
        self.same("SEID bit", m["seid_valid"], s.flag("smc.proposal.smc.seid"))
        shown = s.all("smc.proposal.eid")
        self.same("UEIDs shown", m["nr_ueid"], len(shown))
        for i in range(m["nr_ueid"]):
            self.text(f"UEID {i}", m["ueids"][64 * i:64 * (i + 1)],
                      shown[i] if i < len(shown) else None)
        part = s.reserved(16) if m["typev2"] == D else None
        known("features")
        if part:
            self.same("features", m["features"], int(part[4:8], 16))

    def extension_d(self):
        s = self.s
        seid = s.all("smc.proposal.system.eid")
        if self.m["seid_valid"]:
            self.text("SEID", self.m["seid"], seid[0] if seid else None)
        gids = [int(g, 0) for g in s.all("smc.proposal.ism.gid")[1:]]
        chids = [int(c, 0) for c in s.all("smc.proposal.smc.chid")[1:]]
        self.same("entries shown", s.num("smc.proposal.ismv2_gid_count"), len(gids))
        self.same("devices", self.m["devices"], devices(gids, chids))

    # ---- Accept, Confirm

    def accept(self):
        m, s = self.m, self.s
        me, host = ("accept", "server") if m["type"] == 2 else ("confirm", "client")
        self.same("version", m["version"], s.num(f"smc.{me}.flags") >> 4)
        self.same("SMC-D", m["smcd"], int(s.num(f"smc.{me}.smc.type") == D))
        if not m["smcd"]:
            return
        self.same("first contact", m["first_contact"], s.flag(f"smc.{me}.first.contact"))
        self.same("GID", m["gid"], s.num(f"smc.{me}.sender.{host}.ism.gid"))
        self.same("token", m["token"], s.num(f"smc.{me}.dmb.token"))
        self.same("DMBE index", m["idx"], s.num(f"smc.{me}.dmbe.conn.index"))
        self.same("size code", m["size_code"], s.num(f"smc.{me}.dmbe.buffer.size"))
        self.same("link id", int(m["link_id"], 16), s.num(f"smc.{me}.{host}.linkid"))
        if m["version"] < 2:
            return
        self.same("CHID", m["chid"], s.num(f"smc.{me}.smc.chid"))
        self.text("EID", m["eid"], s.all(f"smc.{me}.eid")[0])
        if m["chid"] >= EMULATED:
            known("gid-ext")
            self.same("lower GID", f"{m['gid_ext']:016x}", s.reserved(8))
        if m["first_contact"]:
            self.first_contact(me)

    def first_contact(self, me):
        m, s = self.m, self.s
        self.same("OS", m["os"], s.num(f"smc.{me}.os.type"))
        self.same("release", m["release"], s.num(f"smc.{me}.smc.version.relnum"))
        shown = s.all(f"smc.{me}.peer.host.name")[0]
        if shown.isascii() and shown.isprintable():
            self.text("host", m["host"], shown)
        else:
            known("text")  # our decoder takes none of it
            self.same("host", "", m["host"])
        known("features")
        if m["release"] and me == "accept":
            self.same("features", m["features"], int(s.reserved(16)[4:8], 16))

    # ---- Decline

    def decline(self):
        m, s = self.m, self.s
        self.same("version", m["version"], s.num("smc.decline.smc.version"))
        self.same("out of sync", m["out_of_sync"], s.flag("smc.decline.osync"))
        self.same("diagnosis", m["diag"], s.num("smc.peer.diag.info"))
        if m["version"] > 1:
            self.same("OS", m["os"], s.num("smc.decline.os.type"))

    def malformed_for_a_reason(self):
        m = self.m
        if m["type"] == 2 and m.get("smcd") and m["first_contact"] and m["length"] < 130:
            known("accept-r0")
        elif m["type"] == 1 and m["version"] == 1 and m["typev1"] == R:
            known("v1-r-only")
        elif m["type"] == 1 and m["typev2"] in (D, BOTH) and not m["d2ext"]:
            pass  # its extension is elsewhere: we decline it as one that has none
        elif m["type"] in (2, 3) and not m["smcd"]:
            pass  # it says SMC-R, which we decline, over what was one of SMC-D
        else:
            return False
        return True

    def judge(self):
        if self.m.get("smcd") == 0 and "smc.clc_msg" not in self.s.layers:
            return []  # refused by both: SMC-R is declined by us whatever follows
        if "_ws.malformed" in self.s.layers and not self.malformed_for_a_reason():
            self.wrong.append("malformed")
        self.same("type", self.m["type"], self.s.num("smc.clc_msg"))
        self.same("length", self.m["length"], self.s.num("smc.length"))
        try:
            (None, self.proposal, self.accept, self.accept, self.decline)[self.m["type"]]()
        except (TypeError, IndexError) as e:
            self.wrong.append(f"tshark shows too little of it ({e!r})")
        return self.wrong


def devices(gids, chids):
    """Entries to devices: an emulated one has two in a row, and half of one is none."""
    out, i = [], 0
    while i < len(gids):
        gid, chid, ext = gids[i], chids[i], 0
        i += 1
        if chid >= EMULATED:
            if i == len(gids) or chids[i] != chid:
                continue
            ext = gids[i]
            i += 1
        out.append([gid, ext, chid])
    return out


def decode(tshark, capture, config):
    # Whatever port it is, the eyecatcher decides.
    args = [tshark, "-r", capture, "-o", "tcp.try_heuristic_first:TRUE", "-T", "json"]
    for field in FIELDS:
        args += ["-e", field]
    r = subprocess.run(args, capture_output=True, check=True,
                       env={**os.environ, "WIRESHARK_CONFIG_DIR": config, "HOME": config})
    return [Shown(p["_source"]["layers"]) for p in json.loads(r.stdout)]


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    gen, tshark, rest = sys.argv[1], sys.argv[2], sys.argv[3:]
    with tempfile.TemporaryDirectory() as tmp:
        capture, meaning = f"{tmp}/clc.pcapng", f"{tmp}/meant.json"
        subprocess.run([gen, capture, meaning, *rest], check=True)
        with open(meaning, encoding="ascii") as f:
            meant = [json.loads(line) for line in f]
        shown = decode(tshark, capture, tmp)
    if len(shown) != len(meant):
        sys.exit(f"{len(meant)} messages were written, tshark shows {len(shown)}")
    bad = fields = 0
    for m, s in zip(meant, shown):
        j = Judge(m, s)
        wrong = j.judge()
        fields += j.compared
        if wrong:
            bad += 1
            if bad <= 20:
                print(f"message {m['frame']} ({m['how']}, type {m['type']}): " + "; ".join(wrong))
    for name, why in KNOWN.items():
        print(f"known of tshark, {used[name]} times: {why}")
    print(f"{len(meant)} messages, {fields} fields compared, {bad} differ")
    sys.exit(1 if bad else 0)


main()
