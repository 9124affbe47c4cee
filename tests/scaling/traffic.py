# SPDX-License-Identifier: MIT
"""The clients of a cluster at work (load.py, stub.c), and what became of their questions."""

import json
import subprocess
import sys
import time
from pathlib import Path

from cluster import BENCH, SERVICE
from wire import NOERROR

KINDS = ["fresh", "stub", "lasting", "tcp"]


class Asked:
    """A question.  .instance: who was to answer it, where that is known; .result: see load.py, and for the C library's
    resolver "failed" when it has told the application so."""

    def __init__(self, kind, client, sent, took, result, instance=None):
        self.kind, self.client, self.sent, self.took, self.result = kind, client, sent, took, result
        self.instance = instance

    @property
    def good(self):
        return self.result == NOERROR

    def __repr__(self):
        return f"{self.kind} {self.client} to {self.instance} at {self.sent:.3f}: {self.result} after {self.took}"


class Traffic:
    """Clients that ask while its block lasts; .asked is complete behind it."""

    def __init__(self, cluster, fresh=60, lasting=40, tcp=40, stubs=6):
        self.cluster, self.asked = cluster, []
        load = [sys.executable, Path(__file__).with_name("load.py"), SERVICE, fresh, lasting, tcp]
        stub = [BENCH / "stub", SERVICE, stubs, 100]
        with cluster.clients.inside():
            self._processes = [self._start(command) for command in (load, stub)]

    @staticmethod
    def _start(command):
        return subprocess.Popen(list(map(str, command)), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __enter__(self):
        assert self._processes[0].stdout.readline() == "ready\n"
        self.began = time.time()
        return self

    def __exit__(self, *_):
        for process in self._processes:
            process.stdin.close()
            process.stdin = None
        load, stub = (process.communicate()[0] for process in self._processes)
        flows = self.cluster.flows
        for one in map(json.loads, load.splitlines()):
            over = "tcp" if one["kind"] == "tcp" else "udp"
            flow = flows.instance(over, one["port"], one["opened"] or one["sent"], new=bool(one["opened"]))
            self.asked.append(Asked(one["kind"], one["client"], one["sent"], one["took"], one["result"], flow))
        for client, began, took, result in map(str.split, stub.splitlines()):
            self.asked.append(Asked("stub", int(client), float(began), float(took), 0 if result == "ok" else "failed"))
        self.asked.sort(key=lambda one: one.sent)

    def of(self, kind=None, since=0.0, until=float("inf")):
        return [one for one in self.asked if (kind is None or one.kind == kind) and since <= one.sent < until]
