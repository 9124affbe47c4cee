# SPDX-License-Identifier: MIT
"""An outage is no storm: what upstreams see of the program's efforts is bounded."""

import collections
import time

import pytest
from asker import Asker, assert_all_good
from lab import BACK, HANDSHAKE
from patience import SLOW
from wire import query

SECONDS = 5
RATE = 200


@pytest.mark.takes(9)
@pytest.mark.parametrize("way", ["silent", "refusing"])
def test_an_outage_under_load_is_no_storm_for_the_upstreams(lab, measured, way):
    with lab(hosts=2) as here:
        servers = [here.server(0), here.server(1)]
        program = here.dnproxy()
        assert program.udp(query()).rcode == 0
        if way == "silent":
            here.silence()
        else:
            for server in servers:
                server.kill()
        before = [here.syns(n) for n in range(2)]
        with Asker(program, every=1 / RATE) as asker:
            time.sleep(SECONDS)
            syns = [here.syns(n) - b for n, b in enumerate(before)]
            cpu = program.cpu_seconds()
            back = time.monotonic()
            if way == "silent":
                here.heal()
            else:
                servers += [here.server(0), here.server(1)]
            time.sleep(2.5)
            first = asker.first_good(back)
            syns_at_the_end = [here.syns(n) - b for n, b in enumerate(before)]
        assert len(asker.since(0, back)) >= 0.7 * RATE * SECONDS / SLOW, "the load was not there"
        assert all(a.answered for a in asker.asked), "neither an answer nor SERVFAIL"
        assert_all_good(asker.since(back + 1))
        measured(f"both upstreams {way}, {RATE} queries/s: SYNs a second to one of them",
                 [n / SECONDS for n in syns], 3.0, unit="/s")
        measured(f"both upstreams {way}, {RATE} queries/s: first answer after their return", [first], BACK + HANDSHAKE)
        assert max(syns_at_the_end) <= max(syns) + 10
        assert cpu < 0.3 * SECONDS * SLOW, f"{cpu} s of computing while nothing could be done"
        times_asked = collections.Counter(q.name.lower() for s in servers for q in s.queries)
        measured(f"both upstreams {way}, {RATE} queries/s: times a query reached an upstream",
                 times_asked.values(), len(here.hosts) + 1, unit="")


def test_hedging_stays_a_small_share_when_nothing_is_wrong(lab, measured):
    with lab(hosts=2) as here:
        first, second = here.server(0), here.server(1)
        program = here.dnproxy(first, second)
        with Asker(program, every=1 / RATE) as asker:
            time.sleep(3)
        assert_all_good(asker.asked)
        assert len(first.queries) >= 0.95 * len(asker.asked)
        measured("nothing wrong: share of queries that the second upstream got",
                 [len(second.queries) / len(asker.asked)], 0.05 * SLOW, unit="")
