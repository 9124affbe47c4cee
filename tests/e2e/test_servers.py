# SPDX-License-Identifier: MIT
"""The servers people run: unbound, NSD, dnsdist, and nginx in front of one."""

import shutil
import subprocess
import time

import pytest

import servers
from client import Udp, framed
from patience import SLOW
from wire import TC, opt_record, query

FRONTS = {"dnsdist": servers.Dnsdist, "nginx": servers.NginxStream}
ALONE = {"unbound": servers.Unbound, "nsd": servers.Nsd}


@pytest.fixture(scope="module")
def unbound(leaf, needs, tmp_path_factory):
    server = servers.Unbound(tmp_path_factory.mktemp("backend"), leaf, needs)
    yield server
    server.stop()


@pytest.fixture(scope="module", params=[*ALONE, *FRONTS])
def server(request, leaf, needs, tmp_path_factory, unbound):
    kind = {**ALONE, **FRONTS}[request.param]
    backend = unbound if request.param in FRONTS else None
    server = kind(tmp_path_factory.mktemp(request.param), leaf, needs, backend)
    yield server
    server.stop()


@pytest.fixture
def program(dnproxy, server):
    return dnproxy(server)


def kdig(program, *args):
    path = shutil.which("kdig")
    assert path, "kdig is missing: run `make deps`"
    command = [path, f"@{program.host}", "-p", str(program.port), "+retry=0", f"+time={int(5 * SLOW)}", *args]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30 * SLOW, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.cross
@pytest.mark.parametrize("transport", ["+notcp", "+tcp"])
def test_kdig_gets_the_address(program, transport):
    assert kdig(program, transport, "+short", "www.example.test", "A").split() == [servers.ADDRESS]
    assert kdig(program, transport, "+short", "www.example.test", "AAAA").split() == [servers.ADDRESS6]


@pytest.mark.cross
def test_kdig_comes_back_over_tcp_for_a_long_answer(program):
    """Over UDP the answer has TC; kdig asks again over TCP and gets all of it."""
    out = kdig(program, "big.example.test", "TXT")
    assert "(TCP)" in out
    assert out.count("big.example.test.") >= len(servers.BIG)
    assert "TC" in kdig(program, "+ignore", "big.example.test", "TXT")


@pytest.mark.parametrize("opt", [None, opt_record(do=True)], ids=["no EDNS", "EDNS"])
def test_opt_is_seen_by_who_sent_one(program, opt):
    reply = program.udp(query("www.example.test.", opt=opt))
    assert reply.rcode == 0 and len(reply.opts) == (1 if opt else 0)
    assert {code for code, _ in reply.options} <= {15}


def test_500_queries_over_udp_are_answered(program):
    with Udp(program.address) as client:
        for number in range(500):
            client.send(query(f"host{number}.example.test.", id=number))
        replies = [client.receive() for _ in range(500)]
    assert {r.id for r in replies} == set(range(500))
    assert all(r.name == f"host{r.id}.example.test." and r.answers for r in replies)


def test_500_pipelined_queries_are_answered(program):
    """One query a record: NSD stalls when a record holds two."""
    with program.tcp() as client:
        client.send_raw(b"".join(framed(query(f"host{n}.example.test.", id=n)) for n in range(500)))
        replies = [client.receive() for _ in range(500)]
    assert {r.id for r in replies} == set(range(500))
    assert all(r.name == f"host{r.id}.example.test." and r.answers for r in replies)


@pytest.mark.parametrize("server", ["unbound", "nsd", "dnsdist"], indirect=True)
def test_queries_in_small_groups_do_not_wait_for_acknowledgements(program):
    """Servers that gather their answers (Nagle) are told at once that the last ones arrived."""
    program.udp(query("www.example.test."))
    with Udp(program.address) as client:
        began = time.monotonic()
        for _ in range(20):
            for number in range(4):
                client.send(query("www.example.test.", id=number))
            for _ in range(4):
                client.receive()
        assert time.monotonic() - began < 20 * 0.02 * SLOW


def test_a_long_answer_is_whole_over_tcp(program):
    with program.tcp() as client:
        reply = client.ask(query("big.example.test.", "TXT"))
    assert not reply.flags & TC
    assert sorted(r.rdata[1:].decode() for r in reply.answers) == sorted(servers.BIG)


def test_a_server_that_was_started_again_is_asked_again(dnproxy, leaf, needs, tmp_path):
    """RFC 7858 section 3.4."""
    first = servers.Unbound(tmp_path, leaf, needs)
    try:
        program = dnproxy(first)
        assert program.udp(query("www.example.test.")).rcode == 0
        first.process.terminate()
        first.process.wait(5)
        first.process = subprocess.Popen([needs("unbound"), "-d", "-p", "-c", str(first.config)], cwd=tmp_path,
                                         stdin=subprocess.DEVNULL, stdout=first.log, stderr=first.log)
        first._wait()
        assert program.udp(query("www.example.test.")).answers
    finally:
        first.stop()
