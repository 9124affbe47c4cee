# SPDX-License-Identifier: MIT
"""A router without a clock: what a wrong clock may change, and what it may not.

The program that is shipped is static, and nothing can stand between it and its clock; so these tests run
the same sources linked to the system's C library (DNPROXY_DYNAMIC), with libfaketime in between."""

import os
import time
from pathlib import Path

import certs
import program
import pytest

from patience import ROOT
from test_certificates import EXPIRED, TOO_EARLY
from test_upstream import ASK, assert_only_tls
from wire import query

NAME = "dns.test"
DYNAMIC = os.environ.get("DNPROXY_DYNAMIC", str(ROOT / "build" / "test" / "dnproxy"))
FAKETIME = "libfaketime.so.1"
WARNING = "the clock stands before"
YEARS = 20 * 365


@pytest.fixture
def at(stage, monkeypatch, tmp_path):
    """at(clock, server, ...) starts the program with the clock at "@1970-01-01 ..." or so many days off;
    its .set_clock() changes it."""
    found = [p for p in Path("/usr/lib").glob(f"*/faketime/{FAKETIME}")]
    assert found, "libfaketime is missing: run `make deps`"
    assert os.access(DYNAMIC, os.X_OK), f"{DYNAMIC}: run `make build/test/dnproxy` first"
    monkeypatch.setattr(program, "PROGRAM", DYNAMIC)
    monkeypatch.setattr(program, "WRAP", [])
    clock = tmp_path / "clock"

    def set_clock(words):
        new = clock.with_suffix(".new")
        new.write_text(words)
        new.rename(clock)

    def start(words, *servers, **more):
        set_clock(words)
        env = {"LD_PRELOAD": str(found[0]), "FAKETIME_TIMESTAMP_FILE": str(clock), "FAKETIME_NO_CACHE": "1",
               "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
        started = stage.dnproxy(*servers, env=env, **more)
        started.set_clock = set_clock
        return started

    return start


IN_1970 = "@1970-01-01 00:10:00"
NEXT_WEEK, SINCE_YESTERDAY, UNTIL_YESTERDAY = (7, 30), (-1, 30), (-30, -1)


def refused(at_work, server, reason):
    with at_work.tcp() as client:
        client.send(ASK)
        at_work.wait_log(reason)
        time.sleep(0.02)
    assert server.queries == []
    for connection in server.connections:
        assert_only_tls(connection.raw, application_data=False)


@pytest.mark.parametrize("days", [SINCE_YESTERDAY, NEXT_WEEK])
def test_without_a_clock_a_validity_start_does_not_matter(unkind, at, ca, days):
    """Chain, name and key are as good as ever; the warning comes once."""
    server = unkind(certificate=ca.leaf(NAME, days=days))
    at_work = at(IN_1970, server)
    for number in range(3):
        assert at_work.udp(query(id=number)).rcode == 0
    assert at_work.log.count(WARNING) == 1


def test_with_a_clock_it_does(unkind, at, ca):
    server = unkind(certificate=ca.leaf(NAME, days=NEXT_WEEK))
    at_work = at("+0", server)
    refused(at_work, server, TOO_EARLY)
    assert WARNING not in at_work.log


def test_a_strict_clock_does_not_know_mercy(unkind, at, ca):
    server = unkind(certificate=ca.leaf(NAME, days=NEXT_WEEK))
    at_work = at(IN_1970, server, tls__clock="strict")
    refused(at_work, server, TOO_EARLY)
    assert WARNING not in at_work.log


BAD = {
    "expired before the program was made": (lambda ca: ca.leaf(NAME, days=UNTIL_YESTERDAY), EXPIRED),
    "wrong name": (lambda ca: ca.leaf("other.test", days=NEXT_WEEK), "does not name"),
    "unknown root": (lambda ca: certs.Authority(ca.directory, "Other").leaf(NAME, days=NEXT_WEEK), "anchor"),
}


@pytest.mark.parametrize("make, reason", BAD.values(), ids=BAD.keys())
def test_without_a_clock_all_else_is_verified(unkind, at, ca, make, reason):
    server = unkind(certificate=make(ca))
    refused(at(IN_1970, server), server, reason)


def test_once_the_clock_is_set_the_mercy_ends(unkind, at, ca):
    """Also for the connection that stands, and for the session and certificate known from it."""
    server = unkind(certificate=ca.leaf(NAME, days=NEXT_WEEK))
    at_work = at(IN_1970, server)
    assert at_work.udp(query()).rcode == 0
    at_work.set_clock("+0")
    before = len(server.queries)
    with at_work.tcp() as client:
        client.send(ASK)
        at_work.wait_log("the clock is set")
        at_work.wait_log(TOO_EARLY)
    assert len(server.queries) <= before + 1  # the one that told it the time may have been sent before


def test_once_the_clock_is_set_a_good_upstream_goes_on(unkind, at):
    server = unkind()
    at_work = at(IN_1970, server)
    assert at_work.udp(query()).rcode == 0
    at_work.set_clock("+0")
    for number in range(3):
        assert at_work.udp(query(id=number)).rcode == 0
    at_work.wait_log("the clock is set")
    assert "resting" not in at_work.log


def test_twenty_years_ahead_nothing_is_valid_any_more(unkind, at):
    server = unkind()
    refused(at(f"+{YEARS}d", server), server, EXPIRED)


@pytest.mark.parametrize("clock", [IN_1970, f"+{YEARS}d"])
def test_a_pinned_server_key_needs_no_clock(unkind, at, leaf, clock):
    server = unkind()
    entry = {"ip": server.host, "port": server.port, "pins": [leaf.pin]}
    program_at = at(clock, entry, tls__trust_anchors="")
    assert program_at.udp(query()).rcode == 0
