# SPDX-License-Identifier: MIT
"""Upstreams that answer, but with SERVFAIL or REFUSED."""

import time

import pytest
from lab import normal
from wire import NOERROR, NXDOMAIN, REFUSED, SERVFAIL, query


def says(rcode):
    def handler(connection):
        while asked := connection.query():
            connection.answer(asked, rcode=rcode, records=[])

    return handler


def ask_all(program, count=10):
    """Returns the RCODEs, and the seconds each took."""
    rcodes, times = [], []
    for number in range(count):
        began = time.monotonic()
        rcodes.append(program.udp(query(f"n{number}.example.", id=number)).rcode)
        times.append(time.monotonic() - began)
    return rcodes, times


@pytest.mark.parametrize("rcode", [SERVFAIL, REFUSED])
def test_what_one_upstream_cannot_answer_another_is_asked_for(lab, measured, rcode):
    with lab(hosts=2) as here:
        first, second = here.server(0, handler=says(rcode)), here.server(1)
        rcodes, times = ask_all(here.dnproxy(first, second))
        assert rcodes == [NOERROR] * 10
        assert first.queries and len(second.queries) == 10
        assert len(first.queries) <= 10
    measured(f"first upstream says RCODE {rcode}: answer of the second", times, normal(0.25))


def test_when_no_upstream_can_answer_the_client_is_told_at_once(lab, measured):
    with lab(hosts=2) as here:
        first, second = here.server(0, handler=says(SERVFAIL)), here.server(1, handler=says(SERVFAIL))
        rcodes, times = ask_all(here.dnproxy(first, second))
        assert rcodes == [SERVFAIL] * 10
        asked = [q.name for q in first.queries + second.queries]
        assert all(2 <= asked.count(name) <= 3 for name in set(asked)) and len(set(asked)) == 10
    measured("both upstreams say SERVFAIL: until the client knows", times, normal(0.25))


def test_the_servfail_of_the_only_upstream_is_passed_on_at_once(lab, measured):
    with lab() as here:
        rcodes, times = ask_all(here.dnproxy(here.server(handler=says(SERVFAIL))))
        assert rcodes == [SERVFAIL] * 10
    measured("the only upstream says SERVFAIL: until the client knows", times, normal(0.25))


def test_that_a_name_does_not_exist_is_a_final_answer(lab):
    with lab(hosts=2) as here:
        first, second = here.server(0, handler=says(NXDOMAIN)), here.server(1)
        rcodes, _ = ask_all(here.dnproxy(first, second))
        assert rcodes == [NXDOMAIN] * 10
        assert len(first.queries) == 10 and not second.queries
