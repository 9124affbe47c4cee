# SPDX-License-Identifier: MIT
"""DNS messages as octets: made by hand, so that they may be odd, and read without mercy.

dnspython refuses much of what these tests must send, and hides what they must see; it is used
here for names and type names only.
"""

import struct

import dns.name
import dns.rdataclass
import dns.rdatatype

QR, AA, TC, RD, RA, Z, AD, CD = 0x8000, 0x0400, 0x0200, 0x0100, 0x0080, 0x0040, 0x0020, 0x0010
NOERROR, FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED, BADVERS, BADCOOKIE = 0, 1, 2, 3, 4, 5, 16, 23
ECS, COOKIE, KEEPALIVE, PADDING, EDE = 8, 10, 11, 12, 15
OPT, TSIG = 41, 250

TXT_ROW = 100  # octets of text in a record of answer_of_size()


def name_octets(text):
    """The name on the wire: "www.example." or, for odd ones, octets that are taken as they are."""
    return text if isinstance(text, bytes) else dns.name.from_text(text).to_wire()


def type_number(kind):
    return kind if isinstance(kind, int) else int(dns.rdatatype.from_text(kind))


def options_octets(options):
    return b"".join(struct.pack("!HH", code, len(data)) + data for code, data in options)


def opt_record(size=1232, options=(), do=False, version=0, high_rcode=0, owner=b"\0"):
    """An OPT record; options are (code, octets) pairs, or the raw octets of its RDATA."""
    rdata = options if isinstance(options, bytes) else options_octets(options)
    ttl = high_rcode << 24 | version << 16 | (0x8000 if do else 0)
    return owner + struct.pack("!HHIH", OPT, size, ttl, len(rdata)) + rdata


def record(kind, rdata, owner=b"\xc0\x0c", ttl=300, rdclass=1):
    """One resource record; its owner is the question's name unless told otherwise."""
    return owner + struct.pack("!HHIH", type_number(kind), rdclass, ttl, len(rdata)) + rdata


def question(name, kind="A", rdclass=1):
    return name_octets(name) + struct.pack("!HH", type_number(kind), rdclass)


def header(id, flags, qd=0, an=0, ns=0, ar=0):
    return struct.pack("!HHHHHH", id, flags, qd, an, ns, ar)


def query(name="www.example.", kind="A", id=0x1234, flags=RD, rdclass=1, opt=None, additional=()):
    """A query.  opt: an OPT record, or True for a plain one.  additional: records before it."""
    extra = list(additional)
    if opt:
        extra.append(opt_record() if opt is True else opt)
    return header(id, flags, qd=1, ar=len(extra)) + question(name, kind, rdclass) + b"".join(extra)


class Record:
    """A resource record of a message: section 1..3, type, rdclass, ttl, rdata, octets start..end."""

    def __init__(self, section, kind, rdclass, ttl, rdata, start, end, owner):
        self.section, self.type, self.rdclass, self.ttl = section, kind, rdclass, ttl
        self.rdata, self.start, self.end, self.owner = rdata, start, end, owner


def _skip_name(wire, at):
    while True:
        length = wire[at]
        if length >= 0xC0:
            return at + 2
        at += 1 + length
        if length == 0:
            return at


class Message:
    """A message taken apart.  Raises ValueError when it is not a whole, well-formed message."""

    def __init__(self, wire):
        self.wire = wire = bytes(wire)
        try:
            self._read(wire)
        except (IndexError, struct.error) as error:
            raise ValueError(f"malformed message {wire.hex()}") from error

    def _read(self, wire):
        self.id, self.flags, *self.counts = struct.unpack_from("!HHHHHH", wire)
        at = 12
        self.questions = []
        for _ in range(self.counts[0]):
            end = _skip_name(wire, at)
            self.questions.append((wire[at:end], *struct.unpack_from("!HH", wire, end)))
            at = end + 4
        self.question_wire = wire[12:at]
        self.records = []
        for section in (1, 2, 3):
            for _ in range(self.counts[section]):
                fixed = _skip_name(wire, at)
                kind, rdclass, ttl, length = struct.unpack_from("!HHIH", wire, fixed)
                end = fixed + 10 + length
                if end > len(wire):
                    raise IndexError("a record ends outside the message")
                owner, rdata = wire[at:fixed], wire[fixed + 10 : end]
                self.records.append(Record(section, kind, rdclass, ttl, rdata, at, end, owner))
                at = end
        if at != len(wire):
            raise ValueError(f"{len(wire) - at} octets behind the last record")

    @property
    def opcode(self):
        return self.flags >> 11 & 15

    @property
    def rcode(self):
        """With its extended bits when there is an OPT record."""
        return (self.flags & 15) | (self.opt.ttl >> 24 << 4 if self.opt else 0)

    @property
    def name(self):
        return dns.name.from_wire(self.questions[0][0], 0)[0].to_text()

    @property
    def type(self):
        return self.questions[0][1]

    @property
    def opts(self):
        return [r for r in self.records if r.type == OPT]

    @property
    def opt(self):
        return self.opts[0] if self.opts else None

    @property
    def dnssec_ok(self):
        return bool(self.opt and self.opt.ttl & 0x8000)

    @property
    def edns_version(self):
        return self.opt.ttl >> 16 & 255

    @property
    def options(self):
        """The options of the OPT record as (code, octets) pairs, in order."""
        out, data = [], self.opt.rdata if self.opt else b""
        while data:
            code, length = struct.unpack_from("!HH", data)
            if len(data) < 4 + length:
                raise ValueError("an option ends outside its OPT record")
            out.append((code, data[4 : 4 + length]))
            data = data[4 + length :]
        return out

    def option(self, code):
        """The octets of the one option with this code; None when there is none."""
        found = [data for c, data in self.options if c == code]
        if len(found) > 1:
            raise ValueError(f"option {code} is there {len(found)} times")
        return found[0] if found else None

    @property
    def ede(self):
        """The INFO-CODEs of its Extended DNS Errors."""
        return [struct.unpack_from("!H", data)[0] for code, data in self.options if code == EDE]

    @property
    def answers(self):
        return [r for r in self.records if r.section == 1]


def answer(wire, records=(), rcode=0, flags=RA, opt=None, authority=(), id=None, qr=QR, asked=None):
    """An answer to the query in wire: its ID, RD and CD, its question, and the records given.
    opt: an OPT record; asked: another question section than the query's (b"" for none)."""
    asking = Message(wire)
    asked = asking.question_wire if asked is None else asked
    word = qr | (asking.flags & (RD | CD | 0x7800)) | flags | (rcode & 15)
    counts = (1 if asked else 0, len(records), len(authority), 1 if opt else 0)
    body = b"".join([*records, *authority, opt or b""])
    return header(asking.id if id is None else id, word, *counts) + asked + body


def usual_records(asking):
    """What the polite server knows: something for A, AAAA and TXT, nothing else."""
    known = {1: bytes([192, 0, 2, 1]), 28: b"\x20\x01\x0d\xb8" + bytes(11) + b"\x01", 16: b"\x05hello"}
    return [record(asking.type, known[asking.type])] if asking.type in known else []


def usual_answer(wire, **changes):
    """What a polite server says; with an OPT record when the query has one."""
    asking = Message(wire)
    changes.setdefault("records", usual_records(asking))
    changes.setdefault("opt", opt_record() if asking.opt else None)
    return answer(wire, **changes)


def answer_of_size(wire, size, opt=None, **changes):
    """An answer of exactly size octets, made of TXT records; opt counts towards it."""
    room = size - len(answer(wire, opt=opt))
    row = len(record("TXT", bytes(1 + TXT_ROW)))
    least = len(record("TXT", b"\x01x"))
    records = []
    while room >= row + least:
        records.append(record("TXT", bytes([TXT_ROW]) + b"x" * TXT_ROW))
        room -= row
    if room:
        text = room - (least - 1)
        records.append(record("TXT", bytes([text]) + b"y" * text))
    made = answer(wire, records=records, opt=opt, **changes)
    assert len(made) == size
    return made
