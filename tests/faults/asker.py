# SPDX-License-Identifier: MIT
"""Clients that ask in a steady rhythm, or very much at once, and note when they were answered."""

import contextlib
import itertools
import select
import threading
import time

import client
import wire
from wire import NOERROR, Message

GIVE_UP = 6.0  # a stub resolver waits 5 s

_tags = itertools.count(1)


class Asked:
    """One question: when it was sent, and when and how it was answered (None: not at all)."""

    def __init__(self, name, sent):
        self.name, self.sent = name, sent
        self.answered = self.rcode = None

    @property
    def good(self):
        return self.rcode == NOERROR

    @property
    def took(self):
        return self.answered - self.sent if self.answered else float("inf")

    def __repr__(self):
        how = "not answered" if self.answered is None else f"RCODE {self.rcode} after {self.took:.3f} s"
        return f"{self.name} {how}"


class Asker:
    """Asks for a new name every so many seconds while its block lasts; at the end of the block it waits
    for what is still open, for as long as a stub resolver would."""

    def __init__(self, program, every=0.1, zone="example.test."):
        self.program, self.every = program, every
        self.tag, self.zone = next(_tags), zone
        self.asked = []
        self._open = {}
        self._stop, self._resting = threading.Event(), threading.Event()
        self._socket = client.Udp(program.address)
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join()
        self._socket.close()

    def rest(self):
        """No further questions before go_on(), and none is open when this returns."""
        self._resting.set()
        wait_for(lambda: not self._open, GIVE_UP)

    def go_on(self):
        self._resting.clear()

    def _run(self):
        due = time.monotonic()
        while not self._stop.is_set():
            if time.monotonic() >= due:
                due = max(due + self.every, time.monotonic() - 1)
                if not self._resting.is_set():
                    self._ask()
            self._listen(min(due - time.monotonic(), 0.005) if self._resting.is_set() else due - time.monotonic())
        end = time.monotonic() + GIVE_UP
        while self._open and time.monotonic() < end:
            self._listen(0.05)

    def _ask(self):
        number = len(self.asked)
        asked = Asked(f"n{number}.t{self.tag}.{self.zone}", time.monotonic())
        self.asked.append(asked)
        self._open[number & 0xFFFF] = asked
        with contextlib.suppress(ConnectionRefusedError):
            self._socket.send(wire.query(asked.name, id=number & 0xFFFF))

    def _listen(self, seconds):
        ready, _, _ = select.select([self._socket.sock], [], [], max(seconds, 0))
        if ready:
            with contextlib.suppress(ConnectionRefusedError):
                note_answer(self._open, self._socket.sock.recv(65535))

    # -- what came of it ---------------------------------------------------------------------------

    def since(self, moment, until=float("inf")):
        """What was sent from then on."""
        return [a for a in list(self.asked) if moment <= a.sent < until]

    def first_good(self, moment):
        """Seconds from then to the next good answer, whenever it was asked for."""
        times = [a.answered for a in list(self.asked) if a.good and a.answered >= moment]
        return min(times) - moment if times else float("inf")

    def wait_good(self, count=1, timeout=10.0):
        """Waits for so many further good answers."""
        wanted = sum(a.good for a in list(self.asked)) + count
        wait_for(lambda: sum(a.good for a in list(self.asked)) >= wanted, timeout)


def note_answer(open_, octets):
    answer = Message(octets)
    asked = open_.pop(answer.id, None)
    if asked and answer.name.lower() == asked.name:
        asked.answered, asked.rcode = time.monotonic(), answer.rcode


def wait_for(condition, timeout):
    end = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < end, f"waited {timeout} s in vain"
        time.sleep(0.005)


class Crowd:
    """Many questions at once from one client: sent when it is made, and waited for by wait()."""

    def __init__(self, program, count, zone="example.test."):
        self._socket = client.Udp(program.address)
        tag = next(_tags)
        self.asked = []
        for number in range(count):
            self.asked.append(Asked(f"n{number}.t{tag}.{zone}", time.monotonic()))
            self._socket.send(wire.query(self.asked[-1].name, id=number))
            if number % 16 == 15:
                time.sleep(0.001)  # the program's socket holds some hundred datagrams

    def wait(self, timeout=GIVE_UP):
        open_ = dict(enumerate(self.asked))
        end = time.monotonic() + timeout
        while open_ and time.monotonic() < end:
            ready, _, _ = select.select([self._socket.sock], [], [], 0.05)
            if ready:
                note_answer(open_, self._socket.sock.recv(65535))
        self._socket.close()
        return self.asked


def assert_all_good(asked):
    assert asked, "nothing was asked"
    bad = [a for a in asked if not a.good]
    assert not bad, f"{len(bad)} of {len(asked)}: {bad[:5]}"
