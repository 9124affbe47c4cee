# SPDX-License-Identifier: MIT
"""Servers whose certificate is good and whose TLS is not, or whose TLS somebody changes on the way.

RFC 5246, RFC 5746, RFC 8310 section 5, RFC 9325.  Whose certificate is bad: see test_certificates.py.
"""

import contextlib
import ssl
import struct
import time

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

import certs
import raw_tls
import unkind_dot
from raw_tls import ALERT, CHANGE_CIPHER, HANDSHAKE, TLS12, handshake_message, record
from test_upstream import ASK, assert_only_tls, assert_servfail, within
from trials import Trials
from wire import query, usual_answer

NAME = "dns.test"
TLS11, TLS12_ONLY = ssl.TLSVersion.TLSv1_1, ssl.TLSVersion.TLSv1_2
LATE = "no TLS handshake within 2000 ms"
OUT_OF_ORDER = "server does not keep to the order of a TLS handshake"
CHANGED = "handshake was changed on the way"
ANY = "."
STRANGE = "breaks the rules of TLS|handshake|suite"  # rare enough to have no words of their own


# -- how a server is wrong -----------------------------------------------------------------------------


def raw(kind=raw_tls.Connection, **options):
    """A server of raw TLS with a good certificate."""
    return lambda stage: stage.unkind(connect=raw_tls.of_leaf(stage.leaf, kind, **options))


def openssl(key="p256", **options):
    def start(stage):
        leaf = stage.ca.leaf(NAME, key=key)
        return stage.unkind(context=unkind_dot.server_context(leaf, **options))

    return start


def scripted(handler):
    """A server without TLS of any kind."""
    return lambda stage: stage.unkind(handler, raw=True)


def without(name):
    return raw(edit={name: lambda message: b""}, careful=False)


def put(at, octets):
    """Writes octets over those of a message from at on."""
    return lambda message: message[:at] + octets + message[at + len(octets) :]


def flipped(octets, at=-1):
    out = bytearray(octets)
    out[at] ^= 1
    return bytes(out)


# A ServerHello without a session ID: 4 octets of header, version, random, length 0, suite, compression.
RANDOM, SESSION, SUITE, COMPRESSION = 6, 38, 39, 41


def extended(extensions):
    """A ServerHello with these extensions and no others."""

    def change(message):
        return handshake_message(2, message[4 : COMPRESSION + 1] + raw_tls.vector(extensions, 2))

    return change


def long_session_id(message):
    return handshake_message(2, message[4:SESSION] + raw_tls.vector(bytes(33), 1) + message[SESSION + 1 :])


class SignsWithSha1(raw_tls.Connection):
    def _signature(self, octets):
        return b"\x02\x03", self.key.sign(octets, ec.ECDSA(hashes.SHA1()))


class OffersPoint(raw_tls.Connection):
    """Its half of the key exchange is this point, and the secret is no secret."""

    def _key_exchange(self, hello):
        parameters = struct.pack("!BH", 3, self.group) + raw_tls.vector(self.point, 1)
        return self._signed(hello, parameters), lambda theirs: bytes(32)


class OffTheCurve(OffersPoint):
    group, point = raw_tls.P256, b"\x04" + bytes(63) + b"\1"


class Zero(OffersPoint):
    group, point = raw_tls.X25519, bytes(32)


class Drips(raw_tls.Connection):
    """Never silent for long, and never done."""

    def fly(self):
        for octet in self._flight:
            self.sock.sendall(bytes([octet]))
            time.sleep(0.05)


class Replies:
    """Handlers that answer a ClientHello with octets."""

    def __init__(self, octets):
        self.octets = octets

    def __call__(self, connection):
        connection.receive_raw()
        connection.sock.sendall(self.octets)
        while connection.receive_raw():
            pass


def alert(description):
    return scripted(Replies(record(ALERT, bytes([2, description]))))


def of_another_key(stage):
    """It has seen a good certificate, but not its key."""
    return stage.unkind(connect=raw_tls.server(stage.leaf.chain, certs.make_key()))


def of_other_records(kind, size=100, version=TLS12):
    """Between ServerHello and certificate comes a record that does not belong there."""

    def wrap(its_kind, octets):
        stray = record(kind, bytes(size), version) if octets[0] == 11 else b""
        return stray + raw_tls.records(its_kind, octets)

    return raw(wrap=wrap)


# -- somebody in the middle ----------------------------------------------------------------------------


def edit_client_hello(change):
    """For relay(to_server=...): changes the body of a ClientHello; its length stays."""

    def edit(whole):
        # What is encrypted may begin with the same octet, but hardly with its own length behind it.
        if whole[0] == HANDSHAKE and whole[5] == 1 and int.from_bytes(whole[6:9], "big") == len(whole) - 9:
            body = change(bytearray(whole[9:]))
            assert len(body) == len(whole) - 9
            return whole[:9] + bytes(body)
        return whole

    return edit


def with_worse_suites(body):
    """The last suite offered for this kind of key in the place of all."""
    at = 35 + body[34]
    length = struct.unpack_from("!H", body, at)[0]
    suites = [bytes(body[n : n + 2]) for n in range(at + 2, at + 2 + length, 2)]
    worst = [s for s in suites if s in (b"\xc0\x2b", b"\xc0\x2c", b"\xcc\xa9")][-1]
    body[at + 2 : at + 2 + length] = b"".join(s if s == b"\0\xff" else worst for s in suites)
    return body


def with_cbc_suites(body):
    at = 35 + body[34]
    length = struct.unpack_from("!H", body, at)[0]
    body[at + 2 : at + 2 + length] = b"\xc0\x09" * (length // 2)
    return body


def in_tls_1_1(body):
    body[0:2] = b"\x03\x02"
    return body


def with_another_random(body):
    body[33] ^= 1
    return body


def with_changed_seal(whole):
    """The record of the Finished: what is behind its header begins with the number 0 of the record."""
    return flipped(whole) if whole[0] == HANDSHAKE and whole[5] == 0 else whole


def middle(server, **changes):
    """Starts a server and somebody who changes what passes between it and the program."""
    return lambda stage: stage.unkind(raw_tls.relay(server(stage), **changes), raw=True)


LOOSE = dict(careful=False)
SECLEVEL_0 = "ALL:@SECLEVEL=0"

BAD = {
    # Versions, suites, extensions.
    "TLS 1.3 only": (openssl(minimum=ssl.TLSVersion.TLSv1_3), "server requires TLS 1.3"),
    "TLS 1.1 only": (openssl(minimum=ssl.TLSVersion.TLSv1, maximum=TLS11, ciphers=SECLEVEL_0),
                     "does not speak TLS 1.2|no common cipher"),
    "answers in TLS 1.1": (raw(edit={"server_hello": put(4, b"\x03\x02")}), "server does not speak TLS 1.2"),
    "answers in TLS 1.0": (raw(edit={"server_hello": put(4, b"\x03\x01")}), "server does not speak TLS 1.2"),
    "answers in SSL 3.0": (raw(edit={"server_hello": put(4, b"\x03\x00")}), "server does not speak TLS 1.2"),
    "answers in TLS 1.3": (raw(edit={"server_hello": put(4, b"\x03\x04")}), "server does not speak TLS 1.2"),
    "CBC only": (openssl(ciphers="ECDHE-ECDSA-AES256-SHA384@SECLEVEL=0", maximum=TLS12_ONLY),
                 "no common cipher suite"),
    "no forward secrecy": (openssl("rsa2048", ciphers="AES128-GCM-SHA256@SECLEVEL=0", maximum=TLS12_ONLY),
                           "no common cipher suite"),
    "DHE only": (openssl("rsa2048", ciphers="DHE-RSA-AES128-GCM-SHA256@SECLEVEL=0", maximum=TLS12_ONLY),
                 "no common cipher suite"),
    "a suite without encryption": (raw(edit={"server_hello": put(SUITE, b"\x00\x00")}), STRANGE),
    "a CBC suite": (raw(edit={"server_hello": put(SUITE, b"\xc0\x09")}), STRANGE),
    "a suite for RSA keys": (raw(edit={"server_hello": put(SUITE, b"\xc0\x2f")}), "key usage does not allow"),
    "compression": (raw(edit={"server_hello": put(COMPRESSION, b"\1")}), STRANGE),
    "renegotiation_info of something": (raw(edit={"server_hello": extended(b"\xff\x01\0\x02\x01x")}), STRANGE),
    "an extension not asked for": (raw(edit={"server_hello": extended(b"\x12\x34\0\0")}), STRANGE),
    "session ID too long": (raw(edit={"server_hello": long_session_id}), STRANGE),
    # Who does not know the key.
    "another key": (of_another_key, CHANGED),
    "key exchange signed with SHA-1": (raw(SignsWithSha1), STRANGE),
    "point on no curve": (raw(OffTheCurve), STRANGE),
    "broken signature of the key exchange": (raw(edit={"key_exchange": flipped}), CHANGED),
    "wrong Finished": (raw(edit={"finished": flipped}), CHANGED),
    "short Finished": (raw(edit={"finished": lambda message: handshake_message(20, message[4:-1])}), STRANGE),
    # Messages out of place.
    "no certificate": (without("certificate"), OUT_OF_ORDER),
    "no key exchange": (without("key_exchange"), OUT_OF_ORDER),
    "no ChangeCipherSpec": (without("change_cipher"), OUT_OF_ORDER),
    "no Finished": (raw(edit={"finished": lambda message: b"\x17"}), LATE),
    "two ServerHellos": (raw(edit={"server_hello": lambda message: message * 2}), OUT_OF_ORDER),
    "two certificate messages": (raw(edit={"certificate": lambda message: message * 2}), OUT_OF_ORDER),
    "early ChangeCipherSpec": (of_other_records(CHANGE_CIPHER, 1), OUT_OF_ORDER),
    "DNS in the handshake": (of_other_records(23), OUT_OF_ORDER),
    "certificate message that lies about its length": (raw(edit={"certificate": put(6, b"\1")}), STRANGE),
    # Records.
    "oversized record": (of_other_records(HANDSHAKE, 16384 + 2049), "server sent an oversized record"),
    "record of an unknown type": (of_other_records(99), OUT_OF_ORDER),
    "record of another version": (of_other_records(HANDSHAKE, 4, 0x0302), "not a TLS server"),
    "record of no version": (of_other_records(HANDSHAKE, 4, 0x2020), "does not speak TLS 1.2|not a TLS server"),
    "SSH": (scripted(Replies(b"SSH-2.0-OpenSSH_9.2p1\r\n")), "not a TLS server"),
    "alert: handshake failure": (alert(40), "no common cipher suite"),
    "alert: protocol version": (alert(70), "server requires TLS 1.3"),
    "alert: unknown name": (alert(112), "TLS alert 112"),
    # Waiting.
    **{f"stalls in {name}": (raw(stall=name), LATE) for name in
       ("server_hello", "certificate", "key_exchange", "hello_done", "change_cipher", "finished")},
    "drips": (raw(Drips), LATE),
    "hangs up after hello": (scripted(lambda connection: connection.receive_raw()), "closes the connection"),
    # Changed on the way.
    "middle: worse suites": (
        middle(openssl(maximum=TLS12_ONLY), to_server=edit_client_hello(with_worse_suites)), "TLS alert 51|" + CHANGED),
    "middle: worse suites, server does not look": (
        middle(raw(suite=raw_tls.ECDSA_CHACHA, **LOOSE), to_server=edit_client_hello(with_worse_suites)), CHANGED),
    "middle: CBC suites": (
        middle(openssl(ciphers=SECLEVEL_0, maximum=TLS12_ONLY), to_server=edit_client_hello(with_cbc_suites)), STRANGE),
    "middle: TLS 1.1": (
        middle(openssl(minimum=TLS11, maximum=TLS12_ONLY, ciphers=SECLEVEL_0), to_server=edit_client_hello(in_tls_1_1)),
        "no common cipher suite|does not speak TLS 1.2"),
    "middle: another random": (
        middle(raw(**LOOSE), to_server=edit_client_hello(with_another_random)), CHANGED),
    "middle: another suite": (
        raw(on_wire={"server_hello": put(SUITE, b"\xcc\xa9")}, suite=raw_tls.ECDSA_AES), "closes the connection"),
    "middle: another random of the server": (raw(on_wire={"server_hello": put(RANDOM, b"12345")}), CHANGED),
    "middle: no extensions": (raw(on_wire={"server_hello": extended(b"")}, **LOOSE), CHANGED),
    "middle: another point": (raw(on_wire={"key_exchange": lambda m: flipped(m, 12)}, **LOOSE), CHANGED),
    # RFC 8422 section 5.11; RFC 7301 section 3.2 and RFC 9325 section 3.8.
    "point of zeros": (raw(Zero), ANY),
    "another protocol": (raw(edit={"server_hello": extended(b"\0\x10\0\x05\0\x03\x02h2")}), ANY),
    "middle: a changed Finished": (middle(raw(), to_client=with_changed_seal), "record that was changed on the way"),
}


@pytest.fixture(scope="module")
def trials(new_stage, tmp_path_factory):
    return Trials(BAD, new_stage, tmp_path_factory)


@pytest.mark.filterwarnings("ignore:.*TLSv1.*:DeprecationWarning")
@pytest.mark.parametrize("kind", BAD)
def test_a_bad_handshake_gets_no_octet_of_dns(trials, kind):
    trials[kind].assert_refused()


# -- the same means, used well: what is refused above is refused for its own reason ----------------------


class OctetByOctet(raw_tls.Connection):
    def fly(self):
        for octet in self._flight:
            self.sock.sendall(bytes([octet]))
        self._flight.clear()


def untouched(stage):
    return stage.unkind(raw_tls.relay(raw()(stage)), raw=True)


GOOD = {
    "raw TLS": raw(),
    "AES": raw(suite=raw_tls.ECDSA_AES),
    "ChaCha20": raw(suite=raw_tls.ECDSA_CHACHA),
    "no extensions": raw(edit={"server_hello": extended(b"")}),
    "a certificate is asked for": raw(request_certificate=True),
    "octet by octet": raw(OctetByOctet),
    "each octet in a record": raw(wrap=lambda kind, octets: raw_tls.records(kind, octets, 1)),
    "relay": untouched,
}


@pytest.mark.parametrize("start", GOOD.values(), ids=GOOD.keys())
def test_a_good_handshake_of_odd_form_is_taken(stage, start):
    program = stage.dnproxy(start(stage))
    for number in range(3):
        assert program.udp(query(id=number)).answers


@pytest.mark.parametrize("start", [of_another_key, BAD["wrong Finished"][0], BAD["stalls in certificate"][0]])
def test_a_bad_handshake_makes_the_next_upstream_answer(stage, start):
    first, second = start(stage), stage.unkind()
    program = stage.dnproxy(first, second)
    with within(2.5):
        assert program.udp(query()).rcode == 0
    assert first.queries == [] and len(second.queries) == 1


# -- with what was learnt ------------------------------------------------------------------------------


class Pretends(raw_tls.Connection):
    """Resumes whatever session it is offered, without the secret."""

    def handshake(self, finish=True):
        _, body = self._take_message()
        hello = raw_tls.ClientHello(body)
        assert hello.session_id, "there is nothing to resume"
        self.session_id, self.suite, self._random = hello.session_id, raw_tls.ECDSA_AES, bytes(32)
        self._put("server_hello", self._server_hello(hello))
        self._put("change_cipher", b"\x01", CHANGE_CIPHER)
        self._sealing = raw_tls.Seal(False, bytes(16), bytes(4))
        self._put("finished", handshake_message(20, bytes(12)))
        self.fly()
        self.receive_record()
        self.fin()


def knows_another_key(*args, chain, key):
    return raw_tls.Connection(*args, chain=chain, key=certs.make_key())


@pytest.mark.parametrize("impostor", [Pretends, knows_another_key])
def test_what_was_learnt_of_a_server_does_not_excuse_another(stage, impostor):
    """A session ID and a certificate can be seen by everybody: RFC 5246 section F.1.4."""

    def connect(server, sock, number):
        given = dict(chain=stage.leaf.chain, key=stage.leaf.private_key)
        if number == 0:
            return raw_tls.Connection(server, sock, number, session_id=bytes(range(32)), **given)
        # An impostor that is no longer offered the session has to think of something else.
        kind = impostor if number == 1 else knows_another_key
        return kind(server, sock, number, **given)

    def answers_once(connection):
        connection.answer(connection.query())
        connection.close_notify()

    server = stage.unkind(answers_once, connect=connect)
    program = stage.dnproxy(server)
    assert program.udp(query()).answers
    server.connections[0].closed.wait(3)
    assert_servfail(program.udp(ASK))
    assert len(server.connections) > 1 and len(server.queries) == 1
    for connection in server.connections[1:]:
        assert_only_tls(connection.raw, application_data=False)
    program.wait_log("changed on the way")


# -- after the handshake ----------------------------------------------------------------------------------


def raw_unkind(stage, handler, **options):
    return stage.unkind(handler, connect=raw_tls.of_leaf(stage.leaf, **options))


def test_a_wish_to_renegotiate_is_declined(stage):
    """RFC 5246 section 7.2.2, RFC 9325 section 3.5: the query in flight and later ones are answered."""

    def wishes(connection):
        while arrived := connection.query():
            connection.ask_to_renegotiate()
            connection.answer(arrived)

    server = raw_unkind(stage, wishes)
    program = stage.dnproxy(server)
    for number in range(5):
        with within(1.0):
            assert program.udp(query(id=number)).answers
    first, = server.connections
    assert first.renegotiations >= 4  # perhaps the last is still on its way
    assert len(server.queries) == 5


def test_a_server_that_insists_on_renegotiation_is_asked_again(stage):
    """It closes when declined, as OpenSSL does: the query goes out on a new connection."""

    def insists(connection):
        first = connection.query()
        if connection.number > 0:
            connection.answer(first)
            connection.serve()
            return
        connection.answer(first)
        connection.query()
        connection.ask_to_renegotiate()
        assert connection.receive_record() == (ALERT, b"\x01\x64")
        connection.send_record(ALERT, b"\x02\x28")
        connection.fin()

    server = raw_unkind(stage, insists)
    program = stage.dnproxy(server)
    assert program.udp(query(id=1)).answers
    with within(1.5):
        assert program.udp(query(id=2)).answers
    assert len(server.connections) == 2


def test_a_flood_of_wishes_to_renegotiate_makes_the_next_upstream_answer(stage):
    def floods(connection):
        while arrived := connection.query():
            connection.sock.sendall(b"".join(connection.sealed(HANDSHAKE, bytes(4)) for _ in range(200)))
            connection.answer(arrived)

    program = stage.dnproxy(raw_unkind(stage, floods), stage.unkind())
    for number in range(5):
        with within(2.5):
            assert program.udp(query(id=number)).answers


def answered(connection, arrived):
    """The record that answers a query, under the keys."""
    message = usual_answer(arrived.wire)
    return connection.sealed(23, struct.pack("!H", len(message)) + message)


def in_another_type(connection, arrived):
    """The seal covers the type: a ciphertext of DNS that calls itself a handshake."""
    return b"\x16" + answered(connection, arrived)[1:]


def in_another_version(connection, arrived):
    octets = answered(connection, arrived)
    return octets[:1] + b"\x03\x02" + octets[3:]


def in_clear(connection, arrived):
    message = usual_answer(arrived.wire)
    return record(23, struct.pack("!H", len(message)) + message)


def out_of_sequence(connection, arrived):
    answered(connection, arrived)
    return answered(connection, arrived)


ON_THE_WAY, SIZE = "record that was changed on the way", "server sent .* record"
FAULTS = {
    "oversized record": (lambda c, q: record(23, bytes(16384 + 2049)), "server sent an oversized record"),
    "record of 65,535 octets": (lambda c, q: record(23, bytes(65535)), "server sent an oversized record"),
    "record too large inside": (lambda c, q: c.sealed(23, bytes(16385)), "server sent an oversized record"),
    "record shorter than its seal": (lambda c, q: record(23, bytes(5)), SIZE),
    "unknown type": (lambda c, q: record(99, bytes(50)), ON_THE_WAY),
    "changed at the end": (lambda c, q: flipped(answered(c, q)), ON_THE_WAY),
    "changed at the start": (lambda c, q: flipped(answered(c, q), 20), ON_THE_WAY),
    "changed type": (in_another_type, ON_THE_WAY),
    "changed version": (in_another_version, "what is no TLS record"),
    "in clear": (in_clear, ON_THE_WAY),
    "a record left out": (out_of_sequence, ON_THE_WAY),
    "new handshake": (lambda c, q: c.sealed(HANDSHAKE, handshake_message(2, bytes(70))), OUT_OF_ORDER),
    "new keys": (lambda c, q: c.sealed(CHANGE_CIPHER, b"\1"), OUT_OF_ORDER),
    "fatal alert": (lambda c, q: c.sealed(ALERT, b"\x02\x50"), "TLS alert 80"),
    "alert in clear": (lambda c, q: record(ALERT, b"\x02\x50"), SIZE),
}


@pytest.mark.parametrize("fault, reason", FAULTS.values(), ids=FAULTS.keys())
def test_a_fault_in_an_open_connection_ends_it_and_not_the_query(stage, fault, reason):
    """RFC 5246 sections 6.2 and 7.2.2: it is asked again on a new connection, and nothing of the fault
    reaches the client."""

    def faulty(connection):
        if connection.number > 0:
            connection.serve()
            return
        connection.answer(connection.query())
        arrived = connection.query()
        connection.sock.sendall(fault(connection, arrived))
        with contextlib.suppress(ConnectionError):
            assert connection.query() is None

    server = raw_unkind(stage, faulty)
    program = stage.dnproxy(server)
    assert program.udp(query("one.example.", id=1)).answers
    with within(1.5):
        reply = program.udp(query("two.example.", id=2))
    assert reply.answers and reply.name == "two.example."
    assert len(server.connections) == 2
    assert [asked.name for asked in server.queries] == ["one.example.", "two.example.", "two.example."]
    program.wait_log(rf"dot {server.host}@{server.port} .*(?:{reason}).*resting")
