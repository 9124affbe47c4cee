# SPDX-License-Identifier: MIT
"""Servers that must not be believed, each with a program that asks it alone, and what came of it.

A refused client waits for almost four seconds, so a table of such servers runs in batches, and no batch
twice: the first worker that wants one of its rows runs it, the others read what came of it.

    ROWS = {"expired": (lambda stage: stage.unkind(certificate=...), "certificate has expired"), ...}

    @pytest.fixture(scope="module")
    def trials(new_stage, tmp_path_factory):
        return Trials(ROWS, new_stage, tmp_path_factory)

    @pytest.mark.parametrize("kind", ROWS)
    def test_it_gets_no_octet_of_dns(trials, kind):
        trials[kind].assert_refused()
"""

import contextlib
import fcntl
import os
import pickle
import re
import socket
import threading
import time

import wire
from patience import SLOW
from unkind_dot import APPLICATION_DATA, tls_records
from wire import query

SECRET = "a-name-that-nobody-must-read.example."
ASKS = {"udp": query(SECRET, opt=True), "tcp": query(SECRET)}
BATCH = 16  # as many at once as two processors shake hands with in time


class Outcome:
    """What is left of a trial when all is over."""

    def __init__(self, trial):
        server, program = trial.server, trial.program
        self.reason, self.replies, self.took = trial.reason, trial.replies, trial.took
        self.overheard = trial.overheard
        self.raws = [bytes(connection.raw) for connection in server.connections]
        self.queries = len(server.queries)
        self.said = f"dot {server.host}@{server.port} ({server.name}): "
        self.lines = program.lines

    def assert_refused(self):
        """With the right words in the log, nothing told to the server, and the client told so in time."""
        words = [line for line in self.lines if self.said in line]
        assert any(re.search(rf"\): .*(?:{self.reason}).*resting", line) for line in words), self.lines
        assert not any("connected" in line for line in words)
        self.assert_nothing_leaked()
        assert set(self.replies) == set(ASKS)
        replies = {over: wire.Message(octets) for over, octets in self.replies.items()}
        assert {reply.rcode for reply in replies.values()} == {wire.SERVFAIL}
        assert replies["udp"].ede and set(replies["udp"].ede) <= {22, 23}
        assert replies["tcp"].opt is None
        assert max(self.took.values()) < 4.0 * SLOW

    def assert_nothing_leaked(self):
        """RFC 8310 section 5: not under TLS, not in clear, not over UDP."""
        assert self.raws, "it was never asked"
        assert self.queries == 0
        label = SECRET.split(".")[0].encode()
        for raw in self.raws:
            assert APPLICATION_DATA not in [kind for kind, _, _ in tls_records(raw)]
            assert label not in raw
        assert self.overheard is None


def start_with_datagrams(stage, start):
    """A server, and a socket for what comes to its port over UDP; which somebody may have for the moment."""
    for _ in range(20):
        server = start(stage)
        datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            datagrams.bind((server.host, server.port))
        except OSError:
            datagrams.close()
            server.stop()
            continue
        datagrams.setblocking(False)
        return server, datagrams
    raise RuntimeError("no port that is free for TCP and UDP")


class Trial:
    def __init__(self, stage, start, reason):
        self.reason = reason
        self.server, self.datagrams = start_with_datagrams(stage, start)
        self.program = stage.dnproxy(self.server)
        self.replies, self.took, self.overheard = {}, {}, None
        self.threads = [threading.Thread(target=self._ask, args=[over]) for over in ASKS]

    def _ask(self, over):
        began = time.monotonic()
        self.replies[over] = self.program.ask(ASKS[over], over, timeout=6.0 * SLOW).wire
        self.took[over] = time.monotonic() - began

    def wait(self):
        for thread in self.threads:
            thread.join(10 * SLOW)
        with contextlib.suppress(BlockingIOError):
            self.overheard = self.datagrams.recv(65535)
        self.datagrams.close()


class Trials:
    """Outcomes by the name of their row."""

    def __init__(self, rows, new_stage, directories):
        self.rows, self.new_stage, self.known = rows, new_stage, {}
        names = list(rows)
        self.batches = [names[at : at + BATCH] for at in range(0, len(names), BATCH)]
        # All workers of a run share the directory above their own.
        run = os.environ.get("PYTEST_XDIST_TESTRUNUID")
        own = directories.mktemp("trials")
        self.place = own.parent.parent / f"trials-{run}-{names[0].replace(' ', '-')}" if run else own / "batch"

    def __getitem__(self, kind):
        if kind not in self.known:
            number = next(n for n, batch in enumerate(self.batches) if kind in batch)
            self.known.update(self._outcomes(number))
        return self.known[kind]

    def _outcomes(self, number):
        """Of a batch: those that another worker left behind, or our own."""
        with open(f"{self.place}-{number}", "a+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.seek(0)
            if octets := file.read():
                return pickle.loads(octets)
            outcomes = self._run(self.batches[number])
            file.write(pickle.dumps(outcomes))
            return outcomes

    def _run(self, batch):
        stage = self.new_stage()
        try:
            trials = {kind: Trial(stage, *self.rows[kind]) for kind in batch}
            for trial in trials.values():
                for thread in trial.threads:
                    thread.start()
            for trial in trials.values():
                trial.wait()
        finally:
            stage.end()
        return {kind: Outcome(trial) for kind, trial in trials.items()}
