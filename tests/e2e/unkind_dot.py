# SPDX-License-Identifier: MIT
"""A DNS-over-TLS server that does what a test's handler tells it, however unkind.

A handler is a function that is called, in a thread of its own, for each connection:

    def answers_backwards(connection):
        first, second = connection.query(), connection.query()
        connection.answer(second)
        connection.answer(first)
        connection.serve()              # from here on, answer politely

TLS runs between two buffers in memory, so a test decides which octets share a segment, and sees every
octet that came in, below TLS and above it.  Nothing is lost: what the peer sent before and after the
handshake is in Connection.raw, what it asked in UnkindDot.queries.
"""

import contextlib
import select
import socket
import ssl
import struct
import threading
import time

import wire

PATIENCE = 20.0  # seconds a handler waits for the peer before it gives up


def server_context(leaf, minimum=ssl.TLSVersion.TLSv1_2, maximum=ssl.TLSVersion.MAXIMUM_SUPPORTED,
                   ciphers="DEFAULT@SECLEVEL=0"):
    """A server's TLS settings.  Level 0, since these tests also serve what nobody should accept."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers(ciphers)
    context.minimum_version, context.maximum_version = minimum, maximum
    context.load_cert_chain(leaf.cert, leaf.key)
    context.set_alpn_protocols(["dot"])
    return context


class Query(wire.Message):
    """A query as it arrived: a Message, and when and on which connection."""

    def __init__(self, octets, connection):
        super().__init__(octets)
        self.connection = connection
        self.time = time.monotonic()


class Connection:
    """One TCP connection of the peer, and the TLS session in it once handshake() is done."""

    def __init__(self, server, sock, number):
        self.server, self.sock, self.number = server, sock, number
        self.raw = bytearray()  # every octet that came in, below TLS
        self.raw_at_verification = None  # how many of them when the handshake was over
        self.server_name = None  # the SNI the peer sent
        self.closed = threading.Event()  # the peer has closed, or the handler has
        self.said_goodbye = False  # the peer sent close_notify first
        self.opened = time.monotonic()
        self.ended = None
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = None
        self._plain = bytearray()
        self._held = False
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    # -- octets ------------------------------------------------------------------------------------

    def receive_raw(self, timeout=PATIENCE):
        """Whatever comes next below TLS, recorded; b"" at the end."""
        ready, _, _ = select.select([self.sock], [], [], timeout)
        if not ready:
            raise TimeoutError("the peer is silent")
        try:
            data = self.sock.recv(65536)
        except ConnectionError:
            data = b""
        self.raw += data
        if not data:
            self._note_end()
        return data

    def _note_end(self):
        if self.ended is None:
            self.ended = time.monotonic()
        self.closed.set()

    def _feed(self, timeout):
        data = self.receive_raw(timeout)
        if data:
            self._incoming.write(data)
        else:
            self._incoming.write_eof()

    def flush(self):
        """Sends what TLS has made so far in one segment (up to the size of one)."""
        data = self._outgoing.read()
        if data:
            self.sock.sendall(data)

    def hold(self):
        """From now on nothing leaves before flush(): several records go into one segment."""
        self._held = True

    # -- TLS ---------------------------------------------------------------------------------------

    def _note_name(self, _object, name, _context):
        self.server_name = name

    def handshake(self, finish=True):
        """finish=False keeps our last words of it back until flush()."""
        context = self.server.context
        context.sni_callback = self._note_name
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        while True:
            try:
                self._tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                self.flush()
                self._feed(PATIENCE)
            except ssl.SSLError:
                self.flush()  # the alert that says why
                raise
        if finish:
            self.flush()
        self.raw_at_verification = len(self.raw)

    @property
    def version(self):
        return self._tls.version()

    @property
    def cipher(self):
        return self._tls.cipher()[0]

    @property
    def protocol(self):
        return self._tls.selected_alpn_protocol()

    def receive(self, timeout=PATIENCE):
        """Plain octets; b"" when the peer has closed, with or without close_notify."""
        while True:
            try:
                data = self._tls.read(65536)
                if not data:
                    self.said_goodbye = True
                return data
            except ssl.SSLWantReadError:
                self._feed(timeout)
            except ssl.SSLZeroReturnError:
                self.said_goodbye = True
                self._note_end()
                return b""
            except ssl.SSLEOFError:
                return b""

    def send(self, data):
        """Sends plain octets as one record (a record holds 16,384 of them at most)."""
        self._tls.write(data)
        if not self._held:
            self.flush()

    def close_notify(self):
        """Says goodbye in TLS; the TCP connection stays."""
        with contextlib.suppress(ssl.SSLError):
            self._tls.unwrap()
        if not self._held:
            self.flush()

    def fin(self):
        """Ends the TCP connection in good order, without a word in TLS."""
        self._note_end()
        self.sock.close()

    def reset(self):
        """Ends the TCP connection with a RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.fin()

    # -- DNS ---------------------------------------------------------------------------------------

    def query(self, timeout=PATIENCE):
        """The next query, or None when the peer has closed."""
        while not self._whole():
            data = self.receive(timeout)
            if not data:
                return None
            self._plain += data
        length = struct.unpack_from("!H", self._plain)[0]
        octets = bytes(self._plain[2 : 2 + length])
        del self._plain[: 2 + length]
        arrived = Query(octets, self)
        self.server.note(arrived)
        return arrived

    def _whole(self):
        return len(self._plain) >= 2 and len(self._plain) >= 2 + struct.unpack_from("!H", self._plain)[0]

    def send_message(self, message):
        self.send(struct.pack("!H", len(message)) + message)

    def answer(self, query, **changes):
        """Answers as a polite server would, but for the changes (see wire.answer)."""
        self.send_message(wire.usual_answer(query.wire, **changes))

    def serve(self):
        """Answers politely until the peer closes."""
        while query := self.query():
            self.answer(query)

    def idle(self):
        """Reads, and says nothing, until the peer closes."""
        while self.query():
            pass


def serve(connection):
    """The polite handler."""
    connection.serve()


class UnkindDot:
    """Listens on a free port of loopback and calls the handler for each connection.

    handler(connection)   after the handshake; or before it with raw=True
    context               TLS settings, see server_context()
    accepting=False       the kernel takes connections, nobody accepts them
    connect               makes what a handler is given: Connection, or one with TLS of its own
    """

    def __init__(self, context, handler=serve, name="dns.test", host="127.0.0.1", port=0, raw=False,
                 accepting=True, backlog=64, connect=Connection):
        self.context, self.handler, self.name = context, handler, name
        self.connect = connect
        self.raw, self.backlog = raw, backlog
        self.connections = []
        self.queries = []
        self.failures = []  # what handlers raised that they should not have
        self._threads = []
        self._lock = threading.Condition()
        self._stopping = False
        self._listener = socket.create_server(
            (host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=backlog
        )
        self.host, self.port = self._listener.getsockname()[:2]
        if accepting:
            self._start(self._accept)

    def _start(self, target, *args):
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self):
        while not self._stopping:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                connection = self.connect(self, sock, len(self.connections))
                self.connections.append(connection)
                self._lock.notify_all()
            self._start(self._handle, connection)

    def _handle(self, connection):
        try:
            if not self.raw:
                connection.handshake()
            self.handler(connection)
        except (ssl.SSLError, ConnectionError):
            pass
        except OSError as error:
            if not self._stopping:
                self.failures.append(error)
        except Exception as error:  # an assertion in a handler must fail its test
            self.failures.append(error)
        finally:
            self._drain(connection)

    def _drain(self, connection):
        """Records what the peer still sends, then closes."""
        if not connection.closed.is_set() and not self._stopping:
            with contextlib.suppress(OSError, ValueError):
                connection.sock.shutdown(socket.SHUT_WR)
                while connection.receive_raw(1.0):
                    pass
        connection.fin()

    def note(self, query):
        with self._lock:
            self.queries.append(query)
            self._lock.notify_all()

    def wait(self, condition, timeout=10.0):
        """Waits until condition() holds; it is looked at when a query or a connection comes."""
        with self._lock:
            if not self._lock.wait_for(condition, timeout):
                raise TimeoutError(f"waited {timeout} s in vain; {len(self.queries)} queries so far")

    def wait_queries(self, count, timeout=10.0):
        self.wait(lambda: len(self.queries) >= count, timeout)
        return self.queries

    def wait_connections(self, count, timeout=10.0):
        self.wait(lambda: len(self.connections) >= count, timeout)
        return self.connections

    def refuse(self):
        """Stops listening: the next connection is refused.  Connections that exist go on."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def kill(self):
        """As a process that is killed with much unread: each connection ends with a RST, the port refuses."""
        self._stopping = True
        self.refuse()
        for connection in self.connections:
            with contextlib.suppress(OSError):
                connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                connection.sock.shutdown(socket.SHUT_RD)  # wakes the handler, whose end closes it

    def stop(self):
        self._stopping = True
        self.refuse()
        for connection in self.connections:
            with contextlib.suppress(OSError):
                connection.sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(5)


HANDSHAKE, APPLICATION_DATA = 0x16, 0x17


def tls_records(raw):
    """The TLS records in raw as (type, version, length).  Raises ValueError where it is not TLS."""
    records, at = [], 0
    while at < len(raw):
        if len(raw) - at < 5:
            raise ValueError(f"half a record header: {bytes(raw[at:]).hex()}")
        kind, major, minor, length = struct.unpack_from("!BBBH", raw, at)
        if not 0x14 <= kind <= 0x17 or major != 3 or at + 5 + length > len(raw):
            raise ValueError(f"not a TLS record: {bytes(raw[at:at + 40]).hex()}")
        records.append((kind, (major, minor), length))
        at += 5 + length
    return records
