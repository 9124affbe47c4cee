# SPDX-License-Identifier: MIT
"""A peer that is silent: behind a NAT that forgot, behind a path that drops, or stopped itself."""

import statistics
import time

import pytest
from asker import Asker, assert_all_good
from lab import BACK, HANDSHAKE, LONG, OTHER, at_once, normal

ROUNDS = 3


def cut_path(here, _first):
    here.silence(0)


def forget_connection(here, first):
    here.forget(first)


def stop_process(_here, first):
    first.pause()


FAULTS = {
    "the path drops all": (cut_path, 0),
    "the path drops all, after a rest": (cut_path, 2.0),
    "a NAT forgot the connection": (forget_connection, 0),
    "a NAT forgot the connection, after a rest": (forget_connection, 2.0),
    "the path drops all, policy fastest": (cut_path, 0),
    "the server's process stands still": (stop_process, 0),
    "the server's process stands still, after a rest": (stop_process, 2.0),
}


@pytest.mark.takes(7)
@pytest.mark.parametrize("name", FAULTS)
def test_with_a_second_upstream_a_silent_one_delays_no_answer_above_the_bound(lab, needs, measured, name):
    fault, rest = FAULTS[name]

    def one(number):
        with lab(hosts=2) as here:
            first = here.resolver(needs) if fault is stop_process else here.server(0)
            policy = "fastest" if "fastest" in name else "order"
            program = here.dnproxy(first, here.server(1), dnproxy__upstream_policy=policy)
            with Asker(program) as asker:
                asker.wait_good(10)
                time.sleep(0.033 * number)  # the fault falls between questions, not always alike
                if rest:
                    asker.rest()
                    time.sleep(rest)
                cut = time.monotonic()
                fault(here, first)
                asker.go_on()
                time.sleep(3.5)
                # By policy "fastest" the silent one may come to be asked later than that, or never.
                felt = next((a.sent for a in asker.since(cut) if a.took > normal(0.1)), cut)
                time.sleep(max(0, felt + 3.5 - time.monotonic()))
            assert_all_good(asker.asked)
            return asker.since(0, cut), asker.since(cut), asker.since(felt + 2)

    rounds = at_once(ROUNDS, one)
    assert all(before and later for before, _, later in rounds)
    measured(f"silent, second healthy, {name}: each answer", [a.took for _, all_, _ in rounds for a in all_], OTHER)
    later = [a.took for _, _, late in rounds for a in late]
    measured(f"silent, second healthy, {name}: from 2 s on", later)
    usual = statistics.median(a.took for before, _, _ in rounds for a in before)
    assert statistics.median(later) <= max(normal(), 3 * usual), "not at normal speed again"
    slow = [took for took in later if took > normal(0.1)]
    assert len(slow) <= len(later) / 10, f"{len(slow)} of {len(later)} are still slow: {slow}"


def test_an_upstream_whose_syns_are_dropped_from_the_start_delays_no_answer_above_the_bound(lab, measured):
    def one(number):
        with lab(hosts=2) as here:
            first, second = here.server(0), here.server(1)
            here.silence(0)
            program = here.dnproxy(first, second)
            time.sleep(0.033 * number)
            began = time.monotonic()
            with Asker(program) as asker:
                time.sleep(5)
            assert_all_good(asker.asked)
            assert not first.connections
            return asker.asked, asker.since(began + 2)

    rounds = at_once(ROUNDS, one)
    measured("silent from the start, second healthy: each answer", [a.took for all_, _ in rounds for a in all_], OTHER)
    later = [a.took for _, late in rounds for a in late]
    measured("silent from the start, second healthy: from 2 s on", later)
    assert statistics.median(later) <= normal()


OUTAGES = [3, 7, 20, *([60] if LONG else [])]


@pytest.mark.parametrize("seconds", [pytest.param(n, marks=pytest.mark.takes(n + 4)) for n in OUTAGES])
@pytest.mark.parametrize("way", ["drops", "refuses"])
def test_the_only_upstream_answers_within_a_second_of_its_return(lab, measured, way, seconds):
    def one(number):
        with lab() as here:
            server = here.server()
            program = here.dnproxy(server)
            with Asker(program) as asker:
                asker.wait_good(10)
                if way == "drops":
                    here.silence()
                else:
                    server.kill()
                time.sleep(seconds + 0.37 * number)  # another moment of any back-off each time
                back = time.monotonic()
                if way == "drops":
                    here.heal()
                else:
                    here.server()
                time.sleep(2.5)
            later = asker.since(back + 1)
            assert_all_good(later)
            return asker.first_good(back), [a.took for a in later]

    rounds = at_once(ROUNDS, one)
    bound = BACK if way == "drops" else BACK + HANDSHAKE
    measured(f"only upstream {way} for {seconds} s: first answer after its return", [r[0] for r in rounds], bound)
    assert statistics.median(took for _, later in rounds for took in later) <= normal()


@pytest.mark.takes(11)
def test_the_only_upstream_that_stood_still_answers_within_a_second_of_going_on(lab, needs, measured):
    def one(number):
        with lab() as here:
            server = here.resolver(needs)
            program = here.dnproxy(server)
            with Asker(program) as asker:
                asker.wait_good(10)
                server.pause()
                time.sleep(7 + 0.37 * number)
                back = time.monotonic()
                server.go_on()
                time.sleep(2.5)
            assert_all_good(asker.since(back + 1))
            return asker.first_good(back)

    measured("only upstream stands still for 7 s: first answer after that", at_once(ROUNDS, one), BACK)


@pytest.mark.takes(12)
@pytest.mark.parametrize("which", [0, 1])
def test_when_one_of_two_that_were_down_returns_it_is_found_in_its_turn(lab, measured, which):
    """While all rest, one attempt a second goes to one of them."""

    def one(number):
        with lab(hosts=2) as here:
            servers = [here.server(0), here.server(1)]
            program = here.dnproxy()
            with Asker(program) as asker:
                asker.wait_good(10)
                for server in servers:
                    server.kill()
                time.sleep(7 + 0.37 * number)
                back = time.monotonic()
                here.server(which)
                time.sleep(3)
            assert_all_good(asker.since(back + 2.2))
            return asker.first_good(back)

    ordinal = ["first", "second"][which]
    measured(f"both upstreams down for 7 s, the {ordinal} returns: first answer", at_once(ROUNDS, one), 2.1)
