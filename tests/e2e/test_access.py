# SPDX-License-Identifier: MIT
"""Who is answered."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import wire
from wire import REFUSED, opt_record, query

ALLOWED, OTHER = "127.0.0.2", "127.0.0.3"


@pytest.fixture
def guarded(unkind, dnproxy):
    server = unkind()
    return dnproxy(server, dnproxy__allow=[ALLOWED + "/32", "10.0.0.0/8"]), server


def ask(program, source, over, message=None):
    message = message or query(id=21)
    if over == "udp":
        return program.udp(message, source=source)
    with program.tcp(source=source) as client:
        return client.ask(message)


@pytest.mark.parametrize("over", ["udp", "tcp"])
def test_an_allowed_source_is_answered(guarded, over):
    program, _ = guarded
    assert ask(program, ALLOWED, over).rcode == 0


@pytest.mark.cross
@pytest.mark.parametrize("over", ["udp", "tcp"])
def test_another_source_is_refused(guarded, over):
    """RFC 5625 section 6.2; REFUSED rather than silence, and nothing goes upstream."""
    program, server = guarded
    reply = ask(program, OTHER, over)
    assert (reply.rcode, reply.id, reply.counts) == (REFUSED, 21, [1, 0, 0, 0])
    assert server.connections == []


@pytest.mark.parametrize("over", ["udp", "tcp"])
def test_a_refusal_has_an_opt_when_the_query_had_one(guarded, over):
    """RFC 6891 section 6.1.1, RFC 8914 section 4.19."""
    program, _ = guarded
    reply = ask(program, OTHER, over, query(opt=True))
    assert reply.rcode == REFUSED and len(reply.opts) == 1 and reply.ede == [18]


def test_a_refused_source_learns_nothing_from_malformed_queries(guarded):
    program, server = guarded
    assert ask(program, OTHER, "udp", query(opt=opt_record(version=1))).rcode in (REFUSED, wire.BADVERS)
    assert server.connections == []


def test_a_refused_client_may_ask_again_on_its_connection(guarded):
    program, _ = guarded
    with program.tcp(source=OTHER) as client:
        assert [client.ask(query(id=n)).rcode for n in (1, 2, 3)] == [REFUSED] * 3


@pytest.mark.parametrize("allow, rcode", [(["::1/128"], 0), (["2001:db8::/32"], REFUSED), (["127.0.0.0/8"], REFUSED)])
def test_ipv6_sources_are_judged_too(unkind, dnproxy, allow, rcode):
    program = dnproxy(unkind(), host="::1", dnproxy__allow=allow)
    assert program.udp(query()).rcode == rcode
    assert program.ask(query(), "tcp").rcode == rcode


@pytest.mark.parametrize("source", ["127.0.0.1", "127.200.3.4", "::1"])
def test_loopback_is_allowed_by_default(unkind, dnproxy, source):
    program = dnproxy(unkind(), host="::1" if ":" in source else "127.0.0.1")
    assert program.udp(query(), source=source).rcode == 0


def test_only_near_sources_are_allowed_by_default(run, settings, tmp_path):
    """Loopback, private, link-local and unique-local."""
    tree = settings({"ip": "192.0.2.1", "hostname": "dns.test"})
    (tmp_path / "dnproxy.yml").write_text(yaml.safe_dump(tree))
    allow = set(yaml.safe_load(run("--check").stdout)["dnproxy"]["allow"])
    assert allow == {
        "127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16",
        "::1/128", "fe80::/10", "fc00::/7",
    } or {a.removesuffix("/128") for a in allow} == {
        "127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16",
        "::1", "fe80::/10", "fc00::/7",
    }


NEAR = ["127.0.0.1", "10.1.2.3", "172.31.255.1", "192.168.9.9", "169.254.7.7", "::1", "fd00::7"]
FAR = ["203.0.113.7", "100.64.0.1", "172.32.0.1", "192.169.0.1", "8.8.8.8", "2001:db8::7", "fec0::1"]


def test_by_default_only_near_sources_are_answered():
    """RFC 5625 section 6.2: from the outside nothing but a refusal is to be had."""
    here = Path(__file__).parent
    program = os.environ.get("DNPROXY", str(here.parents[1] / "build/dnproxy"))
    done = subprocess.run(
        ["unshare", "--user", "--map-root-user", "--net", sys.executable, str(here / "public_sources.py"),
         program, *NEAR, *FAR],
        capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    said = dict(line.split() for line in done.stdout.splitlines())
    assert said == {**dict.fromkeys(NEAR, str(wire.NOTIMP)), **dict.fromkeys(FAR, str(REFUSED))}
