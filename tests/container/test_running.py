# SPDX-License-Identifier: MIT
"""The image at work under podman and under runc alone: who it is, whom it answers, how it ends."""

import os
import re
import signal
import subprocess
import threading
import time

import pytest

from client import Tcp, Udp
from conftest import ROOT, STRANGER
from engine import MEMORY, NOBODY, PATIENCE, until
from patience import SLOW
from wire import query

PORT_53 = ("--sysctl", "net.ipv4.ip_unprivileged_port_start=53")
REMEDIES = ("DNPROXY_PORT", "--cap-add NET_BIND_SERVICE", "net.ipv4.ip_unprivileged_port_start=53")
DOC = (ROOT / "doc" / "containers.md").read_text(encoding="utf-8")
NOERROR, SERVFAIL, REFUSED = 0, 2, 5


def kdig(network, *arguments):
    with network.inside():
        done = subprocess.run(["kdig", "+timeout=5", *arguments, "www.example.test"], capture_output=True, text=True,
                              timeout=PATIENCE, check=False)
    return done.stdout


def has_no_rights(process):
    status = process.status()
    assert status["Uid"] == status["Gid"] == [str(NOBODY)] * 4
    assert {name: int(status[f"Cap{name}"][0], 16) for name in ("Inh", "Prm", "Eff", "Bnd", "Amb")} \
        == {"Inh": 0, "Prm": 0, "Eff": 0, "Bnd": 0, "Amb": 0}
    assert status["NoNewPrivs"] == ["1"]


def writes_nothing(process):
    root = [line.split() for line in (process.proc / "mountinfo").read_text().splitlines() if line.split()[4] == "/"]
    assert root[-1][5].split(",")[0] == "ro"
    assert process.written() == []


def answers_everywhere(network):
    for address in ("127.0.0.1", "::1"):
        for over in ("+notcp", "+tcp"):
            assert "status: NOERROR" in kdig(network, f"@{address}", over), (address, over)


def test_it_answers_under_podman_without_any_right(container, network, upstream):
    """Over UDP and TCP, on both families, on port 53; the upstream is the one that the variables name.  It is
    healthy, and what asks it for its health leaves no zombie."""
    box = container(*PORT_53, *upstream.options)
    made_by_podman = box.engine.podman("diff", box.id)  # /etc/hosts and the like
    answers_everywhere(network)
    assert upstream.server.connections[0].server_name == upstream.server.name
    has_no_rights(box)
    assert box.status()["Seccomp"] == ["2"]
    writes_nothing(box)
    assert box.engine.podman("diff", box.id) == made_by_podman
    assert box.memory_limit() == MEMORY
    for _ in range(5):
        assert box.health() == (0, "ready: 127.0.0.1@53: well")
    assert box.healthcheck()
    assert box.state()["Health"]["Status"] == "healthy"
    assert box.companions() == [box.pid]


def test_it_answers_under_runc_alone_without_any_right(bundle, network, upstream):
    """And ends within a second of SIGTERM."""
    box = bundle(upstream)
    answers_everywhere(network)
    has_no_rights(box)
    writes_nothing(box)
    assert box.memory_limit() == MEMORY
    for _ in range(3):
        box.runc("exec", "--user", f"{NOBODY}:{NOBODY}", box.id, "/dnproxy", "health", "--live")
    assert box.companions() == [box.pid]
    os.kill(box.pid, signal.SIGTERM)
    began = time.monotonic()
    until(lambda: not box.alive(), "its end")
    assert time.monotonic() - began < 1 + SLOW  # a busy machine's second


def test_strangers_are_refused(container, network, upstream):
    """The image is no open resolver."""
    container(*PORT_53, *upstream.options)
    with network.inside():
        for source, rcode in ((STRANGER, REFUSED), ("127.0.0.1", NOERROR)):
            with Udp(("127.0.0.1", 53), source) as client:
                assert client.ask(query()).rcode == rcode
            with Tcp(("127.0.0.1", 53), source) as client:
                assert client.ask(query()).rcode == rcode


def test_an_upstream_that_cannot_prove_who_it_is_gets_no_query(container, network, upstream):
    """With the image's own settings and anchors, which know no authority of these tests."""
    container(*PORT_53, *(x for v in upstream.environment for x in ("-e", v)))
    assert "status: SERVFAIL" in kdig(network, "@127.0.0.1", "+edns")
    assert upstream.server.connections and not upstream.server.queries


def test_port_53_needs_no_more_than_a_capability(container, network, upstream):
    box = container("--cap-add", "NET_BIND_SERVICE", *upstream.options)
    assert "status: NOERROR" in kdig(network, "@127.0.0.1")
    assert int(box.status()["CapEff"][0], 16) == 1 << 10


def test_without_sysctl_and_capability_it_says_what_port_53_needs(container, network, upstream):
    """And ends at once with status 1; on another port it serves."""
    box = container(*upstream.options, wait=False)
    assert box.exit_status() == 1
    for remedy in REMEDIES:
        assert remedy in box.log()
    container("-e", "DNPROXY_PORT=5353", *upstream.options)
    assert "status: NOERROR" in kdig(network, "@127.0.0.1", "-p", "5353")


def test_without_ipv6_in_the_kernel_an_address_of_ipv4_is_enough(bundle, network, upstream):
    box = bundle(upstream, ipv6=False, wait=False)
    until(lambda: not box.alive(), "its end")
    assert "cannot listen on [::]@53" in box.log()
    bundle(upstream, "DNPROXY_HOST=0.0.0.0", ipv6=False)
    assert "status: NOERROR" in kdig(network, "@127.0.0.1")


def test_it_is_unhealthy_once_its_upstream_is_gone_but_alive(container, network, upstream):
    box = container(*PORT_53, *upstream.options)
    assert box.healthcheck()
    upstream.server.stop()  # and waits for its connections to end
    with network.inside(), Udp(("127.0.0.1", 53)) as client:
        assert client.ask(query("other.example.")).rcode == SERVFAIL
    box.wait_unhealthy()
    assert box.health("--live") == (0, "live: 127.0.0.1@53: well")


def test_a_process_that_hangs_is_not_alive(container, upstream):
    """The health check is the one that the documentation gives for whoever restarts what is unhealthy."""
    box = container(*PORT_53, "--health-cmd", re.search(r"--health-cmd '([^']+)'", DOC)[1], *upstream.options)
    assert box.healthcheck()
    os.kill(box.pid, signal.SIGSTOP)
    try:
        assert box.health("--live") == (1, "not live: 127.0.0.1@53: no answer")
        assert not box.healthcheck()
    finally:
        os.kill(box.pid, signal.SIGCONT)
    assert box.health("--live")[0] == 0


def ask_and_keep(address, answers, kind):
    """Asks, and notes the RCODE of whatever comes."""
    with kind(address) as client:
        client.send(query("slow.example."))
        answers.append(client.receive(20).rcode)


@pytest.mark.parametrize("kind", [Udp, Tcp])
def test_stop_ends_it_and_tells_who_still_waits(container, network, upstreams, kind):
    """The upstream says nothing: the query is refused, not left alone.  Status 0, not 137: no SIGKILL is needed."""
    def silent(connection):
        while connection.query(60):
            pass

    upstream, answers = upstreams(silent), []
    box = container(*PORT_53, *upstream.options)

    def ask():
        with network.inside():
            ask_and_keep(("127.0.0.1", 53), answers, kind)

    asker = threading.Thread(target=ask)
    asker.start()
    upstream.server.wait_queries(1, 20 * SLOW)
    box.engine.podman("stop", "--time", "30", box.id)
    asker.join(30)
    assert answers in ([SERVFAIL], [REFUSED])
    state = box.state()
    assert (state["ExitCode"], state["OOMKilled"]) == (0, False)


def test_eight_mebibytes_hold_under_load(container, network, upstream):
    """With the cache on: thousands of names, 100 at once, and many TCP clients."""
    box = container(*PORT_53, *upstream.options)
    answered = 0
    with network.inside(), Udp(("127.0.0.1", 53)) as client:
        crowd = [Tcp(("127.0.0.1", 53)) for _ in range(100)]
        for first in range(0, 4000, 100):
            for n in range(first, first + 100):
                client.send(query(f"name{n}.example.", id=n))
            answered += sum(client.receive(20).rcode == NOERROR for _ in range(100))
        for n, each in enumerate(crowd):
            each.send(query(f"tcp{n}.example."))
        answered += sum(each.receive(20).rcode == NOERROR for each in crowd)
        for each in crowd:
            each.close()
    assert answered == 4100
    assert box.alive() and not box.state()["OOMKilled"]
    assert box.memory_limit() == MEMORY
    assert int(box.status()["VmHWM"][0]) < 3 << 10  # KiB

