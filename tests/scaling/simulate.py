# SPDX-License-Identifier: MIT
"""What clients lose, and for how long, when one of four instances fails, with the waiting times of Kubernetes.

    python3 simulate.py [--json FILE] [--only WORD]

Each scenario has a cluster of its own (cluster.py) and the same clients (traffic.py).  A failure begins right behind
a probe that has found everything well: that is the worst moment.  The table is Markdown; shares are those of the
questions that were lost, of all four instances' between the failure and the removal / after that.
"""

import argparse
import importlib.util
import json
import os
import sys
import tempfile
import threading
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), *(str(HERE.parent / part) for part in ("faults", "e2e", "data"))]

_spec = importlib.util.spec_from_file_location("e2e_conftest", HERE.parent / "e2e" / "conftest.py")
e2e = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(e2e)

import certs  # noqa: E402
from cluster import Cluster  # noqa: E402
from hosts import can_make_namespaces  # noqa: E402
from traffic import KINDS, Traffic  # noqa: E402

VICTIM = 0
SPREAD = 1.0  # from the kubelet's verdict through the API server to the rules of every node: assumed
RELIST = 1.0  # within so many seconds the kubelet notices that a container has ended
PRE_STOP = 5.0
AGAIN = "SCALING_AGAIN"


class Probes:
    """As in the chart's values: seconds between, seconds for each, failures in a row."""

    def __init__(self, period, timeout, failures):
        self.period, self.timeout, self.failures = period, timeout, failures


CHART = {"ready": Probes(5, 4, 3), "live": Probes(10, 3, 3)}
QUICK = {"ready": Probes(2, 1, 2), "live": Probes(2, 1, 4)}


class Kubelet:
    """Probes the victim; takes it out when it is not ready, puts it back when it is, and starts it again when it is
    not live.  .out and .back are when that was done."""

    def __init__(self, cluster, probes):
        self.cluster, self.probes = cluster, probes
        self.out = self.back = None
        self._stop, self._well = threading.Event(), threading.Event()
        self._threads = [threading.Thread(target=self._watch, args=(asks,)) for asks in ("ready", "live")]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        self._well.wait()
        return self

    def __exit__(self, *_):
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _watch(self, asks):
        probes, failures = self.probes[asks], 0
        while not self._stop.is_set():
            began = time.time()
            well = self.cluster.probe(VICTIM, asks, probes.timeout)
            failures = 0 if well else failures + 1
            if well and asks == "ready":
                self._well.set()
                self._put_back()
            elif failures == probes.failures:
                self._take_out() if asks == "ready" else self._restart()
                failures = 0
            self._stop.wait(max(0, began + probes.period - time.time()))

    def _take_out(self):
        if not self.out:
            time.sleep(SPREAD)
            self.cluster.take_out(VICTIM)
            self.out = time.time()

    def _put_back(self):
        if self.out and not self.back:
            time.sleep(SPREAD)
            self.cluster.put_back(VICTIM)
            self.back = time.time()

    def _restart(self):
        self.cluster.kill(VICTIM)
        self.cluster.start_again(VICTIM)


# -- scenarios: each is called while the clients ask, and returns (when it failed, when it was taken out) ------------


def killed_and_started_again(cluster):
    failed = time.time()
    cluster.kill(VICTIM)
    time.sleep(RELIST)
    cluster.start_again(VICTIM)
    again = time.time()
    time.sleep(4)
    return failed, again


def killed(cluster, flush=True):
    failed = time.time()
    cluster.kill(VICTIM)
    time.sleep(RELIST + SPREAD)
    cluster.take_out(VICTIM, flush)
    out = time.time()
    time.sleep(4 if flush else 15)
    return failed, out


def killed_never_flushed(cluster):
    return killed(cluster, flush=False)


def ended(cluster):
    """As since Kubernetes 1.32: flows stay while it serves."""
    failed = time.time()
    time.sleep(SPREAD)
    cluster.take_out(VICTIM, flush=False)
    time.sleep(PRE_STOP - SPREAD)
    cluster.end(VICTIM)
    time.sleep(SPREAD)
    cluster.forget(VICTIM)
    out = time.time()
    time.sleep(4)
    return failed, out


def ended_flushed_first(cluster):
    """As before Kubernetes 1.32."""
    failed = time.time()
    time.sleep(SPREAD)
    cluster.take_out(VICTIM)
    out = time.time()
    time.sleep(PRE_STOP - SPREAD)
    cluster.end(VICTIM)
    time.sleep(4)
    return failed, out


def ended_without_waiting(cluster):
    """No preStop: SIGTERM while the nodes do not know yet."""
    failed = time.time()
    cluster.end(VICTIM)
    time.sleep(SPREAD)
    cluster.take_out(VICTIM)
    out = time.time()
    time.sleep(4)
    return failed, out


def rolled(cluster):
    """All four, one after the other, each back before the next one goes."""
    failed = time.time()
    for n in range(4):
        cluster.take_out(n, flush=False)
        time.sleep(PRE_STOP / 2)
        cluster.end(n)
        cluster.forget(n)
        cluster.start_again(n)
        cluster.put_back(n)
        time.sleep(SPREAD)
    out = time.time()
    time.sleep(3)
    return failed, out


def frozen(cluster, probes):
    with Kubelet(cluster, probes) as kubelet:
        failed = time.time()
        cluster.freeze(VICTIM)
        while not kubelet.back:
            time.sleep(0.1)
        time.sleep(4)
    return failed, kubelet.out


def frozen_chart(cluster):
    return frozen(cluster, CHART)


def frozen_quick(cluster):
    return frozen(cluster, QUICK)


def unplugged(cluster):
    """The machine is gone.  Kubernetes waits for 40 s, newer versions for 50 s; here 10 s."""
    failed = time.time()
    cluster.unplug(VICTIM)
    time.sleep(10)
    cluster.take_out(VICTIM)
    out = time.time()
    time.sleep(8)
    return failed, out


SCENARIOS = [
    ("killed, started again by the kubelet", killed_and_started_again),
    ("killed, taken out", killed),
    ("the same, flows never dropped", killed_never_flushed),
    ("taken out, 5 s later SIGTERM, then flows dropped", ended),
    ("taken out and flows dropped, 5 s later SIGTERM", ended_flushed_first),
    ("SIGTERM, then taken out", ended_without_waiting),
    ("all four replaced, one after the other", rolled),
    ("frozen, the chart's probes", frozen_chart),
    ("frozen, probes of 2 s", frozen_quick),
    ("its machine is gone, 10 s", unplugged),
]


# -- what came of it -------------------------------------------------------------------------------------------------


def judge(traffic, failed, out):
    """For each kind of clients, of the questions between failure and removal, and of those behind it: how many were
    asked, how many lost, and when the last of these was asked."""
    result = {"out": round(out - failed, 1)}
    for kind in KINDS:
        result[kind] = {}
        for when, asked in ("before", traffic.of(kind, failed - 0.1, out)), ("after", traffic.of(kind, out)):
            lost = [one for one in asked if not one.good]
            last = round(max(one.sent for one in lost) - failed, 1) if lost else None
            result[kind][when] = {"asked": len(asked), "lost": len(lost), "last lost at": last}
    waits = [one.took for one in traffic.of("stub", failed - 0.1)]
    result["stub"].update({"waited": sum(took > 4 for took in waits), "longest": round(max(waits), 1)})
    return result


def run(scenario, stage):
    with Cluster(stage) as cluster:
        with Traffic(cluster, fresh=100, stubs=12) as traffic:
            time.sleep(3)
            failed, out = scenario(cluster)
        return judge(traffic, failed, out)


class Directories:
    def __init__(self, top):
        self.top = top

    def mktemp(self, name):
        return Path(tempfile.mkdtemp(prefix=name, dir=self.top))


def share(kind, when):
    asked, lost = kind[when]["asked"], kind[when]["lost"]
    if 0 < lost < asked / 1000:
        return f"{lost} of {asked}"
    return f"{100 * lost / max(asked, 1):.3g}%" if lost else "0"


def cell(kind):
    return f"{share(kind, 'before')} / {share(kind, 'after')}"


def row(name, got):
    stub = got["stub"]
    failed = stub["before"]["lost"] + stub["after"]["lost"]
    return [name, f"{got['out']:.0f} s", cell(got["fresh"]), cell(got["lasting"]), cell(got["tcp"]),
            f"{stub['longest']:.1f} s", f"{stub['waited']}, {failed}"]


HEAD = ["what happens", "out after", "UDP, a port for each", "UDP, lasting port", "TCP", "C library: longest",
        "5 s or more, failed"]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--json")
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    if not can_make_namespaces() and AGAIN not in os.environ:
        os.execvpe("unshare", ["unshare", "--user", "--map-root-user", "--net", sys.executable, *sys.argv],
                   {**os.environ, AGAIN: "1"})
    results = {}
    print("| " + " | ".join(HEAD) + " |\n" + "| --- " * len(HEAD) + "|", flush=True)
    with tempfile.TemporaryDirectory() as top:
        ca = certs.Authority(top, "Root")
        for name, scenario in SCENARIOS:
            if options.only not in name:
                continue
            results[name] = run(scenario, e2e.Stage(ca, ca.leaf(e2e.NAME), Directories(top)))
            print("| " + " | ".join(row(name, results[name])) + " |", flush=True)
    if options.json:
        Path(options.json).write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
