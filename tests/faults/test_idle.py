# SPDX-License-Identifier: MIT
"""Servers that close idle connections, and queries that meet the close."""

import random
import statistics
import threading
import time

import pytest
from asker import wait_for
from lab import LONG, at_once, normal
from patience import SLOW
from wire import query

SCALE = 1 if LONG else 20
IDLE_TIMES = [1, 2, 5, 10, 30]
PROGRAMS, TRIES = 10, 5  # many programs, so that most have not learnt anything yet
JITTER = 0.02


def by_fin(connection):
    connection.fin()


def by_close_notify(connection):
    connection.close_notify()
    connection.fin()


def by_reset(connection):
    connection.reset()


WAYS = {"FIN": by_fin, "close_notify": by_close_notify, "RST": by_reset}


class Impatient:
    """A handler that closes what has been idle for so long.  .due is when it will, unless asked."""

    def __init__(self, seconds, close):
        self.seconds, self.close = seconds, close
        self.due = 0.0
        self.closed = 0  # how often it was the one who closed

    def __call__(self, connection):
        patience = self.seconds + 1  # scaled down, but not for what just comes: nobody closes at once
        while True:
            try:
                asked = connection.query(timeout=patience)
            except TimeoutError:
                self.closed += 1
                self.close(connection)
                return
            if not asked:
                return
            patience = self.seconds
            self.due = time.monotonic() + patience
            connection.answer(asked)


def aim(program, handler, tries, delay=0.0):
    """Asks again and again just when the server closes.  Returns the seconds each answer took."""
    times = []
    assert program.udp(query()).rcode == 0
    for number in range(tries):
        moment = handler.due - delay / 2 + random.uniform(-JITTER, JITTER)
        time.sleep(max(0.0, moment - time.monotonic()))
        began = time.monotonic()
        reply = program.udp(query(id=number))
        times.append(time.monotonic() - began)
        assert reply.rcode == 0, f"RCODE {reply.rcode} after {times[-1]:.3f} s"
    return times


@pytest.mark.takes(15)
@pytest.mark.parametrize("way", WAYS)
def test_no_query_fails_or_waits_when_it_meets_an_idle_close(lab, measured, way):
    with lab() as here:
        pairs = []
        for number in range(PROGRAMS * len(IDLE_TIMES)):
            handler = Impatient(IDLE_TIMES[number % len(IDLE_TIMES)] / SCALE, WAYS[way])
            pairs.append((here.dnproxy(here.server(handler=handler, port=0)), handler))

        def one(number):
            with here.home.inside():
                return aim(*pairs[number], TRIES)

        results = at_once(len(pairs), one)
    for idle in IDLE_TIMES:
        seconds = idle / SCALE
        times = [t for (_, handler), all_ in zip(pairs, results) if handler.seconds == seconds for t in all_]
        closed = sum(handler.closed for _, handler in pairs if handler.seconds == seconds)
        assert len(times) == PROGRAMS * TRIES
        assert closed >= PROGRAMS / 2 or seconds > 8, f"the server closed only {closed} times"
        measured(f"query aimed at the close by {way} after {seconds:g} s", times, 0.5, slow=True)
        assert statistics.median(times) <= normal(0.1)


@pytest.mark.parametrize("way", WAYS)
def test_over_a_long_way_a_query_that_meets_an_idle_close_waits_for_round_trips_only(lab, measured, way):
    """20 ms for there and back: TCP, TLS 1.2 and the query take four times that, a query that was lost on
    the old connection once more."""

    def one(_number):
        handler = Impatient(0.5, WAYS[way])
        with lab(delay=0.01) as here:
            program = here.dnproxy(here.server(handler=handler))
            return aim(program, handler, 10, delay=0.02)

    times = [took for all_ in at_once(5, one) for took in all_]
    measured(f"20 ms away, query aimed at the close by {way}", times, 0.4, slow=True)


@pytest.mark.takes(12)
def test_the_idle_time_of_an_upstream_is_learnt_and_used_to_close_first(lab):
    handler = Impatient(2.0, by_fin)
    with lab() as here:
        server = here.server(handler=handler)
        program = here.dnproxy(server)
        for number in range(6):
            assert program.udp(query(id=number)).rcode == 0
            connection = server.connections[-1]
            assert connection.closed.wait(4 * SLOW)
            wait_for(lambda c=connection: c.ended, 1)
        learnt = [c for c in server.connections if c.said_goodbye]
        assert server.connections[-1].said_goodbye and server.connections[-2].said_goodbye, (
            f"the program closed first {len(learnt)} times of {len(server.connections)}"
        )
        assert handler.closed <= 3
        lasted = server.connections[-1].ended - server.queries[-1].time
        assert 1.0 <= lasted < 2.0, f"closed after {lasted:.2f} s: no use is made of the time the server grants"


def test_an_upstream_kept_warm_is_connected_to_before_the_first_query_and_again_after_each_close(lab, measured):
    handler = Impatient(0.7, by_fin)

    def established(server, number):
        return len(server.connections) >= number and server.connections[number - 1].raw_at_verification

    def one(_number):
        with lab() as here:
            server = here.server(handler=handler)
            program = here.dnproxy(here.upstream(keep_warm=True))
            wait_for(lambda: established(server, 1), 2 * SLOW)
            gaps, times = [], []
            for number in range(1, 8):
                before = server.connections[number - 1]
                if number % 2:
                    began = time.monotonic()
                    assert program.udp(query(id=number)).rcode == 0
                    times.append(time.monotonic() - began)
                    assert server.queries[-1].connection is before, "the query waited for a handshake"
                assert before.closed.wait(3 * SLOW)
                wait_for(lambda n=number + 1: established(server, n), 2 * SLOW)
                gaps.append(server.connections[number].opened - before.ended)
            return gaps, times

    results = at_once(3, one)
    measured("kept warm: from the close to the next connection", [g for r in results for g in r[0]], 0.5, slow=True)
    measured("kept warm: each query", [t for r in results for t in r[1]], normal())


def test_an_upstream_kept_warm_comes_back_by_itself_after_an_outage(lab, measured):
    def one(number):
        with lab() as here:
            server = here.server()
            here.dnproxy(here.upstream(keep_warm=True))
            server.wait_connections(1)
            server.kill()
            time.sleep(3 + 0.37 * number)
            back = time.monotonic()
            again = here.server()
            again.wait_connections(1, 15)
            return time.monotonic() - back

    # Without queries nothing but the rest, of 8 s and its jitter at most, brings it back.
    measured("kept warm, killed for 3 s, no queries: connection after its return", at_once(3, one), 10.0)


def test_closes_by_the_server_change_no_preference(lab):
    """An idle close is no failure: the first upstream stays the first."""
    handler = Impatient(0.1, by_fin)
    with lab(hosts=2) as here:
        first, second = here.server(0, handler=handler), here.server(1)
        program = here.dnproxy(first, second)
        for number in range(10):
            assert program.udp(query(id=number)).rcode == 0
            assert first.connections[-1].closed.wait(2 * SLOW)
        assert len(first.queries) == 10 and not second.queries
