# SPDX-License-Identifier: MIT
"""Answers that are kept: for how long, for whom, and what comes when no upstream answers."""

import re
import shutil
import signal
import struct
import subprocess
import threading
import time

import pytest

import servers
import wire
from client import Udp
from patience import SLOW
from wire import (
    AD, CD, ECS, NXDOMAIN, RA, RD, REFUSED, SERVFAIL, TC, answer, answer_of_size, name_octets, opt_record, query, record
)

STALE, CACHED_ERROR, PROHIBITED, STALE_NXDOMAIN = 3, 13, 18, 19
BRIEF_S = 1.8
IP = bytes([192, 0, 2, 1])
SOA = name_octets("ns.example.") + name_octets("root.example.") + struct.pack("!5I", 1, 3600, 900, 86400, 300)


def soa(ttl, owner="example."):
    return record("SOA", SOA, owner=name_octets(owner), ttl=ttl)


class Says:
    """A handler: names are answered with this TTL; "no" and what is below it does not exist; names that begin
    with "slow" are answered after the event."""

    def __init__(self, ttl=300):
        self.ttl = ttl
        self.go = threading.Event()
        self.go.set()

    def make(self, asked):
        opt = opt_record(do=asked.dnssec_ok) if asked.opt else None
        if re.search(r"(^|\.)no\.example\.$", asked.name, re.I):
            return answer(asked.wire, rcode=NXDOMAIN, authority=[soa(self.ttl)], opt=opt)
        return answer(asked.wire, records=[record("A", IP, ttl=self.ttl)], opt=opt)

    def __call__(self, connection):
        while asked := connection.query():
            if asked.name.startswith("slow"):
                self.go.wait(10)
            connection.send_message(self.make(asked))


@pytest.fixture
def pair(unkind, dnproxy):
    """pair(...) is the program with a cache of the default size, in front of a server, and that."""

    def start(handler=None, **settings):
        server = unkind(handler or Says())
        return dnproxy(server, **{"cache__size": 512, **settings}), server

    return start


def until(condition, timeout=10.0):
    """Asks again and again until what comes is as it should be; returns that."""
    deadline = time.monotonic() + timeout * SLOW
    while not (value := condition()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)
    return value


def when_stale(program, message):
    """The stale answer, as soon as there is one."""

    def ask():
        reply = program.udp(message)
        return reply if reply.ede in ([STALE], [STALE_NXDOMAIN]) else None

    return until(ask)


def counters(program):
    """What SIGUSR1 brings into the log."""
    before = len([line for line in program.lines if "counters: asked" in line])
    program.process.send_signal(signal.SIGUSR1)
    program.wait_log("counters: .*full handshakes", count=before + 1)
    lines = [line for line in program.lines if "counters: " in line][-4:]
    return {name: int(number) for line in lines for name, number in re.findall(r"([a-z][a-z ]*) (\d+)", line)}


# ---- Hits ------------------------------------------------------------------------------------------


@pytest.mark.cross
@pytest.mark.valgrind
def test_a_hit_does_not_reach_the_upstream(pair):
    """Each client has its own ID, spelling and OPT, over UDP and TCP."""
    program, server = pair()
    assert program.udp(query("www.example.")).answers
    for number in range(20):
        name = "".join(c.upper() if number >> i % 5 & 1 else c for i, c in enumerate("www.example."))
        asked = query(name, id=number * 997, opt=number % 2 == 1)
        reply = program.ask(asked, over="tcp" if number % 3 == 0 else "udp")
        assert (reply.id, reply.question_wire) == (number * 997, wire.Message(asked).question_wire)
        assert [r.rdata for r in reply.answers] == [IP]
        assert bool(reply.opt) == bool(number % 2)
        assert not reply.flags & wire.AA
    assert len(server.queries) == 1


def test_a_hundred_hits_of_one_connection(pair):
    program, server = pair()
    with program.tcp() as client:
        assert client.ask(query("www.example.")).answers
        for number in range(100):
            client.send(query("www.example.", id=number))
        assert sorted(client.receive().id for _ in range(100)) == list(range(100))
    assert len(server.queries) == 1


@pytest.mark.cross
def test_the_ttl_goes_down(pair):
    program, server = pair(Says(ttl=300))
    began = time.monotonic()
    assert program.udp(query("www.example.")).answers[0].ttl == 300
    kept = time.monotonic()

    def aged():
        asked = time.monotonic()
        ttl = program.udp(query("www.example.")).answers[0].ttl
        # Whole seconds, from the whole second in which it came.
        assert 300 - (time.monotonic() - began) - 1 <= ttl <= 300 - (asked - kept) + 1
        return ttl <= 298

    until(aged)
    assert len(server.queries) == 1


def test_an_expired_answer_is_asked_for_again(pair):
    program, server = pair(Says(ttl=1))

    def asked_again():
        reply = program.udp(query("www.example.", opt=True))
        assert (reply.answers[0].ttl, reply.ede) == (1, [])
        return len(server.queries) >= 3

    until(asked_again)


def test_ttls_are_kept_within_bounds(pair):
    program, _ = pair(Says(ttl=5), cache__min_ttl=100)
    assert program.udp(query("www.example.")).answers[0].ttl == 5  # as it came
    assert 95 <= program.udp(query("www.example.")).answers[0].ttl <= 100
    program, _ = pair(Says(ttl=500), cache__max_ttl=60)
    program.udp(query("www.example."))
    assert 55 <= program.udp(query("www.example.")).answers[0].ttl <= 60


def test_an_answer_from_the_cache_fits_the_client(pair):
    """RFC 2181 section 9: who gets a part of it is told so, and can have the whole."""

    def long(connection):
        while asked := connection.query():
            connection.send_message(answer_of_size(asked.wire, 1100, opt=opt_record() if asked.opt else None))

    program, server = pair(long)
    with program.tcp() as client:
        whole = client.ask(query("www.example.", "TXT"))
        assert len(whole.answers) == 10
        cut = program.udp(query("www.example.", "TXT"))
        assert cut.flags & TC and not cut.answers and len(cut.wire) <= 512
        assert len(program.udp(query("www.example.", "TXT", opt=True)).answers) == 10
        assert len(client.ask(query("www.example.", "TXT")).answers) == 10
    assert len(server.queries) == 1


def test_who_is_not_allowed_is_refused_what_is_kept(pair):
    program, server = pair(dnproxy__allow=["127.0.0.2/32"])
    assert program.udp(query("www.example."), source="127.0.0.2").answers
    reply = program.udp(query("www.example.", opt=True), source="127.0.0.3")
    assert (reply.rcode, reply.ede, reply.answers) == (REFUSED, [PROHIBITED], [])
    assert len(server.queries) == 1


def test_a_real_server_is_asked_once(dnproxy, leaf, needs, tmp_path):
    server = servers.Unbound(tmp_path, leaf, needs)
    try:
        program = dnproxy(server, cache__size=512)
        assert program.udp(query("www.example.test.")).answers
        assert program.udp(query("big.example.test.", "TXT")).flags & TC
    finally:
        server.stop()
    assert program.udp(query("www.example.test.")).answers
    with program.tcp() as client:
        assert len(client.ask(query("big.example.test.", "TXT")).answers) == len(servers.BIG)
    assert counters(program)["cached"] == 2


# ---- Who asks the same, and who does not ------------------------------------------------------------


def test_different_flags_never_mix(pair):
    """RFC 4035 section 4.7: what was not checked is not given to who wants it checked; nor what lacks
    signatures to who wants them."""

    def marks(connection):
        while asked := connection.query():
            mark = struct.pack("!HH", asked.flags & (RD | AD | CD), bool(asked.dnssec_ok))
            opt = opt_record(do=asked.dnssec_ok) if asked.opt else None
            connection.send_message(answer(asked.wire, records=[record("A", mark)], flags=RA | AD, opt=opt))

    program, server = pair(marks)
    kinds = [(RD | ad | cd, do) for ad in (0, AD) for cd in (0, CD) for do in (False, True)]
    for _ in range(3):
        for flags, do in kinds:
            reply = program.udp(query("www.example.", flags=flags, opt=opt_record(do=True) if do else None))
            said, with_do = struct.unpack("!HH", reply.answers[0].rdata)
            assert (said & (RD | CD), bool(with_do)) == (flags & (RD | CD), do)
            # Who sets DO has asked for AD as well (RFC 6840 section 5.7).
            assert do or said & AD == flags & AD
            assert bool(reply.flags & AD) == (do or bool(flags & AD))
    assert len(server.queries) == 6


NO_PART = {
    "client subnet": dict(opt=opt_record(options=[(ECS, b"\0\1\x18\0\xc0\0\2")])),
    "additional record": dict(additional=[record("A", bytes(4))]),
    "no RD": dict(flags=0),
    "class CH": dict(rdclass=3),
    "type ANY": dict(kind=255),
    "TKEY": dict(kind=249),
}


@pytest.mark.parametrize("odd", NO_PART)
def test_odd_queries_have_no_part_in_it(pair, odd):
    program, server = pair()
    assert program.udp(query("www.example.")).answers
    for number in range(2, 4):
        assert program.udp(query("www.example.", **NO_PART[odd])).rcode == 0
        assert len(server.queries) == number
    assert program.udp(query("www.example.")).answers
    assert len(server.queries) == 3


NOT_KEPT = {
    "truncated": dict(flags=RA | TC),
    "TTL 0": dict(records=[record("A", IP, ttl=0)]),
    "scope": dict(opt=opt_record(options=[(ECS, b"\0\1\0\x18")])),
    "no SOA": dict(records=[], rcode=NXDOMAIN),
    "FORMERR": dict(records=[], rcode=1, opt=opt_record()),
}


@pytest.mark.parametrize("odd", NOT_KEPT)
def test_odd_answers_are_not_kept(pair, odd):
    def says(connection):
        while asked := connection.query():
            connection.send_message(answer(asked.wire, **{"records": [record("A", IP)], **NOT_KEPT[odd]}))

    program, server = pair(says)
    for number in range(1, 4):
        program.udp(query("www.example.", opt=True))
        assert len(server.queries) == number


def test_below_a_name_that_does_not_exist_is_none(pair):
    """RFC 8020, RFC 2308 section 5."""
    program, server = pair()
    assert program.udp(query("no.example.")).rcode == NXDOMAIN
    for name, kind in [("no.example.", "AAAA"), ("www.NO.example.", "A"), ("a.b.c.no.example.", "TXT")]:
        reply = program.udp(query(name, kind))
        assert (reply.rcode, reply.name) == (NXDOMAIN, name)
        assert [r.type for r in reply.records] == [6] and 295 <= reply.records[0].ttl <= 300
    assert len(server.queries) == 1
    assert program.udp(query("nono.example.")).rcode == 0
    assert program.udp(query("example.")).rcode == 0
    assert program.udp(query("no.example.", flags=RD | CD)).rcode == NXDOMAIN
    assert len(server.queries) == 4


def test_a_failure_is_remembered_for_seconds(pair):
    """RFC 9520 section 3.2; RFC 8914 section 4.14 for who can read it."""

    def fails(connection):
        while asked := connection.query():
            connection.send_message(answer(asked.wire, rcode=SERVFAIL, opt=opt_record() if asked.opt else None))

    program, server = pair(fails)
    assert program.udp(query("www.example.", opt=True)).ede == []
    reply = program.udp(query("www.example.", opt=True))
    assert (reply.rcode, reply.ede) == (SERVFAIL, [CACHED_ERROR])
    assert program.udp(query("www.example.")).rcode == SERVFAIL
    assert len(server.queries) == 1
    until(lambda: program.udp(query("www.example.", opt=True)).ede == [])
    assert 4.0 < server.queries[1].time - server.queries[0].time


# ---- Stale answers ---------------------------------------------------------------------------------


def kdig(program, *args):
    path = shutil.which("kdig")
    assert path, "kdig is missing: run `make deps`"
    command = [path, f"@{program.host}", "-p", str(program.port), "+retry=0", f"+time={int(5 * SLOW)}", *args]
    return subprocess.run(command, capture_output=True, text=True, timeout=30 * SLOW, check=True).stdout


def test_while_the_upstream_is_gone_answers_are_stale(pair):
    """RFC 8767: with a TTL of 30, and marked as such; the second client does not wait."""
    program, server = pair(Says(ttl=1))
    for name in ("www.example.", "no.example."):
        assert program.udp(query(name)).records[0].ttl == 1
    server.kill()
    began = time.monotonic()
    reply = when_stale(program, query("www.example.", opt=True))
    assert time.monotonic() - began < 4.5 * SLOW
    assert (reply.rcode, reply.answers[0].ttl, reply.answers[0].rdata, reply.ede) == (0, 30, IP, [STALE])
    began = time.monotonic()
    for over in ("udp", "tcp"):
        reply = program.ask(query("www.example."), over=over)
        assert (reply.answers[0].ttl, reply.opt) == (30, None)
    assert time.monotonic() - began < 1.0 * SLOW
    assert "EDE: 3 (Stale Answer)" in kdig(program, "+edns", "+noadflag", "www.example.")
    reply = when_stale(program, query("no.example.", opt=True))
    assert (reply.rcode, reply.records[0].ttl, reply.ede) == (NXDOMAIN, 30, [STALE_NXDOMAIN])
    # What was never asked for cannot be had.
    assert program.udp(query("other.example.")).rcode == SERVFAIL


def test_it_is_fresh_again_when_the_upstream_is_back(unkind, dnproxy):
    """At once: what could not be asked is not counted as a refresh that failed."""
    says = Says(ttl=1)
    server = unkind(says)
    program = dnproxy(server, cache__size=512)
    names = ("one.example.", "two.example.")
    for name in names:
        assert program.udp(query(name)).answers
    server.kill()
    for name in names:
        when_stale(program, query(name, opt=True))
    unkind(says, port=server.port)
    for name in names:
        until(lambda: program.udp(query(name, opt=True)).ede == [], timeout=20)


def test_a_real_server_that_is_stopped(dnproxy, leaf, needs, tmp_path):
    server = servers.Unbound(tmp_path, leaf, needs)
    try:
        program = dnproxy(server, cache__size=512, cache__max_ttl=1)
        assert program.udp(query("www.example.test.")).answers
    finally:
        server.stop()
    reply = when_stale(program, query("www.example.test.", opt=True))
    assert reply.answers[0].rdata == bytes(map(int, servers.ADDRESS.split(".")))


def test_a_slow_upstream_is_waited_for_1800_ms(pair):
    """RFC 8767 section 5.  Its late answer is for those who ask next."""
    says = Says(ttl=1)
    program, server = pair(says)
    asked = query("slow.example.", opt=True)
    assert program.udp(asked).ede == []
    says.go.clear()
    says.ttl = 300
    while True:
        began = time.monotonic()
        reply = program.udp(asked)
        took = time.monotonic() - began
        if reply.ede:
            break
    assert (reply.ede, reply.answers[0].ttl) == ([STALE], 30)
    assert BRIEF_S - 0.05 <= took <= BRIEF_S + 0.5 * SLOW
    began = time.monotonic()
    assert program.udp(asked).ede == [STALE]
    assert time.monotonic() - began < 1.0 * SLOW
    count = len(server.queries)
    says.go.set()
    reply = until(lambda: (r := program.udp(asked)).ede == [] and r)
    assert 290 <= reply.answers[0].ttl <= 300
    assert len(server.queries) == count


@pytest.mark.parametrize("rcode", [SERVFAIL, REFUSED])
def test_when_the_upstream_fails_it_is_stale_at_once(pair, rcode):
    class Fails(Says):
        failing = False

        def make(self, asked):
            return answer(asked.wire, rcode=rcode, opt=opt_record()) if self.failing else super().make(asked)

    says = Fails(ttl=1)
    program, server = pair(says)
    assert program.udp(query("www.example.", opt=True)).answers
    says.failing = True
    assert when_stale(program, query("www.example.", opt=True)).answers[0].ttl == 30
    count = len(server.queries)
    began = time.monotonic()
    for _ in range(5):
        assert program.udp(query("www.example.", opt=True)).ede == [STALE]
    assert time.monotonic() - began < BRIEF_S * SLOW
    assert len(server.queries) == count


def test_without_stale_there_is_no_answer(pair):
    program, server = pair(Says(ttl=1), cache__stale=0)
    assert program.udp(query("www.example.", opt=True)).answers
    server.kill()
    reply = until(lambda: (r := program.udp(query("www.example.", opt=True))).rcode == SERVFAIL and r)
    assert reply.ede and set(reply.ede) <= {22, 23}


# ---- Prefetching -----------------------------------------------------------------------------------


def ask_for_one_life(program, server, ttl):
    """Asks ten times a second, until the server has been asked again; nobody waits for that."""
    asked = query("slow.example.", opt=True)
    deadline = time.monotonic() + (ttl + 5) * SLOW
    while len(server.queries) < 2:
        assert time.monotonic() < deadline
        began = time.monotonic()
        reply = program.udp(asked)
        if time.monotonic() - began > 0.5 * SLOW or reply.answers[0].ttl > ttl:
            return False
        time.sleep(0.1)
    return True


def test_what_is_asked_often_is_refreshed_before_it_expires(pair):
    """Once, and without a delay for those who ask meanwhile: the upstream takes its time."""

    def attempt():
        says = Says(ttl=10)
        program, server = pair(says)
        assert program.udp(query("slow.example.")).answers
        says.go.clear()
        if not ask_for_one_life(program, server, 10) or program.udp(query("slow.example.")).answers[0].ttl > 1:
            says.go.set()
            return False
        says.go.set()
        until(lambda: program.udp(query("slow.example.")).answers[0].ttl >= 8)
        assert len(server.queries) == 2
        said = counters(program)
        return said["refreshed"] == 1 and said["gone"] == 1

    assert any(attempt() for _ in range(3))


def test_without_prefetch_nothing_is_refreshed(pair):
    program, server = pair(Says(ttl=10), cache__prefetch=False)
    assert program.udp(query("slow.example.")).answers
    ask_for_one_life(program, server, 10)
    assert len(server.queries) == 2
    assert counters(program)["refreshed"] == 0


# ---- Size ------------------------------------------------------------------------------------------


def test_size_0_keeps_nothing(pair):
    program, server = pair(cache__size=0)
    for number in range(1, 6):
        assert program.udp(query("www.example.")).answers
        assert len(server.queries) == number
    said = counters(program)
    assert (said["answered"], said["cached"], said["kept"], said["stale"]) == (5, 0, 0, 0)


def test_the_counters_tell_of_hits(pair):
    """SIGUSR1."""
    program, server = pair()
    for _ in range(7):
        program.udp(query("www.example."))
    program.udp(query("other.example."))
    said = counters(program)
    assert (said["asked"], said["answered"], said["cached"]) == (8, 8, 6)
    assert (said["kept"], said["evicted"], said["stale"], said["open"]) == (2, 0, 0, 0)
    assert len(server.queries) == 2


def test_a_hit_is_in_the_query_log(pair):
    program, _ = pair(log__queries=True)
    program.udp(query("www.example."))
    program.udp(query("www.example.", id=77))
    program.wait_log(r"id 77 www\.example\. A: NOERROR, 1 answers, cache, 0 ms")


def test_answers_stay_when_connections_are_made_anew(pair):
    """SIGUSR2."""
    program, server = pair()
    assert program.udp(query("www.example.")).answers
    program.process.send_signal(signal.SIGUSR2)
    program.wait_log("SIGUSR2")
    assert program.udp(query("www.example.")).answers
    assert len(server.queries) == 1


def fill(program, names, window=32):
    """Asks for so many names, some at a time."""
    with Udp(program.address) as client:
        for number in range(names + window):
            if number >= window:
                client.receive()
            if number < names:
                client.send(query(f"name{number}.example.", "TXT", id=number % 65536))


def test_memory_stays_within_its_size(pair):
    """Six times as much is asked for as there is room for."""

    def long(connection):
        while asked := connection.query():
            connection.send_message(answer_of_size(asked.wire, 1000))

    program, server = pair(long, cache__size=1024)
    fill(program, 200)
    before = program.resident()
    fill(program, 6000)
    said = counters(program)
    assert said["kept"] >= 6000 and said["evicted"] >= 4500
    assert program.resident() - before < 1024 * 1024 * SLOW + 256 * 1024
    # It still serves: what was asked for last is there.
    count = len(server.queries)
    assert program.udp(query("name5999.example.", "TXT")).rcode == 0
    assert len(server.queries) == count


def test_a_gibibyte_is_touched_as_it_fills(pair):
    program, server = pair(cache__size=1048576)
    small, _ = pair(cache__size=64)
    for one in (program, small):
        for _ in range(3):
            assert one.udp(query("www.example.")).answers
    assert len(server.queries) == 1
    assert program.resident() - small.resident() < 1024 * 1024 * SLOW
