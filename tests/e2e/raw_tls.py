# SPDX-License-Identifier: MIT
"""TLS 1.2 servers that say what no TLS library would: any certificate list, any message, any record.

Connection is one of unkind_dot's whose TLS is spelled out here (RFC 5246; RFC 8422 and 5288 or 7905: ECDHE
with AES-128-GCM or ChaCha20-Poly1305), and only as much of it as one client needs: no resumption, no tickets.

    server = unkind(connect=raw_tls.server(chain, key, edit={"certificate": lambda message: b""}))

relay() is a handler that stands between the program and another server and changes what passes.
"""

import contextlib
import functools
import hashlib
import hmac
import os
import select
import socket
import struct
import threading

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, x25519
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

import unkind_dot

CHANGE_CIPHER, ALERT, HANDSHAKE, APPLICATION_DATA = 20, 21, 22, 23
TLS12 = 0x0303
ECDSA_AES, RSA_AES, RSA_CHACHA, ECDSA_CHACHA = 0xC02B, 0xC02F, 0xCCA8, 0xCCA9
X25519, P256 = 29, 23
SHA256, RSA_SIGNATURE, ECDSA_SIGNATURE = 4, 1, 3
RENEGOTIATION_INFO, ALPN = 0xFF01, 16


class Ended(ConnectionError):
    """The peer ended the handshake, or what it sent ended it for us."""


def vector(octets, width):
    """Octets with their length in front."""
    return len(octets).to_bytes(width, "big") + octets


def handshake_message(kind, body):
    return bytes([kind]) + vector(body, 3)


def record(kind, payload, version=TLS12):
    return struct.pack("!BHH", kind, version, len(payload)) + payload


def records(kind, payload, size=16384):
    """As many records as the payload needs, or more when they are to be small."""
    return b"".join(record(kind, payload[at : at + size]) for at in range(0, len(payload), size))


def prf(secret, label, seed, length):
    """RFC 5246 section 5, with SHA-256."""

    def mac(octets):
        return hmac.new(secret, octets, hashlib.sha256).digest()

    seed, out = label + seed, b""
    step = seed
    while len(out) < length:
        step = mac(step)
        out += mac(step + seed)
    return out[:length]


class Seal:
    """What protects the records of one direction (RFC 5288, RFC 7905)."""

    def __init__(self, chacha, key, iv):
        self.chacha, self.iv, self.sequence = chacha, iv, 0
        self.aead = (ChaCha20Poly1305 if chacha else AESGCM)(key)

    def _take(self, kind, length, explicit):
        """The nonce and what else is authenticated."""
        number = self.sequence.to_bytes(8, "big")
        self.sequence += 1
        if self.chacha:
            nonce = bytes(a ^ b for a, b in zip(self.iv, bytes(4) + number))
        else:
            nonce = self.iv + (number if explicit is None else explicit)
        return nonce, number + struct.pack("!BHH", kind, TLS12, length)

    def close(self, kind, plain):
        explicit = b"" if self.chacha else self.sequence.to_bytes(8, "big")
        nonce, extra = self._take(kind, len(plain), None)
        return explicit + self.aead.encrypt(nonce, plain, extra)

    def open(self, kind, payload):
        explicit, payload = (b"", payload) if self.chacha else (payload[:8], payload[8:])
        nonce, extra = self._take(kind, len(payload) - 16, explicit)
        return self.aead.decrypt(nonce, payload, extra)


class ClientHello:
    def __init__(self, body):
        self.version = struct.unpack_from("!H", body)[0]
        self.random = body[2:34]
        self.session_id = body[35 : 35 + body[34]]
        at = 35 + body[34]
        length = struct.unpack_from("!H", body, at)[0]
        self.suites = struct.unpack_from(f"!{length // 2}H", body, at + 2)
        at += 2 + length
        at += 1 + body[at] + 2
        self.extensions = {}
        while at < len(body):
            kind, length = struct.unpack_from("!HH", body, at)
            self.extensions[kind] = body[at + 4 : at + 4 + length]
            at += 4 + length


class Connection(unkind_dot.Connection):
    """chain    certificates as DER, in the order in which they are sent
    key      signs the key exchange; it need not be that of the first certificate
    suite    None: the first that the client offers and the key can do
    edit     name of a message: what becomes of it before it is sent and hashed; b"" leaves it out
    on_wire  likewise, but the change is made on the way: our Finished does not know of it
    wrap     makes records of a message: wrap(kind, octets) -> octets
    stall    name of the message behind whose first half nothing comes any more
    careful  False: the client's Finished may say what it likes

    The messages are server_hello, certificate, key_exchange, hello_done, change_cipher and finished;
    request_certificate=True sends one more, certificate_request.  session_id: what the session is called; it
    is not resumed.
    """

    def __init__(self, *args, chain=(), key=None, suite=None, edit=None, on_wire=None, wrap=records, stall=None,
                 careful=True, request_certificate=False, session_id=b""):
        super().__init__(*args)
        self.chain, self.key, self.suite = chain, key, suite
        self.edit, self.on_wire, self.wrap, self.stall = edit or {}, on_wire or {}, wrap, stall
        self.careful, self.request_certificate, self.session_id = careful, request_certificate, session_id
        self.alerts = []  # the (level, description) of those that came
        self.renegotiations = 0  # HelloRequests that were answered, one way or the other
        self.shaken = False
        self._sealing = self._opening = None
        self._octets, self._messages = bytearray(), bytearray()
        self._transcript = hashlib.sha256()
        self._flight = bytearray()

    # -- records -----------------------------------------------------------------------------------

    def receive_record(self, timeout=unkind_dot.PATIENCE):
        """The next record, opened, as (type, octets).  Raises Ended where there is none."""
        while len(self._octets) < 5 or len(self._octets) < 5 + int.from_bytes(self._octets[3:5], "big"):
            data = self.receive_raw(timeout)
            if not data:
                raise Ended("the peer has closed")
            self._octets += data
        kind, _, length = struct.unpack_from("!BHH", self._octets)
        payload = bytes(self._octets[5 : 5 + length])
        del self._octets[: 5 + length]
        if self._opening:
            try:
                payload = self._opening.open(kind, payload)
            except InvalidTag:
                raise Ended("a record does not open") from None
        if kind == ALERT:
            self.alerts.append(tuple(payload))
        return kind, payload

    def sealed(self, kind, octets):
        """A record under the keys of now."""
        return record(kind, self._sealing.close(kind, octets) if self._sealing else octets)

    def send_record(self, kind, octets):
        self.sock.sendall(self.sealed(kind, octets))

    # -- the handshake -----------------------------------------------------------------------------

    def _take_message(self):
        """The next handshake message, hashed, as (type, body)."""
        while len(self._messages) < 4 or len(self._messages) < 4 + int.from_bytes(self._messages[1:4], "big"):
            kind, payload = self.receive_record()
            if kind != HANDSHAKE:
                raise Ended(f"a record of type {kind} in the handshake: {payload.hex()}")
            self._messages += payload
        end = 4 + int.from_bytes(self._messages[1:4], "big")
        message = bytes(self._messages[:end])
        del self._messages[:end]
        self._before = self._transcript.copy()
        self._transcript.update(message)
        return message[0], message[4:]

    def _put(self, name, message, kind=HANDSHAKE):
        """Adds a message to the flight, changed as the test wants it."""
        message = self.edit.get(name, bytes)(message)
        if kind == HANDSHAKE:
            self._transcript.update(message)
        message = self.on_wire.get(name, bytes)(message)
        if self._sealing:
            octets = record(kind, self._sealing.close(kind, message))
        else:
            octets = self.wrap(kind, message)
        if self.stall == name:
            self._flight += octets[: len(octets) // 2]
            self.fly()
            while self.receive_raw():
                pass
            raise Ended("the peer has closed")
        self._flight += octets

    def fly(self):
        """Sends the flight that is complete."""
        self.sock.sendall(self._flight)
        self._flight.clear()

    def _server_hello(self, hello):
        extensions = b""
        if 0xFF in hello.suites or RENEGOTIATION_INFO in hello.extensions:
            extensions += struct.pack("!H", RENEGOTIATION_INFO) + vector(vector(b"", 1), 2)
        if ALPN in hello.extensions:
            extensions += struct.pack("!H", ALPN) + vector(vector(vector(b"dot", 1), 2), 2)
        body = struct.pack("!H", TLS12) + self._random + vector(self.session_id, 1)
        body += struct.pack("!HB", self.suite, 0)
        return handshake_message(2, body + vector(extensions, 2))

    def _signature(self, octets):
        if isinstance(self.key, ec.EllipticCurvePrivateKey):
            return bytes([SHA256, ECDSA_SIGNATURE]), self.key.sign(octets, ec.ECDSA(hashes.SHA256()))
        return bytes([SHA256, RSA_SIGNATURE]), self.key.sign(octets, padding.PKCS1v15(), hashes.SHA256())

    def _key_exchange(self, hello):
        """RFC 8422 section 5.4; and the function that makes the shared secret."""
        groups = hello.extensions.get(10, b"")[2:]
        if struct.pack("!H", X25519) in [groups[n : n + 2] for n in range(0, len(groups), 2)]:
            private = x25519.X25519PrivateKey.generate()
            point = private.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
            group = X25519
        else:
            private = ec.generate_private_key(ec.SECP256R1())
            point = private.public_key().public_bytes(
                serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)
            group = P256

        def agree(theirs):
            if group == X25519:
                return private.exchange(x25519.X25519PublicKey.from_public_bytes(theirs))
            return private.exchange(ec.ECDH(), ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), theirs))

        parameters = struct.pack("!BH", 3, group) + vector(point, 1)
        return self._signed(hello, parameters), agree

    def _signed(self, hello, parameters):
        """The message that offers them."""
        algorithm, signature = self._signature(hello.random + self._random + parameters)
        return handshake_message(12, parameters + algorithm + vector(signature, 2))

    def _derive(self, shared, hello):
        self._master = prf(shared, b"master secret", hello.random + self._random, 48)
        chacha = self.suite in (RSA_CHACHA, ECDSA_CHACHA)
        key, iv = (32, 12) if chacha else (16, 4)
        block = prf(self._master, b"key expansion", self._random + hello.random, 2 * (key + iv))
        theirs, ours = block[:key], block[key : 2 * key]
        their_iv, our_iv = block[2 * key : 2 * key + iv], block[2 * key + iv :]
        return Seal(chacha, theirs, their_iv), Seal(chacha, ours, our_iv)

    def _verify_data(self, label, transcript):
        return prf(self._master, label, transcript.digest(), 12)

    def _first_flight(self, hello):
        elliptic = isinstance(self.key, ec.EllipticCurvePrivateKey)
        able = (ECDSA_AES, ECDSA_CHACHA) if elliptic else (RSA_AES, RSA_CHACHA)
        self.suite = self.suite or next(s for s in hello.suites if s in able)
        self._random = os.urandom(32)
        self._put("server_hello", self._server_hello(hello))
        certificates = b"".join(vector(c, 3) for c in self.chain)
        self._put("certificate", handshake_message(11, vector(certificates, 3)))
        message, agree = self._key_exchange(hello)
        self._put("key_exchange", message)
        if self.request_certificate:
            wanted = vector(b"\x40\x01", 1) + vector(b"\x04\x03\x04\x01", 2) + vector(b"", 2)
            self._put("certificate_request", handshake_message(13, wanted))
        self._put("hello_done", handshake_message(14, b""))
        self.fly()
        return agree

    def handshake(self, finish=True):
        _, body = self._take_message()
        hello = ClientHello(body)
        agree = self._first_flight(hello)
        kind, body = self._take_message()
        if kind == 11:  # the client's certificate: none
            kind, body = self._take_message()
        assert kind == 16, kind
        opening, sealing = self._derive(agree(body[1:]), hello)
        if self.receive_record() != (CHANGE_CIPHER, b"\x01"):
            raise Ended("no ChangeCipherSpec")
        self._opening = opening
        kind, theirs = self._take_message()
        if self.careful and theirs != self._verify_data(b"client finished", self._before):
            self.send_record(ALERT, b"\x02\x33")
            raise Ended("the client has seen another handshake")
        self._put("change_cipher", b"\x01", CHANGE_CIPHER)
        self._sealing = sealing
        self._put("finished", handshake_message(20, self._verify_data(b"server finished", self._transcript)))
        self.fly()
        self.shaken = True
        self.raw_at_verification = len(self.raw)

    # -- what unkind_dot's handlers use ------------------------------------------------------------

    def receive(self, timeout=unkind_dot.PATIENCE):
        while True:
            try:
                kind, octets = self.receive_record(timeout)
            except Ended:
                return b""
            if kind == APPLICATION_DATA and octets:
                return octets
            if kind == ALERT and octets == b"\x01\x64":  # no_renegotiation
                self.renegotiations += 1
            elif kind == ALERT:
                self.said_goodbye = octets[1:] == b"\0"
                self._note_end()
                return b""
            elif kind == HANDSHAKE:  # a ClientHello
                self.renegotiations += 1

    def send(self, data):
        self.send_record(APPLICATION_DATA, data)

    def close_notify(self):
        self.send_record(ALERT, b"\x01\x00")

    def ask_to_renegotiate(self):
        self.send_record(HANDSHAKE, handshake_message(0, b""))


def server(chain, key, **options):
    """For unkind(connect=...): connections that present chain (DER) and sign with key."""
    return functools.partial(Connection, chain=chain, key=key, **options)


def of_leaf(leaf, kind=Connection, **options):
    """Likewise, with what a certs.Leaf holds, and perhaps another kind of Connection."""
    return functools.partial(kind, chain=leaf.chain, key=leaf.private_key, **options)


# -- in the middle --------------------------------------------------------------------------------------


def _split(buffer):
    """Takes the whole records out of buffer."""
    while len(buffer) >= 5 and len(buffer) >= 5 + int.from_bytes(buffer[3:5], "big"):
        end = 5 + int.from_bytes(buffer[3:5], "big")
        whole = bytes(buffer[:end])
        del buffer[:end]
        yield whole


def relay(target, to_server=bytes, to_client=bytes):
    """A handler (raw=True) that passes all records to target and back, changed on the way."""

    def handler(connection):
        with socket.create_connection((target.host, target.port)) as onward:
            done = threading.Event()

            def back():
                buffer = bytearray()
                with contextlib.suppress(OSError):
                    while data := onward.recv(65536):
                        buffer += data
                        for whole in _split(buffer):
                            connection.sock.sendall(to_client(whole))
                done.set()

            thread = threading.Thread(target=back, daemon=True)
            thread.start()
            buffer = bytearray()
            while not done.is_set():
                if not select.select([connection.sock], [], [], 0.05)[0]:
                    continue
                data = connection.receive_raw()
                if not data:
                    break
                buffer += data
                for whole in _split(buffer):
                    onward.sendall(to_server(whole))
            with contextlib.suppress(OSError):
                onward.shutdown(socket.SHUT_WR)
            thread.join(2)

    return handler

