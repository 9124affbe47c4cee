# SPDX-License-Identifier: MIT
"""Plain DNS over UDP: what comes in goes out as it is, and answers fit."""

import socket
import struct

import pytest

import wire
from client import Udp
from wire import AA, AD, CD, RA, RD, TC, Z, answer, answer_of_size, opt_record, query, question, record, usual_answer


def answering(make):
    """A handler that answers every query with what make(query octets) returns."""

    def handler(connection):
        while arrived := connection.query():
            connection.send_message(make(arrived.wire))

    return handler


@pytest.mark.cross
@pytest.mark.valgrind
def test_a_query_is_answered(polite):
    program, server = polite
    reply = program.udp(query("www.example.", "A", id=0x4711))
    assert reply.id == 0x4711
    assert reply.rcode == 0
    assert [r.rdata for r in reply.answers] == [bytes([192, 0, 2, 1])]
    assert [q.name for q in server.queries] == ["www.example."]


def test_the_id_zero_is_an_id_like_others(polite):
    program, _ = polite
    assert program.udp(query(id=0)).id == 0


def test_equal_ids_of_two_clients_do_not_mix(unkind, dnproxy):
    def backwards(connection):
        first, second = connection.query(), connection.query()
        connection.answer(second)
        connection.answer(first)
        connection.serve()

    program = dnproxy(unkind(backwards))
    with Udp(program.address) as one, Udp(program.address) as two:
        one.send(query("one.example.", id=7))
        two.send(query("two.example.", id=7))
        replies = one.receive(), two.receive()
    assert [r.id for r in replies] == [7, 7]
    assert [r.name for r in replies] == ["one.example.", "two.example."]


def test_one_client_may_use_an_id_twice_at_once(unkind, dnproxy):
    def waits_for_both(connection):
        for arrived in [connection.query(), connection.query()]:
            connection.answer(arrived)
        connection.serve()

    program = dnproxy(unkind(waits_for_both))
    with Udp(program.address) as one:
        one.send(query("one.example.", id=7))
        one.send(query("two.example.", id=7))
        assert {one.receive().name, one.receive().name} == {"one.example.", "two.example."}


def test_ids_upstream_are_our_own_and_differ(polite):
    """RFC 5452 section 9.2: unpredictable query IDs over the full 16 bits."""
    program, server = polite
    with Udp(program.address) as one:
        for _ in range(60):
            one.ask(query(id=7))
    ids = [q.id for q in server.queries]
    assert len(set(ids)) > 55
    steps = {(b - a) % 65536 for a, b in zip(ids, ids[1:])}
    assert len(steps) > 50, "IDs that can be guessed from the one before"
    assert min(ids) < 0x4000 and max(ids) > 0xC000


def test_letter_case_passes_both_ways(polite):
    """RFC 4343: the case that was sent is kept."""
    program, server = polite
    reply = program.udp(query("wWw.ExAmPlE."))
    assert server.queries[0].questions[0][0] == b"\x03wWw\x07ExAmPlE\0"
    assert reply.questions[0][0] == b"\x03wWw\x07ExAmPlE\0"


def test_names_are_compared_without_case(unkind, dnproxy):
    """RFC 4343: an answer in other letters is the answer; the client sees its own spelling."""
    lower = answering(lambda w: usual_answer(w, asked=wire.Message(w).question_wire.lower()))
    program = dnproxy(unkind(lower))
    reply = program.udp(query("WWW.Example."))
    assert reply.rcode == 0 and reply.answers
    assert reply.questions[0][0] == b"\x03WWW\x07Example\0"


@pytest.mark.parametrize("flags", [0, RD, AD, CD, Z, RD | AD | CD | Z, AA, RA, TC], ids=hex)
def test_flags_of_a_query_pass(polite, flags):
    """RFC 5625 section 4.1: unknown header flags are ignored and proxied as usual."""
    program, server = polite
    assert program.udp(query(flags=flags)).rcode == 0
    assert server.queries[0].flags == flags


@pytest.mark.parametrize("flags", [0, AA, RA, AD, AA | RA | AD, Z], ids=hex)
def test_flags_of_an_answer_pass(unkind, dnproxy, flags):
    """RFC 5625 section 4.1; RFC 6840 section 5.8: AD goes to a client that asks for it."""
    program = dnproxy(unkind(answering(lambda w: usual_answer(w, flags=flags))))
    reply = program.udp(query(flags=RD | AD | CD))
    assert reply.flags == wire.QR | RD | CD | flags


def test_every_type_and_class_passes(polite):
    """RFC 5625 section 4.3, RFC 3597 section 3: regardless of QTYPE and QCLASS."""
    program, server = polite
    asked = [(t, 1) for t in (0, 1, 2, 41, 64, 65, 99, 128, 249, 253, 254, 255, 256, 32768, 65280, 65535)]
    asked += [(16, c) for c in (0, 3, 4, 254, 255, 65280, 65535)]
    with Udp(program.address) as one:
        for number, (kind, rdclass) in enumerate(asked):
            reply = one.ask(query("odd.example.", kind, id=number, rdclass=rdclass))
            assert (reply.id, reply.rcode) == (number, 0)
            assert reply.questions[0][1:] == (kind, rdclass)
    assert [q.questions[0][1:] for q in server.queries] == asked


LONG_LABEL = b"\x3f" + b"x" * 63
ODD_NAMES = {
    "root": b"\0",
    "one label of one octet": b"\x01a\0",
    "label of 63 octets": LONG_LABEL + b"\0",
    "name of 255 octets": LONG_LABEL * 3 + b"\x3d" + b"y" * 61 + b"\0",
    "127 labels": b"\x01z" * 127 + b"\0",
    "zero octets": b"\x03\0\0\0\x03com\0",
    "dots and spaces in labels": b"\x05a.b c\x01.\0",
    "all high octets": b"\x3f" + bytes(range(192, 255)) + b"\0",
    "control octets": b"\x20" + bytes(range(32)) + b"\x01\x7f\0",
}


@pytest.mark.parametrize("name", ODD_NAMES.values(), ids=ODD_NAMES.keys())
def test_odd_names_pass(polite, name):
    """RFC 1035 section 2.3.4, RFC 2181 section 11: 1..63, 255, and any octet values."""
    program, server = polite
    reply = program.udp(query(name))
    assert reply.rcode == 0
    assert server.queries[0].questions[0][0] == name
    assert reply.questions[0][0] == name


UNLIKELY_RDATA = b"\xc0\x0c\xc0\xff\x07example\xc0\x0c" + bytes(range(256))


def verbatim(asked):
    """An answer with compressed and plain names, unknown types, all sections, odd TTLs and classes."""
    plain = record("NS", b"\x02ns\xc0\x0c", owner=b"\x03www\x07example\0", ttl=0xFFFFFFFF)
    strange = record(65280, UNLIKELY_RDATA, rdclass=65281, ttl=0)
    extra = record(64, b"\0\x01\0", owner=b"\xc0\x10")
    return answer(asked, records=[record("CNAME", b"\xc0\x10"), plain, strange], authority=[plain, extra])


@pytest.mark.parametrize("over", ["udp", "tcp"])
def test_an_answer_passes_octet_by_octet(unkind, dnproxy, over):
    """RFC 5625 section 4.2 and 4.3, RFC 3597 sections 3 and 4: nothing is compressed or rewritten."""
    program = dnproxy(unkind(answering(verbatim)))
    asked = query("www.example.", "ANY", id=0xABCD)
    assert program.ask(asked, over).wire == verbatim(asked)


def test_records_in_a_query_pass(polite):
    """RFC 5625 section 3: the request is forwarded as it is."""
    program, server = polite
    extra = [record("TXT", b"\x03abc"), record(65280, UNLIKELY_RDATA)]
    program.udp(query(additional=extra))
    seen = server.queries[0]
    assert [(r.type, r.rdata) for r in seen.records if r.type != wire.OPT] == [
        (16, b"\x03abc"),
        (65280, UNLIKELY_RDATA),
    ]


def sized(size, opt=None):
    return answering(lambda w: answer_of_size(w, size, opt))


@pytest.mark.parametrize("size, whole", [(511, True), (512, True), (513, False), (65535, False)])
def test_without_edns_512_octets_are_the_limit(unkind, dnproxy, size, whole):
    """RFC 1035 section 4.2.1; RFC 5625 section 4.4: TC when the proxy cuts."""
    program = dnproxy(unkind(sized(size)))
    reply = program.udp(query("big.example.", "TXT"))
    assert bool(reply.flags & TC) == (not whole)
    if whole:
        assert len(reply.wire) == size
    else:
        assert reply.question_wire == question("big.example.", "TXT")
        assert reply.records == []


SIZES = [(512, 512), (513, 513), (900, 900), (1232, 1232), (4096, 1232), (65535, 1232)]


@pytest.mark.parametrize("asked, limit", SIZES)
def test_the_announced_size_is_the_limit_up_to_1232(unkind, dnproxy, asked, limit):
    """RFC 6891 section 6.2.5, RFC 5625 section 4.4 and 6891 section 6.2.6: not cut at 512; RFC 9715."""
    ours = len(opt_record())
    client = query("big.example.", "TXT", opt=opt_record(asked))
    fits = dnproxy(unkind(sized(limit - ours))).udp(client)
    assert not fits.flags & TC and fits.answers and len(fits.wire) == limit
    cut = dnproxy(unkind(sized(limit + 1 - ours))).udp(client)
    assert cut.flags & TC
    assert cut.question_wire == question("big.example.", "TXT")
    assert [r.type for r in cut.records] == [wire.OPT]


@pytest.mark.cross
@pytest.mark.parametrize("announced", [0, 1, 511])
def test_announced_sizes_below_512_count_as_512(unkind, dnproxy, announced):
    """RFC 6891 section 6.2.3."""
    program = dnproxy(unkind(sized(512 - len(opt_record()))))
    reply = program.udp(query("big.example.", "TXT", opt=opt_record(announced)))
    assert not reply.flags & TC and len(reply.wire) == 512


def test_the_announced_size_is_not_remembered(unkind, dnproxy):
    """RFC 6891 section 6.2.5."""
    program = dnproxy(unkind(sized(1000)))
    with Udp(program.address) as one:
        assert not one.ask(query("big.example.", "TXT", opt=opt_record(1232))).flags & TC
        assert one.ask(query("big.example.", "TXT")).flags & TC


def test_a_higher_udp_size_may_be_set(unkind, dnproxy):
    """RFC 5625 section 4.4.3: able to forward UDP payloads of 4,096 octets."""
    program = dnproxy(unkind(sized(4096 - len(opt_record()))), dnproxy__udp_size=4096)
    reply = program.udp(query("big.example.", "TXT", opt=opt_record(4096)))
    assert not reply.flags & TC and len(reply.wire) == 4096
    assert program.udp(query("big.example.", "TXT", opt=opt_record(4095))).flags & TC


def test_padding_and_opt_of_the_upstream_do_not_count(unkind, dnproxy):
    """What the client does not get is not measured: 512 octets of answer fit, padded or not."""

    def padded(asked):
        bare = answer_of_size(asked, 512)
        padding = opt_record(options=[(wire.PADDING, bytes(400))])
        made = bytearray(bare + padding)
        struct.pack_into("!H", made, 10, 1)
        return bytes(made)

    program = dnproxy(unkind(answering(padded)))
    reply = program.udp(query("big.example.", "TXT"))
    assert not reply.flags & TC and len(reply.wire) == 512 and reply.answers


def test_tc_of_the_upstream_stays(unkind, dnproxy):
    """RFC 5625 section 4.4: a TC bit is never removed."""
    program = dnproxy(unkind(answering(lambda w: usual_answer(w, flags=TC | RA))))
    for over in ("udp", "tcp"):
        reply = program.ask(query(), over)
        assert reply.flags & TC and reply.answers


def test_a_query_of_4096_octets_is_taken(polite):
    """RFC 5625 section 4.4.3."""
    program, server = polite
    short = query("long.example.")
    row = record("TXT", b"\xff" + b"x" * 255)
    extra = [row] * ((4096 - len(short)) // len(row))
    rest = 4096 - len(short) - len(row) * len(extra)
    extra.append(record(65280, b"z" * (rest - len(record(65280, b"")))))
    asked = query("long.example.", additional=extra)
    assert len(asked) == 4096
    assert program.udp(asked).rcode == 0
    assert len([r for r in server.queries[0].records if r.type != wire.OPT]) == len(extra)


def test_any_is_forwarded(polite):
    """RFC 8482 section 4: to answer ANY minimally is the business of who knows the answer."""
    program, server = polite
    assert program.udp(query(kind="ANY")).rcode == 0
    assert server.queries[0].type == 255


def test_nxdomain_and_its_soa_pass(unkind, dnproxy):
    soa = record("SOA", b"\0\0" + struct.pack("!IIIII", 1, 2, 3, 4, 5), owner=b"\0")
    program = dnproxy(unkind(answering(lambda w: answer(w, rcode=3, authority=[soa]))))
    reply = program.udp(query("no.example."))
    assert reply.rcode == wire.NXDOMAIN
    assert [r.type for r in reply.records] == [6]


@pytest.mark.valgrind
def test_a_burst_of_500_queries_is_answered(polite):
    program, _ = polite
    with Udp(program.address) as one:
        for number in range(500):
            one.send(query(f"n{number}.example.", id=number))
        replies = [one.receive() for _ in range(500)]
    assert {r.id for r in replies} == set(range(500))
    assert all(r.name == f"n{r.id}.example." and r.rcode == 0 for r in replies)


def test_a_client_that_is_gone_disturbs_nobody(unkind, dnproxy):
    """An ICMP error that comes back for an answer is not the end of the socket."""

    def second_first(connection):
        lost, kept = connection.query(), connection.query()
        connection.answer(lost)
        connection.answer(kept)
        connection.serve()

    program = dnproxy(unkind(second_first))
    gone = Udp(program.address)
    gone.send(query("gone.example."))
    gone.close()
    assert program.udp(query("kept.example.")).rcode == 0
    assert program.udp(query("more.example.")).rcode == 0


def test_a_datagram_is_answered_by_a_datagram_from_the_same_port(polite):
    """RFC 7766 section 5, RFC 2181 section 4: same transport, address and port."""
    program, _ = polite
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(6)
        sock.sendto(query(), program.address)
        _, sender = sock.recvfrom(65535)
    assert sender == program.address
