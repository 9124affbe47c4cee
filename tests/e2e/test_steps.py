# SPDX-License-Identifier: MIT
"""A handshake that takes long to compute, as on a router, holds up nobody: clients are served between its steps."""

import re
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest

import unkind_dot
from client import Udp
from patience import SLOW
from wire import REFUSED, query

ALLOWED, OTHER = "127.0.0.1", "127.0.0.77"


class Held(unkind_dot.Connection):
    """Its second connection holds back the server's part of the handshake, all of it one piece, until told."""

    def flush(self):
        if self.number == 1 and self._outgoing.pending:
            self.server.heard.set()
            assert self.server.told.wait(unkind_dot.PATIENCE)
        super().flush()
        if self.number == 1:
            self.server.flown.set()


def once_then_politely(connection):
    connection.answer(connection.query())
    if connection.number > 0:
        connection.serve()


def trace(needs, pid, out):
    """What the process receives and sends, in order, until it is told to end."""
    tracer = subprocess.Popen([needs("strace"), "-o", str(out), "-e", "trace=recvfrom,sendto,sendmmsg", "-p", str(pid)],
                              stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    attached = tracer.stderr.readline()
    if "Operation not permitted" in attached:
        tracer.communicate()
        pytest.skip("this kernel lets nobody trace")
    assert "attached" in attached
    return tracer


def stop(pid):
    subprocess.run(["kill", "-STOP", str(pid)], check=True)
    deadline = time.monotonic() + 5 * SLOW
    while Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "tT":
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_cached_and_refused_answers_go_out_before_a_handshake_is_computed(unkind, dnproxy, needs, tmp_path):
    """The server's whole part, and the clients' queries, are there at the same moment."""
    server = unkind(once_then_politely, connect=Held)
    server.heard, server.told, server.flown = threading.Event(), threading.Event(), threading.Event()
    program = dnproxy(server, cache__size=512, dnproxy__allow=[ALLOWED + "/32"], dnproxy__workers=1)
    assert program.udp(query("kept.example."), source=ALLOWED).rcode == 0
    assert server.connections[0].closed.wait(10 * SLOW)
    with Udp(program.address, ALLOWED) as first, Udp(program.address, ALLOWED) as near, Udp(program.address, OTHER) as far:
        first.send(query("new.example."))
        assert server.heard.wait(10 * SLOW)
        tracer = trace(needs, program.pid, tmp_path / "trace")
        stop(program.pid)
        server.told.set()
        assert server.flown.wait(10 * SLOW)
        near.send(query("kept.example.", id=2))
        far.send(query("kept.example.", id=3))
        subprocess.run(["kill", "-CONT", str(program.pid)], check=True)
        assert near.receive().rcode == 0
        assert far.receive().rcode == REFUSED
        assert first.receive().rcode == 0
    tracer.send_signal(signal.SIGINT)
    tracer.communicate()
    calls = (tmp_path / "trace").read_text().splitlines()
    upstream = next(re.match(r"recvfrom\((\d+), ", line).group(1) for line in calls if line.startswith("recvfrom"))
    ours = next(i for i, line in enumerate(calls) if line.startswith(f"sendto({upstream},"))
    sent = [int(n) for line in calls[:ours] for n in re.findall(r"^sendmmsg\(.* = (\d+)$", line)]
    assert sum(sent) == 2, calls
