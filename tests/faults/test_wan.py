# SPDX-License-Identifier: MIT
"""The way into the internet is gone, and comes back: with another address, another route, another NAT."""

import signal
import threading
import time

import pytest
from asker import Asker, Crowd, assert_all_good
from lab import BACK, LONG, NEW_HOME, at_once, hoard, normal, serve
from wire import query

DOWN = 600 if LONG else 15
ROUNDS = 3


def route_gone(here, _server):
    here.lose_route()


def route_back(here):
    here.change_address()


def link_gone(here, _server):
    here.lose_link()


def link_back(here):
    here.connect_home(NEW_HOME)


def router_says_no(here, _server):
    """What a router says whose own line is down."""
    here.router.ip("route add unreachable 10.53.1.0/24 metric 1", "addr flush dev dmz1")


def router_says_yes(here):
    here.router.ip("route del unreachable 10.53.1.0/24 metric 1", "addr add 10.53.1.1/24 dev dmz1")


def nat_gone(here, server):
    here.forget(server)
    here.silence()


def nat_back(here):
    """The connections of before stay forgotten, everything else goes through."""
    rules = here.router.rules("lost")
    here.heal()
    for rule in rules:
        if "tcp" in rule:
            here.router.nft(f"add rule inet faults lost {rule}\n")


FAULTS = {
    "no route, new address": (route_gone, route_back),
    "link down, new address": (link_gone, link_back),
    "router's line down": (router_says_no, router_says_yes),
    "silence, NAT forgot": (nat_gone, nat_back),
}


@pytest.mark.takes(DOWN + 4)
@pytest.mark.parametrize("name", FAULTS)
def test_after_the_wan_was_down_the_first_answer_comes_within_a_second(lab, measured, name):
    gone, back = FAULTS[name]

    def one(number):
        """Asked all the time; the last round first asks when the way is there again."""
        with lab() as here:
            server = here.server()
            program = here.dnproxy(server)
            with Asker(program) as asker:
                asker.wait_good(10)
                if number == ROUNDS - 1:
                    asker.rest()
                gone(here, server)
                time.sleep(DOWN + 0.37 * number)
                asker.go_on()
                moment = time.monotonic()
                back(here)
                time.sleep(2.5)
            assert_all_good(asker.since(moment + 1))
            return asker.first_good(moment)

    measured(f"WAN down for {DOWN} s, {name}: first answer after its return", at_once(ROUNDS, one), BACK)


def test_sigusr2_drops_all_connections_and_asks_again_what_is_open(lab, measured):
    """Queries in flight are asked again over new connections and answered at once."""

    def one(_number):
        hoarded = threading.Event()

        def answers_only_later_connections(connection):
            serve(connection) if hoarded.is_set() else hoard(connection)

        with lab() as here:
            server = here.server(handler=answers_only_later_connections)
            program = here.dnproxy(server)
            crowd = Crowd(program, 50)
            server.wait_queries(50)
            hoarded.set()
            told = time.monotonic()
            program.process.send_signal(signal.SIGUSR2)
            asked = crowd.wait()
            assert_all_good(asked)
            assert all(c.closed.wait(2) for c in server.connections[:1]), "the old connection is still open"
            old = {q.connection.number for q in server.queries[:50]}
            assert old.isdisjoint(q.connection.number for q in server.queries[50:])
            assert len(server.connections) <= 1 + len(old), "more connections than before"
            return max(a.answered for a in asked) - told

    measured("SIGUSR2 with 50 in flight: until the last answer", at_once(3, one), 0.5, slow=True)


def test_sigusr2_without_queries_closes_and_the_next_query_opens_anew(lab):
    with lab(hosts=2) as here:
        first, second = here.server(0), here.server(1)
        program = here.dnproxy(first, second)
        assert program.udp(query()).rcode == 0
        program.process.send_signal(signal.SIGUSR2)
        assert first.connections[0].closed.wait(2)
        assert program.udp(query(id=7)).rcode == 0
        assert [len(s.connections) for s in (first, second)] == [2, 0], "a dropped connection is no failure"
        assert first.queries[1].connection is first.connections[1]


def test_a_new_address_and_sigusr2_as_a_hotplug_script_does_it_cost_no_more_than_a_handshake(lab, measured):
    def one(_number):
        with lab() as here:
            server = here.server()
            program = here.dnproxy(server)
            assert program.udp(query()).rcode == 0
            here.forget(server)
            here.change_address()
            told = time.monotonic()
            program.process.send_signal(signal.SIGUSR2)
            assert program.udp(query(id=7)).rcode == 0
            took = time.monotonic() - told
            assert server.connections[-1].sock.getpeername()[0] == NEW_HOME
            return took

    values = [took for _ in range(5) for took in at_once(3, one)]
    measured("new address, then SIGUSR2: first answer", values, normal(0.25))


@pytest.mark.takes(9)
def test_sigusr2_ends_the_rest_of_an_upstream(lab, measured):
    """A hot-plug script tells that the way is back: nobody waits for a timer then."""

    def one(number):
        with lab() as here:
            program = here.dnproxy()  # nobody listens: refused
            with Asker(program) as asker:
                time.sleep(5 + 0.23 * number)
                here.server()
                told = time.monotonic()
                program.process.send_signal(signal.SIGUSR2)
                time.sleep(1.5)
            return asker.first_good(told)

    measured("upstream back, then SIGUSR2: first answer", at_once(4, one), normal(0.3))
