# SPDX-License-Identifier: MIT
"""Upstreams that are slow, wrong, broken or gone (RFC 7858, RFC 7766), and what clients notice of it."""

import contextlib
import random
import socket
import ssl
import struct
import threading
import time

import pytest

import unkind_dot
import wire
from client import Udp
from patience import SLOW
from trials import start_with_datagrams
from unkind_dot import APPLICATION_DATA, tls_records
from wire import Message, answer, answer_of_size, opt_record, query, question, record, usual_answer

SECRET = "a-name-that-nobody-must-read.example."


@contextlib.contextmanager
def within(seconds, at_least=0.0):
    """What happens inside takes at_least..seconds."""
    began = time.monotonic()
    yield
    took = time.monotonic() - began
    assert at_least <= took <= seconds * SLOW, f"took {took:.2f} s"


def assert_servfail(reply):
    assert reply.rcode == wire.SERVFAIL
    assert reply.ede and set(reply.ede) <= {22, 23}


ASK = query(SECRET, opt=True)


# -- what the connection is like --------------------------------------------------------------------


@pytest.mark.cross
@pytest.mark.valgrind
def test_the_connection_is_tls_1_2_with_name_protocol_and_a_good_cipher(polite):
    """RFC 8310 section 9, RFC 9325 sections 3.7, 4.1 and 4.2, RFC 7858 section 3.1."""
    program, server = polite
    program.udp(query())
    connection = server.connections[0]
    assert connection.server_name == server.name
    assert connection.protocol == "dot"
    assert connection.version == "TLSv1.2"
    assert connection.cipher.startswith("ECDHE-")
    assert "GCM" in connection.cipher or "CHACHA20" in connection.cipher


def client_hello(raw):
    """Versions, cipher suites, compression methods and extension types of a ClientHello."""
    hello = memoryview(raw)[5:]
    version = struct.unpack_from("!H", hello, 4)[0]
    at = 38 + 1 + hello[38]
    length = struct.unpack_from("!H", hello, at)[0]
    suites = struct.unpack_from(f"!{length // 2}H", hello, at + 2)
    at += 2 + length
    compression = bytes(hello[at + 1 : at + 1 + hello[at]])
    at += 1 + hello[at] + 2
    extensions = []
    while at < 4 + int.from_bytes(hello[1:4], "big"):
        kind, length = struct.unpack_from("!HH", hello, at)
        extensions.append(kind)
        at += 4 + length
    return version, suites, compression, extensions


# ECDHE with AES-GCM or ChaCha20-Poly1305, and the value that says "secure renegotiation".
GOOD_SUITES = {0xC02B, 0xC02C, 0xC02F, 0xC030, 0xCCA8, 0xCCA9, 0x00FF}


def test_only_good_cipher_suites_are_offered(polite):
    """RFC 9325 section 4.1 and 4.2, RFC 8310 section 9 (no compression), RFC 8996."""
    program, server = polite
    program.udp(query())
    version, suites, compression, extensions = client_hello(server.connections[0].raw)
    assert version == 0x0303
    assert set(suites) <= GOOD_SUITES
    assert compression == b"\0"
    assert 0 in extensions and 16 in extensions
    assert 1 not in extensions, "max_fragment_length breaks servers that ignore it"


def test_an_upstream_without_alpn_serves(unkind, dnproxy, leaf):
    """ALPN is offered, not demanded."""
    context = unkind_dot.server_context(leaf)
    context.set_alpn_protocols([])
    assert dnproxy(unkind(context=context)).udp(query()).rcode == 0


@pytest.mark.parametrize("cipher", ["AES128-GCM-SHA256", "AES256-GCM-SHA384", "CHACHA20-POLY1305"])
def test_each_good_cipher_works(unkind, dnproxy, leaf, cipher):
    context = unkind_dot.server_context(leaf, ciphers=f"ECDHE-ECDSA-{cipher}")
    server = unkind(context=context)
    program = dnproxy(server)
    assert program.udp(query()).rcode == 0
    with program.tcp() as client:
        assert client.ask(query()).rcode == 0
    assert server.connections[0].cipher == f"ECDHE-ECDSA-{cipher}"


def test_nothing_is_opened_before_the_first_query(polite):
    program, server = polite
    time.sleep(0.1)
    assert server.connections == []
    program.udp(query())
    assert len(server.connections) == 1


def test_one_connection_carries_many_queries_at_once(unkind, dnproxy):
    """RFC 7766 sections 6.2.1, 6.2.1.1 and 6.2.2, RFC 7858 section 3.3: pipelined, each ID once."""

    def hoards(connection):
        hoard = [connection.query() for _ in range(300)]
        assert len({q.id for q in hoard}) == 300
        for arrived in hoard:
            connection.answer(arrived)
        connection.serve()

    server = unkind(hoards)
    program = dnproxy(server)
    with Udp(program.address) as client:
        for number in range(300):
            client.send(query(f"n{number}.example.", id=number))
        assert {client.receive().id for _ in range(300)} == set(range(300))
    assert len(server.connections) == 1


def application_records(connection):
    return [length for kind, _, length in tls_records(connection.raw) if kind == APPLICATION_DATA]


@pytest.mark.cross
@pytest.mark.valgrind
def test_each_query_is_one_record_with_its_length(polite):
    """RFC 7858 section 3.3: one write; all records look alike, so the length tells nothing."""
    program, server = polite
    with Udp(program.address) as client:
        for number in range(100):
            client.send(query("x" * (1 + number % 40) + f".n{number}.example."))
        for _ in range(100):
            client.receive()
    lengths = application_records(server.connections[0])
    assert len(lengths) == 100
    assert len(set(lengths)) == 1


def test_a_lone_query_does_not_wait_for_an_acknowledgement(unkind, dnproxy):
    """TCP_NODELAY: a query leaves at once though the one before it is not answered."""
    arrivals = []

    def notes(connection):
        first, second = connection.query(), connection.query()
        arrivals.extend([first.time, second.time])
        connection.answer(first)
        connection.answer(second)
        connection.serve()

    program = dnproxy(unkind(notes))
    with Udp(program.address) as client:
        client.send(query("one.example."))
        time.sleep(0.1)
        client.send(query("two.example."))
        sent = time.monotonic()
        client.receive()
        client.receive()
    assert arrivals[1] - sent < 0.03 * SLOW


# -- how answers come ---------------------------------------------------------------------------------


def split_octets(connection):
    """Each octet in a record of its own."""
    while arrived := connection.query():
        for octet in struct.pack("!H", len(usual_answer(arrived.wire))) + usual_answer(arrived.wire):
            connection.send(bytes([octet]))


def split_segments(connection):
    """Whole records, but each octet of them in a segment of its own."""
    connection.hold()
    while arrived := connection.query():
        connection.answer(arrived)
        for octet in connection._outgoing.read():
            connection.sock.send(bytes([octet]))


def split_length(connection):
    """The length alone, a pause, the message."""
    while arrived := connection.query():
        message = usual_answer(arrived.wire)
        octets = struct.pack("!H", len(message)) + message
        for piece in (octets[:1], octets[1:2], octets[2:14], octets[14:]):
            connection.send(piece)
            time.sleep(0.01)


@pytest.mark.parametrize("handler", [split_octets, split_segments, split_length])
def test_an_answer_may_be_split_anywhere(unkind, dnproxy, handler):
    """RFC 7766 section 8."""
    program = dnproxy(unkind(handler))
    for number in range(3):
        assert program.udp(query(id=number)).answers


def test_a_handshake_may_come_octet_by_octet(unkind, dnproxy):
    def dribbles(connection):
        def octet_by_octet():
            for octet in connection._outgoing.read():
                connection.sock.send(bytes([octet]))

        connection.flush = octet_by_octet
        connection.handshake()
        connection.serve()

    assert dnproxy(unkind(dribbles, raw=True)).udp(query()).rcode == 0


def ask_many(program, names):
    with Udp(program.address) as client:
        for number, name in enumerate(names):
            client.send(query(name, id=number))
        return {r.id: r for r in (client.receive() for _ in names)}


@pytest.mark.parametrize("count", [2, 40])
@pytest.mark.valgrind
def test_many_answers_may_share_one_record(unkind, dnproxy, count):
    """All of them are taken out at once, not when the next octets come."""

    def joins(connection):
        arrived = [connection.query() for _ in range(count)]
        answers = [usual_answer(q.wire) for q in arrived]
        connection.send(b"".join(struct.pack("!H", len(a)) + a for a in answers))
        connection.idle()

    replies = ask_many(dnproxy(unkind(joins)), [f"n{n}.example." for n in range(count)])
    assert all(replies[n].name == f"n{n}.example." for n in range(count))


def test_a_record_may_end_inside_an_answer(unkind, dnproxy):
    def straddles(connection):
        arrived = [connection.query() for _ in range(20)]
        octets = b"".join(struct.pack("!H", len(a)) + a for a in (usual_answer(q.wire) for q in arrived))
        for at in range(0, len(octets), 97):
            connection.send(octets[at : at + 97])
        connection.idle()

    assert len(ask_many(dnproxy(unkind(straddles)), [f"n{n}.example." for n in range(20)])) == 20


def test_records_of_16384_octets_are_taken(unkind, dnproxy):
    """RFC 5246 section 6.2.1; four and a bit of them make the largest answer."""

    def whole_records(connection):
        while arrived := connection.query():
            made = answer_of_size(arrived.wire, 65535)
            octets = struct.pack("!H", len(made)) + made
            for at in range(0, len(octets), 16384):
                connection.send(octets[at : at + 16384])

    program = dnproxy(unkind(whole_records))
    with program.tcp() as client:
        for number in range(3):
            client.send(query(f"huge{number}.example.", "TXT", id=number))
        assert {len(client.receive().wire) for _ in range(3)} == {65535}


def test_answers_may_come_in_any_order(unkind, dnproxy):
    """RFC 7766 section 7, RFC 7858 section 3.3."""

    def backwards(connection):
        for arrived in reversed([connection.query() for _ in range(30)]):
            connection.answer(arrived)
        connection.idle()

    replies = ask_many(dnproxy(unkind(backwards)), [f"n{n}.example." for n in range(30)])
    assert all(replies[n].name == f"n{n}.example." for n in range(30))


def test_a_slow_answer_holds_up_nobody(unkind, dnproxy):
    def slow_first(connection):
        slow = connection.query()
        connection.answer(connection.query())
        time.sleep(1.0)
        connection.answer(slow)
        connection.serve()

    program = dnproxy(unkind(slow_first))
    with Udp(program.address) as slow:
        slow.send(query("slow.example."))
        time.sleep(0.05)
        with within(0.5):
            assert program.udp(query("fast.example.")).rcode == 0
        assert slow.receive().rcode == 0


# -- answers that are none ------------------------------------------------------------------------------


WRONG = {
    "wrong id": lambda q: usual_answer(q.wire, id=q.id ^ 0x0101),
    "wrong name": lambda q: usual_answer(q.wire, asked=question("other.example.")),
    "wrong type": lambda q: usual_answer(q.wire, asked=question("www.example.", "AAAA")),
    "wrong class": lambda q: usual_answer(q.wire, asked=question("www.example.", rdclass=3)),
    "a longer name": lambda q: usual_answer(q.wire, asked=question("www.example.example.")),
    "not a response": lambda q: usual_answer(q.wire, qr=0),
    "another opcode": lambda q: usual_answer(q.wire, flags=0x2000),
    "two questions": lambda q: q.wire[:2] + struct.pack("!5H", 0x8180, 2, 0, 0, 0) + q.question_wire * 2,
    "a lone header": lambda q: q.wire[:2] + struct.pack("!5H", 0x8180, 1, 1, 0, 0),
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG.keys())
@pytest.mark.valgrind
def test_a_wrong_answer_is_ignored_and_the_right_one_taken(unkind, dnproxy, wrong):
    """RFC 5452 section 9.1, RFC 7858 section 3.3: ID, name, class and type."""

    def lies_first(connection):
        while arrived := connection.query():
            connection.send_message(wrong(arrived))
            connection.answer(arrived)

    program = dnproxy(unkind(lies_first))
    for number in range(3):
        reply = program.udp(query(id=number))
        assert (reply.id, reply.rcode, reply.name) == (number, 0, "www.example.")
        assert len(reply.answers) == 1


@pytest.mark.parametrize("length", [0, 1, 11])
def test_an_answer_shorter_than_a_header_is_survived(unkind, dnproxy, length):
    def too_short(connection):
        arrived = connection.query()
        connection.send_message(bytes(length))
        with contextlib.suppress(OSError, ssl.SSLError):
            connection.answer(arrived)
            connection.serve()

    program = dnproxy(unkind(too_short))
    assert program.udp(query()).rcode in (0, wire.SERVFAIL)
    assert program.udp(query()).rcode in (0, wire.SERVFAIL)


def test_a_doubled_answer_is_delivered_once(unkind, dnproxy):
    def doubles(connection):
        while arrived := connection.query():
            connection.answer(arrived)
            connection.answer(arrived)

    program = dnproxy(unkind(doubles))
    with Udp(program.address) as client, program.tcp() as stream:
        for number in range(20):
            assert client.ask(query(id=number)).id == number
            assert stream.ask(query(id=number)).id == number
        assert client.silent()


def test_an_answer_without_a_question_is_matched_by_its_id(unkind, dnproxy):
    """RFC 7858 section 3.3: the question is compared if there is one; errors often have none."""

    def forgets(connection):
        while arrived := connection.query():
            connection.send_message(answer(arrived.wire, rcode=wire.REFUSED, asked=b"", opt=opt_record()))

    program = dnproxy(unkind(forgets))
    with within(1):
        assert program.udp(query(id=5)).rcode == wire.REFUSED


MALFORMED = {
    "record cut": lambda q: usual_answer(q.wire)[:-1],
    "counts too high": lambda q: usual_answer(q.wire)[:6] + b"\xff\xff" + usual_answer(q.wire)[8:],
    "two OPT": lambda q: answer(q.wire, authority=[opt_record()], opt=opt_record()),
    "option too long": lambda q: answer(q.wire, opt=opt_record(options=b"\0\x0f\0\xff\0\0")),
    "name that loops": lambda q: answer(q.wire, records=[record("CNAME", b"\xc0\x0c", owner=b"\xc0\xff")]),
}


def test_malformed_answers_harm_nobody_else(unkind, dnproxy):
    """Whatever becomes of them (passed on or SERVFAIL), it is over in time, and others are served."""
    makers = list(MALFORMED.values())

    def breaks(connection):
        while arrived := connection.query():
            if arrived.name.startswith("bad"):
                connection.send_message(makers[int(arrived.name[3])](arrived))
            else:
                connection.answer(arrived)

    program = dnproxy(unkind(breaks))
    with Udp(program.address) as client, program.tcp() as stream, within(4.0):
        for number in range(len(makers)):
            for asking in (client, stream):
                asking.send(query(f"bad{number}.example.", opt=True, id=number))
                assert program.udp(query("good.example.")).rcode == 0
        for asking in (client, stream):
            replies = [asking.receive_octets() for _ in makers]
            assert {r[:2] for r in replies} == {bytes([0, n]) for n in range(len(makers))}
    assert program.ask(query("good.example."), "tcp").rcode == 0


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.valgrind
def test_garbage_in_answers_is_survived(unkind, dnproxy, seed):
    """Good answers with octets changed, and noise; what reaches a client is a message of its own."""

    def babbles(connection):
        dice = random.Random(seed)
        extra = opt_record(options=[(wire.EDE, b"\0\x03stale"), (wire.KEEPALIVE, b"\0\x64"), (wire.PADDING, bytes(50))])
        while arrived := connection.query():
            if arrived.name.startswith("end"):
                connection.answer(arrived)
                continue
            records = [record("CNAME", b"\x01a\xc0\x0c"), record("A", b"\1\2\3\4", owner=b"\x01a\xc0\x0c")]
            octets = bytearray(answer(arrived.wire, records=records, authority=[record("NS", b"\0")], opt=extra))
            for _ in range(dice.randrange(1, 8)):
                octets[dice.randrange(2, len(octets))] = dice.randrange(256)
            if dice.random() < 0.2:
                octets = arrived.wire[:2] + dice.randbytes(dice.randrange(10, 400))
            connection.send_message(bytes(octets))

    program = dnproxy(unkind(babbles))
    with Udp(program.address) as client:
        for number in range(400):
            client.send(query("x.example.", id=number, opt=number % 2 == 1))
        client.sock.settimeout(0.3 * SLOW)
        with contextlib.suppress(TimeoutError):
            while True:
                octets = client.sock.recv(65535)
                assert octets[2] & 0x80 and struct.unpack_from("!H", octets)[0] < 400
    assert program.udp(query("end.example.")).rcode == 0


def test_an_answer_that_is_too_late_reaches_nobody(unkind, dnproxy):
    def late(connection):
        held = []
        while arrived := connection.query():
            if arrived.name.startswith("late"):
                held.append(arrived)
                continue
            for old in held if arrived.name.startswith("next") else []:
                connection.answer(old)
            connection.answer(arrived)

    program = dnproxy(unkind(late))
    with Udp(program.address) as client:
        client.send(query("late.example.", id=1, opt=True))
        time.sleep(2)
        assert program.udp(query("meanwhile.example.")).rcode == 0
        assert_servfail(client.receive())
        assert program.udp(query("next.example.", id=1)).name == "next.example."
        assert client.silent()


# -- connections that end ----------------------------------------------------------------------------------


def goodbye_with_answer(connection):
    """The last answer and close_notify come in one segment, the FIN right behind."""
    connection.hold()
    arrived = connection.query()
    if arrived:
        connection.answer(arrived)
        connection.close_notify()
        connection.flush()


def fin_after_answer(connection):
    arrived = connection.query()
    if arrived:
        connection.answer(arrived)
        connection.fin()


@pytest.mark.parametrize("handler", [goodbye_with_answer, fin_after_answer])
@pytest.mark.valgrind
def test_an_upstream_that_closes_after_each_answer_serves(unkind, dnproxy, handler):
    """RFC 7858 section 3.4, RFC 7766 section 6.2.4: the answer in front of the close counts."""
    program = dnproxy(unkind(handler))
    for number in range(6):
        with within(1.0):
            assert program.udp(query(id=number)).rcode == 0


def goodbye(connection):
    connection.close_notify()


ENDS = {"close_notify": goodbye, "FIN": unkind_dot.Connection.fin, "RST": unkind_dot.Connection.reset}


def ending(end, before=None):
    """The first connection ends this way after `before`; later ones are polite."""

    def handler(connection):
        if connection.number == 0:
            if before:
                before(connection)
            end(connection)
        else:
            connection.serve()

    return handler


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS.keys())
def test_an_idle_connection_may_be_closed_by_the_upstream(unkind, dnproxy, end):
    """RFC 7858 section 3.4: the next query opens a new one, and the client notices only the handshake."""
    server = unkind(ending(end, before=lambda c: c.answer(c.query())))
    program = dnproxy(server)
    assert program.udp(query()).rcode == 0
    server.connections[0].closed.wait(3)
    time.sleep(0.05)
    with within(0.7):
        assert program.udp(query()).rcode == 0
    assert len(server.connections) == 2


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS.keys())
@pytest.mark.valgrind
def test_queries_in_flight_are_asked_again_at_once(unkind, dnproxy, end):
    """RFC 7766 section 6.2.4, RFC 7858 section 3.4."""
    server = unkind(ending(end, before=lambda c: [c.query() for _ in range(10)]))
    program = dnproxy(server)
    with within(1.0):
        replies = ask_many(program, [f"n{n}.example." for n in range(10)])
    assert all(r.rcode == 0 for r in replies.values())
    assert sorted(q.name for q in server.queries) == sorted(2 * [f"n{n}.example." for n in range(10)])
    assert len(server.connections) == 2


def half_an_answer(connection):
    message = usual_answer(connection.query().wire)
    connection.send((struct.pack("!H", len(message)) + message)[:20])


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS.keys())
def test_half_an_answer_is_no_answer(unkind, dnproxy, end):
    """RFC 5246 section 7.2.1: asked again, and the half does not stain the next connection."""
    program = dnproxy(unkind(ending(end, before=half_an_answer)))
    with within(1.0):
        assert program.udp(query()).answers


def test_a_broken_record_ends_the_connection_not_the_query(unkind, dnproxy):
    """What was changed on the way is not DNS; the query goes out again."""

    def breaks_the_first(connection):
        arrived = connection.query()
        if connection.number == 0:
            connection.sock.sendall(b"\x17\x03\x03\x00\x40" + bytes(64))
            connection.idle()
        else:
            connection.answer(arrived)
            connection.serve()

    server = unkind(breaks_the_first)
    with within(1.5):
        assert dnproxy(server).udp(query()).answers
    assert len(server.connections) == 2


def test_a_query_is_asked_again_only_once(unkind, dnproxy):
    def always_ends(connection):
        connection.query()
        connection.fin()

    server = unkind(always_ends)
    program = dnproxy(server)
    with within(4.0):
        assert_servfail(program.udp(ASK))
    assert len(server.queries) == 2


def test_a_query_is_padded_and_new_when_asked_again(unkind, dnproxy):
    """The second upstream connection must not be able to link it by its ID."""
    server = unkind(ending(unkind_dot.Connection.fin, before=unkind_dot.Connection.query))
    dnproxy(server).udp(query(opt=True))
    first, second = server.queries
    assert len(first.wire) == len(second.wire) == 128
    assert first.wire[2:] == second.wire[2:]


def test_an_idle_connection_is_closed_by_us_in_good_order(polite):
    """RFC 7766 section 6.2.3, RFC 5246 section 7.2.1: after nine seconds, before servers do."""
    program, server = polite
    began = time.monotonic()
    program.udp(query())
    connection = server.connections[0]
    assert connection.closed.wait(12)
    assert 8 < time.monotonic() - began < 10.5
    assert connection.said_goodbye
    assert program.udp(query()).rcode == 0


# -- upstreams that do not answer ----------------------------------------------------------------------------


def never_answers(connection):
    connection.idle()


def stalls(connection):
    """Takes octets and says nothing, not even TLS."""
    with contextlib.suppress(OSError):
        while connection.receive_raw():
            pass


def talks_garbage(connection):
    connection.receive_raw()
    connection.sock.sendall(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")


def hangs_up(connection):
    connection.receive_raw()


def full_backlog(server):
    """Connections that nobody accepts, until the kernel takes no more of them."""
    server.fillers = []
    for _ in range(4):
        sock = socket.socket()
        sock.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            sock.connect((server.host, server.port))
        server.fillers.append(sock)
    time.sleep(0.05)


TROUBLE = {
    "refused": (dict(), unkind_dot.UnkindDot.refuse, "(?i:connection refused)"),
    "no TCP": (dict(accepting=False, backlog=0), full_backlog, "no TCP connection within 1500 ms"),
    "no handshake": (dict(handler=stalls, raw=True), None, "no TLS handshake within 2000 ms"),
    "never accepted": (dict(accepting=False), None, "no TLS handshake within 2000 ms"),
    "garbage": (dict(handler=talks_garbage, raw=True), None, "not a TLS server"),
    "hangs up": (dict(handler=hangs_up, raw=True), None, "."),
    "silent": (dict(handler=never_answers), None, "."),
}


class Troubled:
    """A server in trouble, a program that asks it alone, and one that may ask another as well."""

    def __init__(self, stage, options, prepare):
        self.server, self.datagrams = start_with_datagrams(stage, lambda stage: stage.unkind(**options))
        self.second = stage.unkind()
        if prepare:
            prepare(self.server)
        self.program = stage.dnproxy(self.server)
        self.helped = stage.dnproxy(self.server, self.second)
        self.replies = {}
        asks = [(self.program, "udp"), (self.program, "tcp"), (self.helped, "udp"), (self.helped, "tcp")]
        self.threads = [threading.Thread(target=self.ask, args=pair) for pair in asks]
        for thread in self.threads:
            thread.start()

    def ask(self, program, over):
        began = time.monotonic()
        reply = program.ask(ASK, over)
        self.replies[program, over] = reply, time.monotonic() - began

    def close(self):
        self.datagrams.close()
        for sock in getattr(self.server, "fillers", []):
            sock.close()


@pytest.mark.parametrize("kind", TROUBLE)
class TestTrouble:
    """All kinds of trouble at once, for each takes its seconds."""

    @pytest.fixture(scope="class")
    def all_trouble(self, class_stage):
        cases = {kind: Troubled(class_stage, *TROUBLE[kind][:2]) for kind in TROUBLE}
        for case in cases.values():
            for thread in case.threads:
                thread.join(10 * SLOW)
        yield cases
        for case in cases.values():
            case.close()

    @pytest.fixture
    def trouble(self, all_trouble, kind):
        return all_trouble[kind]

    @pytest.mark.parametrize("over", ["udp", "tcp"])
    def test_it_becomes_servfail_within_four_seconds(self, trouble, over):
        """RFC 5625 section 6.3, RFC 8914 section 4: and never silence."""
        reply, took = trouble.replies[trouble.program, over]
        assert_servfail(reply)
        assert took < 4.0 * SLOW

    def test_the_log_says_why(self, trouble, kind):
        server = trouble.server
        trouble.program.wait_log(rf"dot {server.host}@{server.port} \({server.name}\): .*{TROUBLE[kind][2]}")

    @pytest.mark.parametrize("over", ["udp", "tcp"])
    def test_the_next_upstream_answers_in_good_time(self, trouble, over):
        reply, took = trouble.replies[trouble.helped, over]
        assert reply.rcode == 0
        assert took < 2.5 * SLOW
        assert trouble.second.queries

    def test_nothing_leaves_in_clear(self, trouble):
        """RFC 7858 section 3.1, RFC 8310 section 5: not at first, not after it failed, not over UDP."""
        for connection in trouble.server.connections:
            assert_only_tls(connection.raw)
        with pytest.raises(BlockingIOError):
            trouble.datagrams.recv(1)


def assert_only_tls(raw, application_data=None):
    """Every octet lies in a TLS record, and the name in the query is nowhere to be read."""
    kinds = [kind for kind, _, _ in tls_records(raw)]
    label = SECRET.split(".")[0].encode()
    assert label not in bytes(raw)
    if application_data is not None:
        assert (APPLICATION_DATA in kinds) == application_data


def test_all_octets_that_leave_are_tls(polite):
    """RFC 7858 section 3.1: the handshake first; the first DNS octet only once it is complete."""
    program, server = polite
    for over in ("udp", "tcp"):
        assert program.ask(ASK, over).rcode == 0
    connection = server.connections[0]
    assert_only_tls(connection.raw, application_data=True)
    kinds = [kind for kind, _, _ in tls_records(connection.raw)]
    assert kinds[0] == unkind_dot.HANDSHAKE
    before = [kind for kind, _, _ in tls_records(connection.raw[: connection.raw_at_verification])]
    assert APPLICATION_DATA not in before


def test_no_octet_of_dns_is_sent_before_the_server_has_finished(unkind, dnproxy):
    """RFC 8310 section 5: no false start; the server's Finished is waited for."""

    def keeps_its_finished(connection):
        connection.handshake(finish=False)
        with contextlib.suppress(TimeoutError):
            connection.receive_raw(0.5)
        assert APPLICATION_DATA not in [kind for kind, _, _ in tls_records(connection.raw)]
        connection.flush()
        connection.serve()

    assert dnproxy(unkind(keeps_its_finished, raw=True)).udp(ASK).rcode == 0


def test_a_failing_upstream_is_left_alone_for_a_while(unkind, dnproxy):
    """RFC 7858 section 3.1: it is remembered, and the rests grow."""
    server = unkind(hangs_up, raw=True)
    second = unkind()
    program = dnproxy(server, second)
    until = time.monotonic() + 1.5
    while time.monotonic() < until:
        assert program.udp(query()).rcode == 0
    assert 1 <= len(server.connections) <= 5


def test_an_upstream_that_comes_back_is_used(unkind, dnproxy):
    server = unkind()
    port = server.port
    server.stop()
    program = dnproxy(server)
    assert_servfail(program.udp(ASK))
    back = unkind(port=port)
    with within(4.0):
        while program.udp(query()).rcode:
            time.sleep(0.05)
    assert back.queries


def test_a_query_waits_for_an_upstream_that_comes_back_in_time(unkind, dnproxy):
    """There is only one, it rests, and the client still has patience: better late than SERVFAIL."""
    server = unkind()
    server.stop()
    program = dnproxy(server)
    with Udp(program.address) as client:
        client.send(query())
        time.sleep(0.15)
        unkind(port=server.port)
        assert client.receive().rcode == 0


def test_a_silent_upstream_is_helped_out_by_the_next(unkind, dnproxy):
    """A connection that stands but says nothing: the next upstream is asked as well."""
    first, second = unkind(never_answers), unkind()
    program = dnproxy(first, second)
    with within(2.5):
        assert program.udp(query()).rcode == 0
    assert first.queries and second.queries


def test_all_upstreams_in_trouble_still_give_an_answer_in_time(unkind, dnproxy):
    servers = [unkind(stalls, raw=True), unkind(never_answers), unkind(talks_garbage, raw=True)]
    program = dnproxy(*servers)
    with within(4.0):
        assert_servfail(program.udp(ASK))


def test_queries_that_come_during_the_handshake_wait_for_it(unkind, dnproxy):
    def slow_to_shake(connection):
        time.sleep(0.3)
        connection.handshake()
        connection.serve()

    server = unkind(slow_to_shake, raw=True)
    replies = ask_many(dnproxy(server), [f"n{n}.example." for n in range(200)])
    assert len(replies) == 200 and all(r.rcode == 0 for r in replies.values())
    assert len(server.connections) == 1


def test_an_upstream_that_stops_reading_stops_nobody(unkind, dnproxy):
    """Its socket fills up; clients get SERVFAIL in time or the next upstream's answer; memory stays."""
    go_on = threading.Event()

    def does_not_read(connection):
        if first := connection.query():
            connection.answer(first)
            go_on.wait(15)

    first, second = unkind(does_not_read), unkind()
    program = dnproxy(first, second)
    assert program.udp(query()).rcode == 0
    before = program.resident()
    filler = [record(65280, bytes(3800))]
    with Udp(program.address) as client:
        for number in range(400):
            client.send(query("fill.example.", id=number, additional=filler))
            if number % 20 == 0:
                time.sleep(0.005)
        with within(2.5):
            assert program.udp(query("other.example.")).rcode in (0, wire.SERVFAIL)
    assert program.resident() - before < 4 << 20
    go_on.set()


def test_more_queries_than_there_is_room_for_get_servfail_at_once(unkind, dnproxy):
    """A full table answers; it does not forget."""
    program = dnproxy(unkind(never_answers), dnproxy__max_queries=64)
    with Udp(program.address) as client:
        for number in range(80):
            client.send(query(id=number, opt=True))
        with within(1.0):
            early = [client.receive() for _ in range(16)]
        assert {r.rcode for r in early} == {wire.SERVFAIL}
        late = [client.receive() for _ in range(64)]
    assert {r.id for r in early + late} == set(range(80))


def test_clients_that_break_off_give_their_room_back(unkind, dnproxy):
    """Their queries are on their way upstream, but after a RST nobody waits for them any more."""

    def deaf_to_slow(connection):
        while arrived := connection.query():
            if not arrived.name.startswith("slow"):
                connection.answer(arrived)

    server = unkind(deaf_to_slow)
    program = dnproxy(server, dnproxy__max_queries=64)
    for _ in range(3):
        with program.tcp() as client:
            before = len(server.queries)
            for number in range(64):
                client.send(query(f"slow{number}.example.", id=number))
            server.wait_queries(before + 64)
            client.reset()
        time.sleep(0.05)
        with within(1.0):
            assert program.udp(query("fast.example.")).rcode == 0


def test_two_connections_in_a_row_share_a_session(unkind, dnproxy):
    """RFC 7858 section 3.4, RFC 8310 section 9: resumed by session ID."""
    resumed = []

    def notes(connection):
        resumed.append(connection._tls.session_reused)
        connection.answer(connection.query())
        connection.close_notify()

    program = dnproxy(unkind(notes))
    assert program.udp(query()).rcode == 0
    assert program.udp(query()).rcode == 0
    assert resumed == [False, True]


def test_ipv6_upstreams_serve(unkind, dnproxy):
    assert dnproxy(unkind(host="::1")).udp(query()).rcode == 0


def test_the_answer_of_one_upstream_is_not_taken_from_another(unkind, dnproxy):
    """RFC 5452 section 9.1: the peer counts too."""
    seen = threading.Event()
    lie = []

    def tells(connection):
        lie.append(connection.query())
        seen.set()
        connection.idle()

    def lies(connection):
        arrived = connection.query()
        seen.wait(5)
        forged = usual_answer(lie[0].wire, records=[record("A", b"\6\6\6\6")])
        if lie[0].id != arrived.id:
            connection.send_message(forged)
        connection.answer(arrived)
        connection.serve()

    program = dnproxy(unkind(tells), unkind(lies))
    reply = program.udp(query())
    assert [r.rdata for r in Message(reply.wire).answers] == [bytes([192, 0, 2, 1])]


# -- several questions, several upstreams ----------------------------------------------------------


def test_an_upstream_that_wants_no_idle_connections_answers_slow_questions_too(unkind, dnproxy):
    """RFC 7828 section 3.2.2: a timeout of 0 asks to close when all is answered, not before."""
    at_once = opt_record(options=[(wire.KEEPALIVE, b"\0\0")])

    def handler(connection):
        while asking := connection.query():
            if asking.name.startswith("slow"):
                threading.Timer(0.1, connection.answer, [asking], {"opt": at_once}).start()
            else:
                connection.answer(asking, opt=at_once)

    server = unkind(handler)
    program = dnproxy(server)
    clients = [Udp(program.address) for _ in range(5)]
    clients[0].send(query("slow.example."))
    for client in clients[1:]:
        time.sleep(0.01)
        client.send(query("fast.example."))
    assert [client.receive().rcode for client in clients] == [0] * 5
    assert len(server.connections) == 1


def test_a_spare_that_once_failed_still_helps_out(unkind, dnproxy):
    """The hedge goes to an upstream whose last try failed: it is asked once its connection stands."""
    first_is, spare_is = ["down"], ["down"]

    def first(connection):
        if first_is[0] == "down":
            connection.reset()
            return
        connection.handshake()
        while asking := connection.query():
            if first_is[0] == "well":
                connection.answer(asking)

    def spare(connection):
        if spare_is[0] == "down":
            connection.reset()
            return
        time.sleep(0.05)
        connection.handshake()
        connection.serve()

    one, two = unkind(first, raw=True), unkind(spare, raw=True)
    program = dnproxy(one, two)
    with Udp(program.address) as client:
        client.send(query("boot.example."))
        program.wait_log(rf"@{two.port} .*resting")
        first_is[0] = "well"
        assert client.receive().rcode == 0
    spare_is[0], first_is[0] = "well", "mute"
    began = time.monotonic()
    assert program.udp(query("late.example.")).rcode == 0
    assert time.monotonic() - began < 2.5 * SLOW
    assert "late.example." in [asked.name for asked in two.queries]
