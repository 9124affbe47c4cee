# SPDX-License-Identifier: MIT
"""DNS clients that do as they are told: UDP sockets and TCP connections."""

import socket
import struct
import time

from patience import SLOW
from wire import Message


def family_of(host):
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def framed(message):
    """With the two-octet length of DNS over TCP in front."""
    return struct.pack("!H", len(message)) + message


class _Socket:
    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.sock.close()


class Udp(_Socket):
    """A UDP client; source is an address of its own to ask from."""

    def __init__(self, address, source=None):
        self.sock = socket.socket(family_of(address[0]), socket.SOCK_DGRAM)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        if source:
            self.sock.bind((source, 0))
        self.sock.connect(address)

    @property
    def port(self):
        return self.sock.getsockname()[1]

    def send(self, message):
        self.sock.send(message)

    def receive(self, timeout=6.0):
        """The next datagram, parsed."""
        return Message(self.receive_octets(timeout))

    def receive_octets(self, timeout=6.0):
        self.sock.settimeout(timeout * SLOW)
        return self.sock.recv(65535)

    def ask(self, message, timeout=6.0):
        self.send(message)
        return self.receive(timeout)

    def silent(self, seconds=0.15):
        """Whether nothing comes within the time."""
        self.sock.settimeout(seconds * SLOW)
        try:
            self.sock.recv(65535)
        except TimeoutError:
            return True
        return False


class Tcp(_Socket):
    """A TCP client."""

    def __init__(self, address, source=None, timeout=6.0, receive_buffer=None):
        self.sock = socket.socket(family_of(address[0]), socket.SOCK_STREAM)
        if receive_buffer:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.sock.settimeout(timeout * SLOW)
        if source:
            self.sock.bind((source, 0))
        self.sock.connect(address)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send_raw(self, octets):
        self.sock.sendall(octets)

    def send(self, message):
        self.send_raw(framed(message))

    def finish_asking(self):
        """Closes the direction towards the server."""
        self.sock.shutdown(socket.SHUT_WR)

    def reset(self):
        """Breaks the connection off with a RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def _exactly(self, count):
        data = bytearray()
        while len(data) < count:
            piece = self.sock.recv(count - len(data))
            if not piece:
                raise EOFError(f"the connection ended after {len(data)} of {count} octets")
            data += piece
        return bytes(data)

    def receive_octets(self, timeout=6.0):
        self.sock.settimeout(timeout * SLOW)
        return self._exactly(struct.unpack("!H", self._exactly(2))[0])

    def receive(self, timeout=6.0):
        """The next answer, parsed; EOFError when the server has closed."""
        return Message(self.receive_octets(timeout))

    def ask(self, message, timeout=6.0):
        self.send(message)
        return self.receive(timeout)

    def closed_by_server(self, timeout=2.0):
        """Whether the server ends the connection within the time without a further answer."""
        self.sock.settimeout(timeout * SLOW)
        try:
            return self.sock.recv(1) == b""
        except ConnectionResetError:
            return True
        except TimeoutError:
            return False

    def wait_closed(self, timeout):
        """Reads and forgets until the server closes; returns the seconds it took."""
        began = time.monotonic()
        self.sock.settimeout(timeout * SLOW)
        try:
            while self.sock.recv(65536):
                pass
        except ConnectionResetError:
            pass
        return time.monotonic() - began
