# SPDX-License-Identifier: MIT
"""Clients of three kinds that ask in a steady rhythm, whatever comes back.

    python3 load.py ADDRESS FRESH LASTING TCP

FRESH    questions a second, each from a port of its own, as most stub resolvers ask
LASTING  sockets that are kept, with 2.5 questions a second each, as some forwarders ask
TCP      connections that are kept, with 1.25 questions a second each; a new one when it ends, or when an answer has not
         come for 5 s

It goes on until standard input ends, then waits for what is open.  Nothing is asked twice.  Prints a JSON line for
each question: kind, client, port, opened and sent (seconds since 1970), took (null: no answer) and result: a number
for the RCODE, "lost" when nothing came within 5 s, "refused" for an ICMP error, "closed" when the connection ended or
could not be made.
"""

import heapq
import itertools
import json
import selectors
import socket
import struct
import sys
import time

PATIENCE = 5.0
EVERY = {"lasting": 0.4, "tcp": 0.8}


def query(name, number):
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    return struct.pack("!6H", number, 0x0100, 1, 0, 0, 0) + labels + b"\0\0\1\0\1"


class Load:
    def __init__(self, address):
        self.address = address
        self.selector = selectors.DefaultSelector()
        self.due = []  # (when, number, what to do)
        self.numbers = itertools.count()
        self.asked = []

    def at(self, when, what):
        heapq.heappush(self.due, (when, next(self.numbers), what))

    def note(self, kind, client, sock, opened=None):
        """A question that is about to be sent.  opened: when this flow began, unless it may begin anew by itself."""
        one = {"kind": kind, "client": client, "port": sock.getsockname()[1], "opened": opened, "sent": time.time(),
               "took": None, "result": None}
        self.asked.append(one)
        return one

    def finish(self, one, result):
        if one["result"] is None:
            one["result"] = result
            if isinstance(result, int):
                one["took"] = time.time() - one["sent"]

    def run(self, until):
        """Turns until that is true and nothing is open any more."""
        end = None
        while end is None or (time.time() < end and any(one["result"] is None for one in self.asked[-4000:])):
            if end is None and until():
                end = time.time() + PATIENCE + 0.5
                self.due = [entry for entry in self.due if not getattr(entry[2], "asks", False)]
                heapq.heapify(self.due)
            while self.due and self.due[0][0] <= time.time():
                heapq.heappop(self.due)[2]()
            wait = min(0.05, self.due[0][0] - time.time()) if self.due else 0.05
            for key, _ in self.selector.select(max(wait, 0)):
                key.data()
        for one in self.asked:
            self.finish(one, "lost")

    def regularly(self, every, first, ask):
        def asks():
            ask()
            asks.when = max(asks.when + every, time.time() - 0.5)
            self.at(asks.when, asks)

        asks.asks, asks.when = True, first
        self.at(first, asks)


def udp_socket(address):
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setblocking(False)
    sock.connect((address, 53))
    return sock


def ask_fresh(load):
    sock = udp_socket(load.address)
    number = next(load.numbers) & 0xFFFF
    one = load.note("fresh", 0, sock, time.time())

    def end(result):
        if one["result"] is None:
            load.finish(one, result)
            load.selector.unregister(sock)
            sock.close()

    def read():
        try:
            answer = sock.recv(4096)
        except ConnectionRefusedError:
            return end("refused")
        if answer[:2] == struct.pack("!H", number):
            end(answer[3] & 15)

    load.selector.register(sock, selectors.EVENT_READ, read)
    sock.send(query(f"f{number}-{time.monotonic_ns()}.test", number))
    load.at(one["sent"] + PATIENCE, lambda: end("lost"))


class Lasting:
    """One socket.  An error tells nothing about which question it answers: it counts for the oldest one."""

    def __init__(self, load, client):
        self.load, self.client, self.open = load, client, {}
        self.sock = udp_socket(load.address)
        load.selector.register(self.sock, selectors.EVENT_READ, self.read)

    def ask(self):
        number = next(self.load.numbers) & 0xFFFF
        one = self.load.note("lasting", self.client, self.sock)
        self.open[number] = one
        try:
            self.sock.send(query(f"l{number}-{time.monotonic_ns()}.test", number))
        except ConnectionRefusedError:
            self.refused()
            self.sock.send(query(f"l{number}-{time.monotonic_ns()}.test", number))
        self.load.at(one["sent"] + PATIENCE, lambda: self.end(number, "lost"))

    def end(self, number, result):
        if one := self.open.pop(number, None):
            self.load.finish(one, result)

    def refused(self):
        if self.open:
            self.end(next(iter(self.open)), "refused")

    def read(self):
        try:
            answer = self.sock.recv(4096)
        except ConnectionRefusedError:
            return self.refused()
        self.end(struct.unpack("!H", answer[:2])[0], answer[3] & 15)


class Stream:
    """A TCP connection, and the next one when it ends."""

    def __init__(self, load, client):
        self.load, self.client = load, client
        self.sock, self.opened, self.open, self.inbox, self.outbox = None, None, {}, b"", b""

    def connect(self):
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self.sock.setblocking(False)
        self.opened = time.time()
        self.sock.connect_ex((self.load.address, 53))
        self.inbox = self.outbox = b""
        self.load.selector.register(self.sock, selectors.EVENT_WRITE, self.write)

    def ask(self):
        if not self.sock:
            self.connect()
        one = self.load.note("tcp", self.client, self.sock, self.opened)
        number = next(self.load.numbers) & 0xFFFF
        message = query(f"t{number}-{time.monotonic_ns()}.test", number)
        self.open[number] = one
        self.outbox += struct.pack("!H", len(message)) + message
        self.load.selector.modify(self.sock, selectors.EVENT_WRITE, self.write)
        self.load.at(one["sent"] + PATIENCE, lambda: number in self.open and self.open[number] is one
                     and self.end("lost"))

    def end(self, result):
        for one in self.open.values():
            self.load.finish(one, result)
        self.open = {}
        self.load.selector.unregister(self.sock)
        self.sock.close()
        self.sock = None

    def write(self):
        try:
            self.outbox = self.outbox[self.sock.send(self.outbox):]
        except OSError:
            return self.end("closed")
        if not self.outbox:
            self.load.selector.modify(self.sock, selectors.EVENT_READ, self.read)

    def read(self):
        try:
            piece = self.sock.recv(65536)
        except OSError:
            piece = b""
        if not piece:
            return self.end("closed")
        self.inbox += piece
        while len(self.inbox) >= 2 and len(self.inbox) >= 2 + (size := struct.unpack("!H", self.inbox[:2])[0]):
            answer, self.inbox = self.inbox[2:2 + size], self.inbox[2 + size:]
            if one := self.open.pop(struct.unpack("!H", answer[:2])[0], None):
                self.load.finish(one, answer[3] & 15)


def main():
    address, fresh, lasting, tcp = sys.argv[1], *map(int, sys.argv[2:5])
    load = Load(address)
    begin = time.time()
    ended = []
    load.selector.register(sys.stdin, selectors.EVENT_READ,
                           lambda: ended.append(1) or load.selector.unregister(sys.stdin))
    if fresh:
        load.regularly(1 / fresh, begin, lambda: ask_fresh(load))
    for kind, count, make in ("lasting", lasting, Lasting), ("tcp", tcp, Stream):
        for client in range(count):
            load.regularly(EVERY[kind], begin + EVERY[kind] * client / count, make(load, client).ask)
    print("ready", flush=True)
    load.run(lambda: ended)
    for one in load.asked:
        print(json.dumps(one))


if __name__ == "__main__":
    main()
