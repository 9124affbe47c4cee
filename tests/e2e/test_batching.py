# SPDX-License-Identifier: MIT
"""What is ready together is dealt with together: with 100 queries in flight, few system calls for each."""

import re
import signal
import subprocess

import pytest

from client import Udp
from wire import query

IN_FLIGHT = 100
ROUNDS = 20
MOST = 0.6  # calls for each query; one by one it would be six, or three from the cache


def answers_all_together(connection):
    """Answers nobody before so many have asked; then everybody, each in a record of its own, in one piece."""
    held = []
    while arrived := connection.query():
        held.append(arrived)
        if len(held) < IN_FLIGHT:
            continue
        connection.hold()
        for one in held:
            connection.answer(one)
        connection.flush()
        held = []


def ask_together(client, name):
    """Asks, and waits for all answers.  name: of the number."""
    for number in range(IN_FLIGHT):
        client.send(query(name(number), id=number))
    assert {client.receive().id for _ in range(IN_FLIGHT)} == set(range(IN_FLIGHT))


class Count:
    """The system calls of a process between two moments."""

    def __init__(self, needs, pid):
        self.process = subprocess.Popen([needs("strace"), "-f", "-c", "-U", "calls,name", "-p", str(pid)],
                                        stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        attached = self.process.stderr.readline()
        if "Operation not permitted" in attached:
            self.process.communicate()
            pytest.skip("this kernel lets nobody trace")
        assert "attached" in attached

    def end(self):
        self.process.send_signal(signal.SIGINT)
        _, text = self.process.communicate()
        return {name: int(calls) for calls, name in re.findall(r"^ *(\d+) +([a-z]\w*)$", text, re.M)
                if name != "total"}


@pytest.mark.parametrize("kept", [False, True], ids=["misses", "hits"])
def test_100_in_flight_take_few_system_calls_each(unkind, dnproxy, needs, kept):
    server = unkind(answers_all_together)
    program = dnproxy(server, cache__size=512)
    with Udp(program.address) as client:
        ask_together(client, lambda number: f"kept{number}.example.")
        count = Count(needs, program.pid)
        for turn in range(ROUNDS):
            ask_together(client, lambda number: f"kept{number}.example." if kept else f"new{turn}-{number}.example.")
        calls = count.end()
    assert len(server.queries) == IN_FLIGHT * (1 if kept else 1 + ROUNDS)
    assert 0 < sum(calls.values()) < MOST * IN_FLIGHT * ROUNDS, calls


def test_one_by_one_a_query_takes_no_call_more_than_it_must(dnproxy, unkind, needs):
    """From the cache: wait, receive, send.  From upstream: wait and receive twice, send twice."""
    program = dnproxy(unkind(), cache__size=512)
    with Udp(program.address) as client:
        client.ask(query("kept.example."))
        count = Count(needs, program.pid)
        for number in range(IN_FLIGHT):
            client.ask(query("kept.example.", id=number))
        hits = count.end()
        count = Count(needs, program.pid)
        for number in range(IN_FLIGHT):
            client.ask(query(f"new{number}.example.", id=number))
        misses = count.end()
    assert sum(hits.values()) <= 3.1 * IN_FLIGHT, hits
    assert sum(misses.values()) <= 6.2 * IN_FLIGHT, misses
