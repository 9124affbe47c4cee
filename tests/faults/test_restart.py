# SPDX-License-Identifier: MIT
"""Upstreams that are killed and started again, or that are not there yet."""

import socket
import threading
import time

import pytest
from asker import Asker, Crowd, assert_all_good, wait_for
from client import Tcp
from lab import at_once, hoard
from patience import SLOW
from wire import Message, query, usual_answer

COUNT = 500
SERVES = 1.0 + 0.1 * SLOW  # one attempt a second, and a handshake


@pytest.mark.parametrize("away", [0.3, 1.5])
def test_500_queries_in_flight_survive_the_restart_of_their_upstream(lab, measured, away):
    """The scripted server has taken all of them when it is killed."""

    def one(_number):
        def answers_once(connection):
            connection.answer(connection.query())
            hoard(connection)

        with lab() as here:
            server = here.server(handler=answers_once)
            program = here.dnproxy(server)
            assert program.udp(query()).rcode == 0
            crowd = Crowd(program, COUNT)
            server.wait_queries(1 + COUNT)
            server.kill()
            time.sleep(away)
            back = time.monotonic()
            again = here.server()
            asked = crowd.wait()
            assert_all_good(asked)
            assert len(again.queries) >= COUNT
            return max(a.answered for a in asked) - back

    took = at_once(2, one)
    measured(f"{COUNT} in flight, restart after {away} s: last answer after its return", took, 2.0, slow=True)


class SlowZone:
    """A plain DNS server that holds back all answers until it is told otherwise."""

    def __init__(self, host):
        self.held = []
        self.open = threading.Event()
        with host.inside():
            self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
            self.sock.bind(("127.0.0.1", 0))
        self.address = "127.0.0.1@%d" % self.sock.getsockname()[1]
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self):
        while True:
            try:
                octets, peer = self.sock.recvfrom(4096)
            except OSError:
                return
            if self.open.is_set():
                self.sock.sendto(usual_answer(octets), peer)
            else:
                self.held.append(Message(octets).name.lower())

    def close(self):
        self.sock.close()


def test_500_queries_in_flight_survive_the_restart_of_unbound(lab, needs, measured):
    """It forwards to a server that does not answer yet, and is killed; to start takes it some time as well."""
    with lab() as here:
        zone = SlowZone(here.hosts[0])
        server = here.resolver(needs, forward=zone.address)
        program = here.dnproxy(server)
        assert program.udp(query("www.example.test.")).rcode == 0
        crowd = Crowd(program, COUNT, zone="example.net.")
        # unbound works on so many of one connection; the others lie in its socket.
        wait_for(lambda: len(set(zone.held)) >= 30, 5)
        server.kill()
        gone = time.monotonic()
        time.sleep(0.3)
        zone.open.set()
        server.start_again()
        back = time.monotonic()
        asked = crowd.wait()
        zone.close()
        assert_all_good(asked)
    took = max(a.answered for a in asked) - back
    measured(f"{COUNT} in flight, unbound killed: away", [back - gone])
    measured(f"{COUNT} in flight, unbound killed: last answer after its return", [took], 2.5, slow=True)


def refused(_here):
    return lambda here: here.server()


def dropped(here):
    here.server()
    here.silence()
    return lambda here: here.heal()


def no_route(here):
    here.server()
    here.lose_route()
    return lambda here: here.find_route()


def no_link(here):
    here.server()
    here.lose_link()
    return lambda here: here.connect_home()


@pytest.mark.takes(8)
@pytest.mark.parametrize("down", [refused, dropped, no_route, no_link], ids=lambda f: f.__name__)
def test_started_before_its_upstream_it_listens_at_once_and_serves_soon_after(lab, measured, down):
    def one(number):
        with lab() as here:
            up = down(here)
            began = time.monotonic()
            program = here.dnproxy()
            assert time.monotonic() - began < 1 * SLOW, "listens late"
            Tcp(program.address).close()
            with Asker(program) as asker:
                time.sleep(4 + 0.37 * number)
                back = time.monotonic()
                up(here)
                time.sleep(2.5)
            assert_all_good(asker.since(back + 1))
            early = asker.since(0, back - 4)
            assert all(a.answered for a in asker.asked), "silence instead of SERVFAIL"
            assert not any(a.good for a in early if a.answered < back)
            return asker.first_good(back)

    measured(f"started with the upstream down ({down.__name__}): first answer when it is up", at_once(3, one), SERVES)


def test_a_query_asked_while_the_upstream_starts_is_answered_by_it(lab, measured):
    """One single query, without others that would trigger further attempts in between."""

    def one(number):
        with lab() as here:
            program = here.dnproxy()
            crowd = Crowd(program, 1)
            time.sleep(1 + 0.3 * number)
            back = time.monotonic()
            here.server()
            asked = crowd.wait()
            assert_all_good(asked)
            return asked[0].answered - back

    measured("one query, asked 1 to 2 s before the upstream is up: answer", at_once(4, one), 0.2 + SERVES)


def test_settings_with_an_upstream_that_is_down_are_good_settings(lab):
    with lab() as here:
        program = here.dnproxy()
        assert program.udp(query(), timeout=6).rcode == 2
