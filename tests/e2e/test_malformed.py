# SPDX-License-Identifier: MIT
"""Queries that are none: dropped, or answered with the error the RFCs ask for."""

import random
import struct

import pytest

import wire
from client import Udp, framed
from wire import CD, QR, RD, Message, header, opt_record, query, question, record

NOTHING_UPSTREAM = "a malformed query must not reach the upstream"


def fields(reply):
    return reply.rcode, reply.opcode, reply.id


@pytest.fixture
def ask(polite):
    """ask(octets) over UDP; at the end the upstream must not have seen a thing."""
    program, server = polite
    yield program.udp
    assert server.queries == [], NOTHING_UPSTREAM


def silence(program, octets):
    with Udp(program.address) as client:
        client.send(octets)
        return client.silent()


@pytest.mark.parametrize("length", [0, 1, 2, 11])
def test_shorter_than_a_header_is_dropped(polite, length):
    program, _ = polite
    assert silence(program, query()[:length])
    assert program.udp(query()).rcode == 0


RESPONSES = {
    "query with QR": query(flags=QR | RD),
    "answer": wire.usual_answer(query()),
    "header": header(7, QR),
    "DSO": header(7, QR | 0x3000),
}


@pytest.mark.parametrize("octets", RESPONSES.values(), ids=RESPONSES.keys())
def test_a_response_is_dropped(polite, octets):
    """RFC 1035 section 4.1.1: two proxies that answer each other's answers would never stop."""
    program, server = polite
    assert silence(program, octets)
    with program.tcp() as client:
        client.send_raw(framed(octets) + framed(query(id=3)))
        assert client.receive().id == 3
    assert len(server.queries) == 1


@pytest.mark.parametrize("opcode", [1, 2, 3, 4, 5, 7, 15])
@pytest.mark.parametrize("over", ["udp", "tcp"])
def test_other_opcodes_are_not_implemented(polite, opcode, over):
    """RFC 1035 section 4.1.1: NOTIMP, with ID, opcode and RD as asked; not silence."""
    program, server = polite
    for extra in (RD, 0, CD):
        reply = program.ask(query(id=opcode, flags=opcode << 11 | extra), over)
        assert fields(reply) == (wire.NOTIMP, opcode, opcode)
        assert reply.flags & RD == extra & RD
        assert reply.flags & QR
    assert server.queries == []


@pytest.mark.parametrize("over", ["udp", "tcp"])
def test_dso_is_not_implemented(polite, over):
    """RFC 8490 sections 5.1.1 and 9.4: told at once that there is no DSO, and never forwarded."""
    program, server = polite
    keepalive_tlv = struct.pack("!HHII", 1, 8, 15000, 15000)
    reply = program.ask(header(8, 6 << 11) + keepalive_tlv, over, timeout=1)
    assert fields(reply) == (wire.NOTIMP, 6, 8)
    assert server.queries == []


@pytest.mark.parametrize("counts", [(1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0), (0, 0, 0, 1)])
def test_dso_with_counts_is_a_format_error(polite, counts):
    """RFC 8490 section 5.4."""
    program, _ = polite
    with program.tcp() as client:
        reply = client.ask(struct.pack("!HHHHHH", 9, 6 << 11, *counts) + bytes(20))
    assert fields(reply) == (wire.FORMERR, 6, 9)


def counted(octets, at, count):
    return octets[:at] + struct.pack("!H", count) + octets[at + 2 :]


FORMAT_ERRORS = {
    "no question": header(1, RD),
    "two questions": counted(query(id=1) + question("b.example."), 4, 2),
    "65,535 questions": counted(query(id=1), 4, 65535),
    "question cut in its name": query(id=1)[:20],
    "question cut in its class": query(id=1)[:-1],
    "name that points to itself": header(1, RD, qd=1) + b"\xc0\x0c\0\1\0\1",
    "name that points behind": header(1, RD, qd=1) + b"\xc0\x20\0\1\0\1" + bytes(20),
    "label type 0x40": header(1, RD, qd=1) + b"\x41a\0\0\1\0\1",
    "label type 0x80": header(1, RD, qd=1) + b"\x81a\0\0\1\0\1",
    "name of 256 octets": header(1, RD, qd=1) + (b"\x3f" + b"x" * 63) * 3 + b"\x3e" + b"y" * 62 + b"\0\0\1\0\1",
    "record that is not there": counted(query(id=1), 10, 1),
    "65,535 records that are not there": counted(query(id=1), 6, 65535),
    "record cut in its data": counted(query(id=1) + record("TXT", b"\x03abc")[:-1], 10, 1),
    "octets behind the end": query(id=1) + b"\0",
    "OPT among the answers": counted(query(id=1) + opt_record(), 6, 1),
    "TSIG that is not the last": counted(
        query(id=1) + record(wire.TSIG, bytes(30), owner=b"\0", rdclass=255) + record("A", bytes(4)), 10, 2
    ),
}


@pytest.mark.parametrize("octets", FORMAT_ERRORS.values(), ids=FORMAT_ERRORS.keys())
def test_a_malformed_query_is_a_format_error(ask, octets):
    """RFC 1035 section 4.1.1, RFC 9619 section 4 (QDCOUNT), RFC 8945 section 5.1 (TSIG)."""
    reply = ask(octets)
    assert fields(reply) == (wire.FORMERR, 0, 1)
    assert reply.flags & QR and reply.counts[1:3] == [0, 0]


@pytest.mark.parametrize("octets", [FORMAT_ERRORS["no question"], FORMAT_ERRORS["octets behind the end"]])
def test_a_format_error_does_not_end_a_connection(polite, octets):
    program, _ = polite
    with program.tcp() as client:
        client.send_raw(framed(octets) + framed(query(id=2)))
        assert {client.receive().id, client.receive().id} == {1, 2}


@pytest.mark.parametrize("kind", ["AXFR", "IXFR"])
@pytest.mark.parametrize("over", ["udp", "tcp"])
def test_zone_transfers_are_refused(polite, kind, over):
    """RFC 5936 sections 2.2 and 4.1: many messages for one query have no place here."""
    program, server = polite
    soa = record("SOA", b"\0\0" + bytes(20))
    octets = query("zone.example.", kind, id=4, opt=True)
    if kind == "IXFR":
        octets = header(4, 0, qd=1, ns=1, ar=1) + question("zone.example.", kind) + soa + opt_record()
    reply = program.ask(octets, over)
    assert fields(reply) == (wire.REFUSED, 0, 4)
    assert reply.ede == [21]
    assert reply.question_wire == question("zone.example.", kind)
    assert server.queries == []


def test_a_query_cut_anywhere_gets_an_error_or_nothing(polite):
    program, server = polite
    whole = query("cut.example.", opt=opt_record(options=[(wire.COOKIE, bytes(8))]))
    with Udp(program.address) as client:
        for length in range(len(whole)):
            client.send(whole[:length])
            if length >= 12:
                assert client.receive().rcode == wire.FORMERR
        assert client.ask(whole).rcode == 0
    assert len(server.queries) == 1


@pytest.mark.valgrind
@pytest.mark.parametrize("seed", range(4))
def test_garbage_is_survived(polite, seed):
    """Mutations of good queries and plain noise; every reply that comes is a message with QR set."""
    program, _ = polite
    dice = random.Random(seed)
    good = [query(opt=True), query("a.b.c.example.", "TXT", opt=opt_record(options=[(wire.ECS, b"\0\1\0\0")])),
            counted(query() + record(wire.TSIG, bytes(40), owner=b"\0", rdclass=255), 10, 1)]
    with Udp(program.address) as client:
        for _ in range(500):
            octets = bytearray(dice.choice(good))
            for _ in range(dice.randrange(1, 6)):
                octets[dice.randrange(len(octets))] = dice.randrange(256)
            if dice.random() < 0.2:
                octets = dice.randbytes(dice.randrange(0, 600))
            client.send(bytes(octets))
        client.sock.settimeout(0.2)
        replies = []
        try:
            while True:
                replies.append(client.receive_octets(0.3))
        except TimeoutError:
            pass
    assert replies
    for octets in replies:
        assert Message(octets).flags & QR
    assert program.udp(query()).rcode == 0


@pytest.mark.parametrize("seed", range(3))
def test_garbage_over_tcp_is_survived(polite, seed):
    program, _ = polite
    dice = random.Random(seed)
    for _ in range(40):
        with program.tcp() as client:
            try:
                client.send_raw(framed(query()) + dice.randbytes(dice.randrange(1, 300)))
                if dice.random() < 0.5:
                    client.receive()
            except (ConnectionError, EOFError):
                pass
    assert program.ask(query(), "tcp").rcode == 0


def test_an_error_is_never_longer_than_the_client_takes(ask):
    """And an error does not amplify: it is about as long as what it answers."""
    name = b"\x3f" + b"x" * 63
    for octets in (query(name * 3 + b"\x01y\0", opt=opt_record(version=1)), query("a.example.", "AXFR", opt=True)):
        assert len(ask(octets).wire) <= len(octets) + 100
