# SPDX-License-Identifier: MIT
"""EDNS (RFC 6891) is hop by hop: what each side sees of it, and what crosses."""

import struct
import time

import dns.message
import dns.tsig
import dns.tsigkeyring
import pytest

import wire
from client import Udp
from wire import AD, CD, RA, RD, Message, answer, opt_record, query, question, record, usual_answer

OURS = 1232  # the size we announce

FULL_OPT = opt_record(
    4096,
    [
        (wire.COOKIE, bytes(16)),
        (wire.KEEPALIVE, b"\x00\x64"),
        (3, b"nsid of a server"),
        (wire.EDE, b"\x00\x03stale answer"),
        (65001, b"local use"),
        (wire.PADDING, bytes(300)),
    ],
    do=True,
)


def answering(make):
    """A handler that answers every query with what make(query octets) returns."""

    def handler(connection):
        while arrived := connection.query():
            connection.send_message(make(arrived.wire))

    return handler


def with_opt(opt, **changes):
    """A polite answer with this OPT record, whatever the query had."""
    return answering(lambda w: usual_answer(w, opt=opt, **changes))


# -- towards the client --------------------------------------------------------------------------


@pytest.mark.parametrize("over", ["udp", "tcp"])
def test_a_client_without_opt_sees_none(unkind, dnproxy, over):
    """RFC 6891 section 7: whatever was used upstream."""
    program = dnproxy(unkind(with_opt(FULL_OPT)))
    reply = program.ask(query(), over)
    assert reply.opts == [] and reply.answers


@pytest.mark.parametrize("over", ["udp", "tcp"])
@pytest.mark.parametrize("opt", [None, FULL_OPT], ids=["upstream without", "upstream with"])
def test_a_client_with_opt_gets_exactly_one(unkind, dnproxy, over, opt):
    """RFC 6891 section 6.1.1."""
    program = dnproxy(unkind(with_opt(opt)))
    reply = program.ask(query(opt=True), over)
    assert len(reply.opts) == 1
    assert reply.opt.owner == b"\0" and reply.edns_version == 0
    assert reply.opt.rdclass == OURS


@pytest.mark.cross
@pytest.mark.parametrize("over", ["udp", "tcp"])
@pytest.mark.valgrind
def test_options_of_the_upstream_stay_on_its_hop(unkind, dnproxy, over):
    """RFC 7830 section 6, RFC 7873, RFC 6891 section 6.2.6: only Extended DNS Errors cross."""
    program = dnproxy(unkind(with_opt(FULL_OPT)))
    everything = opt_record(options=[(wire.COOKIE, bytes(8)), (3, b""), (wire.PADDING, b""), (65001, b"")])
    reply = program.ask(query(opt=everything), over)
    assert reply.options == [(wire.EDE, b"\x00\x03stale answer")]


def test_extended_errors_reach_the_client(unkind, dnproxy):
    """RFC 8914 section 3: all of them, with their texts."""
    errors = [(wire.EDE, b"\x00\x06bogus"), (wire.EDE, b"\x00\x16"), (wire.EDE, b"\xc0\x00private")]
    program = dnproxy(unkind(with_opt(opt_record(options=errors), rcode=2)))
    reply = program.udp(query(opt=True))
    assert reply.rcode == wire.SERVFAIL
    assert reply.options == errors
    assert program.udp(query()).opts == []


def test_an_extended_rcode_reaches_a_client_with_opt(unkind, dnproxy):
    """RFC 6891 section 6.1.3."""
    program = dnproxy(unkind(with_opt(opt_record(high_rcode=1), rcode=7, records=())))
    assert program.udp(query(opt=True)).rcode == wire.BADCOOKIE


def test_an_extended_rcode_becomes_servfail_without_opt(unkind, dnproxy):
    """There is no room for 23 in four bits; 7 would be another error."""
    program = dnproxy(unkind(with_opt(opt_record(high_rcode=1), rcode=7, records=())))
    assert program.udp(query()).rcode == wire.SERVFAIL


def test_opt_in_the_middle_of_the_additional_section_is_replaced(unkind, dnproxy):
    """RFC 6891 section 6.1.1: it may stand anywhere there."""

    def mixed(asked):
        made = answer(asked, records=wire.usual_records(Message(asked)))
        extra = [record("A", bytes(4)), FULL_OPT, record("A", b"\1\2\3\4")]
        return made[:10] + struct.pack("!H", 3) + made[12:] + b"".join(extra)

    program = dnproxy(unkind(answering(mixed)))
    for asked in (query(), query(opt=True)):
        reply = program.udp(asked)
        assert [r.rdata for r in reply.records if r.section == 3 and r.type == 1] == [bytes(4), b"\1\2\3\4"]
        assert len(reply.opts) == (1 if Message(asked).opt else 0)


# -- towards the upstream ------------------------------------------------------------------------


def asked_upstream(polite, message):
    program, server = polite
    assert program.udp(message).rcode == 0
    return server.queries[-1]


@pytest.mark.parametrize("opt", [None, True], ids=["without", "with"])
def test_queries_leave_with_our_own_opt(polite, opt):
    """RFC 6891 section 6.2.6, RFC 7828 section 3.2.1, RFC 7871 section 7.1.2, RFC 7830 section 3."""
    seen = asked_upstream(polite, query(opt=opt))
    assert len(seen.opts) == 1
    assert seen.edns_version == 0 and seen.opt.ttl == 0
    assert seen.opt.rdclass == OURS
    assert seen.option(wire.KEEPALIVE) == b""
    assert seen.option(wire.ECS) == b"\0\1\0\0"
    assert not any(seen.option(wire.PADDING))
    assert {code for code, _ in seen.options} == {wire.KEEPALIVE, wire.ECS, wire.PADDING}


def test_queries_of_every_length_leave_in_blocks_of_128(polite):
    """RFC 8467 section 4.1; RFC 7830 section 3: one padding option, as the last."""
    program, server = polite
    for length in range(1, 64):
        name = bytes([length]) + b"x" * length + b"\x30" + b"y" * 48 + b"\0"
        program.udp(query(name))
        assert len(server.queries[-1].wire) % 128 == 0
        assert server.queries[-1].options[-1][0] == wire.PADDING
    assert {len(q.wire) for q in server.queries} == {128, 256} or {len(q.wire) for q in server.queries} == {128}


def test_the_do_bit_passes(polite):
    """RFC 4035 section 3.2.1, RFC 3225 section 3."""
    assert asked_upstream(polite, query(opt=opt_record(do=True))).dnssec_ok
    assert not asked_upstream(polite, query(opt=opt_record(do=False))).dnssec_ok
    assert not asked_upstream(polite, query()).dnssec_ok


@pytest.mark.parametrize("do", [True, False])
def test_the_do_bit_comes_back(unkind, dnproxy, do):
    """RFC 3225 section 3: copied into the response."""
    program = dnproxy(unkind(answering(lambda w: usual_answer(w, opt=opt_record(do=Message(w).dnssec_ok)))))
    assert program.udp(query(opt=opt_record(do=do))).dnssec_ok == do


def test_cd_passes_both_ways(polite):
    """RFC 4035 section 3.2.2."""
    program, server = polite
    assert program.udp(query(flags=RD | CD)).flags & CD
    assert server.queries[0].flags & CD
    assert not program.udp(query(flags=RD)).flags & CD


@pytest.mark.parametrize(
    "asked, told",
    [
        (query(), False),
        (query(opt=True), False),
        (query(flags=RD | AD), True),
        (query(opt=opt_record(do=True)), True),
    ],
    ids=["plain", "opt", "AD", "DO"],
)
def test_ad_is_told_to_who_understands_it(unkind, dnproxy, asked, told):
    """RFC 6840 section 5.7 and 5.8."""
    program = dnproxy(unkind(answering(lambda w: usual_answer(w, flags=RA | AD))))
    assert bool(program.udp(asked).flags & AD) == told


@pytest.mark.parametrize("subnet", [b"\0\1\x18\0\xc0\0\2", b"\0\2\x38\0\x20\1\x0d\xb8\0\0\0", b"\0\1\0\0", b"\0\2\0\0"])
def test_a_subnet_the_client_sets_is_kept(unkind, dnproxy, subnet):
    """RFC 7871 sections 7.1.2 and 11.1: above all a prefix of 0."""
    scoped = subnet[:3] + b"\x10" + subnet[4:]
    server = unkind(with_opt(opt_record(options=[(wire.ECS, scoped)])))
    reply = dnproxy(server).udp(query(opt=opt_record(options=[(wire.ECS, subnet)])))
    assert server.queries[0].option(wire.ECS) == subnet
    assert reply.option(wire.ECS) == scoped


def test_a_subnet_the_client_did_not_set_does_not_reach_it(unkind, dnproxy):
    program = dnproxy(unkind(with_opt(opt_record(options=[(wire.ECS, b"\0\1\0\0")]))))
    assert program.udp(query(opt=True)).option(wire.ECS) is None


def test_options_of_the_client_stay_on_its_hop(polite):
    """RFC 6891 sections 6.1.2 and 6.2.6, RFC 7873: ignored, and not told to others."""
    options = [(wire.COOKIE, bytes(8)), (3, b""), (65001, b"secret"), (wire.PADDING, bytes(20)), (14, b"\x4f\x66")]
    seen = asked_upstream(polite, query(opt=opt_record(options=options)))
    assert {code for code, _ in seen.options} == {wire.KEEPALIVE, wire.ECS, wire.PADDING}
    assert b"secret" not in seen.wire


def test_keepalive_over_udp_is_ignored(polite):
    """RFC 7828 sections 3.2.1 and 3.3.1."""
    program, _ = polite
    reply = program.udp(query(opt=opt_record(options=[(wire.KEEPALIVE, b"")])))
    assert reply.rcode == 0 and reply.options == []


# -- an upstream that does not know EDNS -----------------------------------------------------------


def refuses_opt(connection):
    while arrived := connection.query():
        if arrived.opt:
            connection.send_message(answer(arrived.wire, rcode=wire.FORMERR))
        else:
            connection.answer(arrived)


@pytest.mark.parametrize("opt", [None, True], ids=["without", "with"])
def test_an_upstream_that_refuses_opt_still_serves(unkind, dnproxy, opt):
    """RFC 6891 section 6.2.2; and the client that sent an OPT record gets one."""
    server = unkind(refuses_opt)
    program = dnproxy(server)
    reply = program.udp(query(opt=opt))
    assert reply.rcode == 0 and reply.answers
    assert len(reply.opts) == (1 if opt else 0)


def test_an_upstream_that_refuses_opt_is_asked_without(unkind, dnproxy):
    """Three questions in a row have to tell so: one client's odd question proves nothing."""
    server = unkind(refuses_opt)
    program = dnproxy(server)
    for number in range(6):
        assert program.udp(query(id=number)).rcode == 0
    assert [bool(q.opt) for q in server.queries] == [True, False] * 3 + [False] * 3


@pytest.mark.parametrize("subnet", [b"\x00\x09\x00\x00", b"\x00\x01\x21\x00" + b"1" * 5, b"\x00\x01\x18\x00\x01",
                                    b"\x00\x01\x00\x01", b"\x00\x01"],
                         ids=["family", "prefix", "short", "scope", "cut"])
def test_a_client_subnet_that_is_none_is_our_format_error(polite, subnet):
    """RFC 7871 section 6; passed on, its refusal would look like one of all EDNS."""
    program, server = polite
    assert program.udp(query(opt=opt_record(options=[(wire.ECS, subnet)]))).rcode == wire.FORMERR
    assert server.queries == []


def test_formerr_with_opt_is_an_answer(unkind, dnproxy):
    """An upstream that knows EDNS and says FORMERR means the query."""
    server = unkind(with_opt(opt_record(), rcode=wire.FORMERR, records=()))
    assert dnproxy(server).udp(query(opt=True)).rcode == wire.FORMERR
    assert len(server.queries) == 1


# -- keepalive of the upstream ---------------------------------------------------------------------


def test_keepalive_zero_of_the_upstream_closes_after_the_answer(unkind, dnproxy):
    """RFC 7828 section 3.2.2."""
    server = unkind(with_opt(opt_record(options=[(wire.KEEPALIVE, b"\0\0")])))
    program = dnproxy(server)
    for number in (1, 2):
        assert program.udp(query()).rcode == 0
        assert server.wait_connections(number)[number - 1].closed.wait(3)


def test_keepalive_of_the_upstream_is_obeyed(unkind, dnproxy):
    """RFC 7828 section 3.2.2: closed no later than told, in good order."""
    server = unkind(with_opt(opt_record(options=[(wire.KEEPALIVE, b"\0\x0a")])))
    program = dnproxy(server)
    began = time.monotonic()
    assert program.udp(query()).rcode == 0
    connection = server.connections[0]
    assert connection.closed.wait(5)
    assert 0.4 < time.monotonic() - began < 1.6
    assert connection.said_goodbye
    assert program.udp(query()).rcode == 0


# -- signed messages -------------------------------------------------------------------------------

KEYS = dns.tsigkeyring.from_text({"key.example.": "c2VjcmV0IG9mIHRoZSB0ZXN0cw=="})


def tsig_query(name="signed.example."):
    message = dns.message.make_query(name, "A", use_edns=0)
    message.use_tsig(KEYS, "key.example.")
    return message, message.to_wire()


def answers_signed(connection):
    """Verifies what arrives and signs what leaves, as a server with the key does."""
    while arrived := connection.query():
        message = dns.message.from_wire(arrived.wire, keyring=KEYS)  # raises when the MAC is wrong
        reply = dns.message.make_response(message)
        reply.use_edns(0, options=[dns.edns.GenericOption(65001, b"kept")])
        reply.use_tsig(KEYS, "key.example.")
        reply.request_mac = message.mac
        connection.signed = reply.to_wire()
        connection.send_message(connection.signed)


@pytest.mark.parametrize("over", ["udp", "tcp"])
def test_a_query_with_tsig_passes_unchanged_but_for_its_id(unkind, dnproxy, over):
    """RFC 5625 section 4.5, RFC 8945 section 5: both signatures hold."""
    server = unkind(answers_signed)
    message, octets = tsig_query()
    reply = dnproxy(server).ask(octets, over)
    assert server.queries[0].wire[2:] == octets[2:]
    assert reply.id == message.id
    assert reply.wire[2:] == server.connections[0].signed[2:]
    dns.message.from_wire(reply.wire, keyring=KEYS, request_mac=message.mac)


def test_a_query_with_sig0_passes_unchanged_but_for_its_id(unkind, dnproxy):
    """RFC 2931 section 3: a SIG record that covers type 0, as the last."""
    sig = record("SIG", b"\0\0\x08\0" + bytes(14) + b"\0" + b"signature", owner=b"\0", rdclass=255, ttl=0)
    octets = query("signed.example.")
    octets = octets[:10] + struct.pack("!H", 2) + octets[12:] + opt_record() + sig
    server = unkind()
    assert dnproxy(server).udp(octets).rcode == 0
    assert server.queries[0].wire[2:] == octets[2:]


def test_tkey_is_carried(polite):
    """RFC 5625 section 4.5."""
    program, server = polite
    tkey = record(249, b"\0" + bytes(20), owner=b"\0", rdclass=255)
    assert program.udp(query("key.example.", 249, rdclass=255, additional=[tkey])).rcode == 0
    assert server.queries[0].records[0].rdata == b"\0" + bytes(20)


# -- errors we make ourselves ------------------------------------------------------------------------


def test_our_errors_have_an_opt_when_the_query_had_one(dnproxy, unkind):
    """RFC 6891 sections 6.1.1 and 7: SERVFAIL with an Extended DNS Error, and without OPT for others."""
    server = unkind()
    server.refuse()
    program = dnproxy(server)
    with Udp(program.address) as client:
        client.send(query(id=1, opt=opt_record(do=True)))
        client.send(query(id=2))
        replies = {r.id: r for r in (client.receive(), client.receive())}
    assert [r.rcode for r in replies.values()] == [wire.SERVFAIL] * 2
    assert len(replies[1].opts) == 1 and replies[1].ede and set(replies[1].ede) <= {22, 23}
    assert replies[1].question_wire == replies[2].question_wire == question("www.example.")
    assert replies[2].records == []


def test_a_cut_answer_keeps_its_opt(unkind, dnproxy):
    """RFC 6891 section 7: also in truncated replies."""
    program = dnproxy(unkind(answering(lambda w: wire.answer_of_size(w, 5000))))
    reply = program.udp(query("big.example.", "TXT", opt=True))
    assert reply.flags & wire.TC and len(reply.opts) == 1 and reply.counts == [1, 0, 0, 1]


# -- broken OPT records of clients ---------------------------------------------------------------------


@pytest.mark.parametrize("version", [1, 2, 255])
def test_a_version_above_zero_is_badvers(polite, version):
    """RFC 6891 section 6.1.3; the version in the reply is the highest we know."""
    program, server = polite
    for over in ("udp", "tcp"):
        reply = program.ask(query(opt=opt_record(version=version)), over)
        assert reply.rcode == wire.BADVERS and reply.edns_version == 0
    assert server.queries == []


BROKEN = {
    "two": opt_record() + opt_record(),
    "owner is not the root": opt_record(owner=b"\x01a\0"),
    "option too long": opt_record(options=b"\0\x0a\0\x09\1\2\3"),
    "half an option header": opt_record(options=b"\0\x0a\0"),
}


@pytest.mark.parametrize("opt", BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_opt_is_formerr(polite, opt):
    """RFC 6891 sections 6.1.1 and 7: with one OPT record in the reply."""
    program, server = polite
    octets = query() + opt
    octets = octets[:10] + struct.pack("!H", 2 if opt is BROKEN["two"] else 1) + octets[12:]
    reply = program.udp(octets)
    assert reply.rcode == wire.FORMERR and len(reply.opts) == 1
    assert server.queries == []
