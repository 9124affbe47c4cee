# SPDX-License-Identifier: MIT
"""What is lost when one of four instances ends, and in what order things have to happen for nothing to be.

How long it takes until Kubernetes has noticed is its own affair (simulate.py measures that with its times); these
tests do at once what it does then.
"""

import collections
import time

import client
from cluster import CONTAINER_PORT
from lab import at_once
from traffic import Traffic
from wire import NOERROR, SERVFAIL, query

DEAD = 0
LATE = 1.0  # what a busy machine may do in the wrong order


def bad(asked):
    return [one for one in asked if not one.good]


def instances(asked):
    return collections.Counter(one.instance for one in asked)


def go_on(seconds=1.5):
    """Lets the clients ask for a while."""
    time.sleep(seconds)
    return time.time()


def lost_by_the_dead_only(asked):
    """What has got no answer was given to the dead instance, where that is known; and that was something."""
    assert bad(asked), "nothing was lost: what is this test good for?"
    # The C library does not tell its ports.
    assert not [one for one in bad(asked) if one.kind != "stub" and one.instance != DEAD]


def all_share(asked):
    assert set(instances(one for one in asked if one.kind == "fresh")) == {0, 1, 2, 3}


def test_a_killed_instance_takes_nothing_but_its_own_queries_with_it(cluster):
    with Traffic(cluster) as traffic:
        killed = go_on()
        cluster.kill(DEAD)
        go_on()
        cluster.take_out(DEAD)
        removed = time.time()
        go_on()
    all_share(traffic.of(until=killed))
    lost_by_the_dead_only(traffic.asked)
    assert not bad(traffic.of(since=removed)), bad(traffic.of(since=removed))
    assert DEAD not in instances(traffic.of("tcp", since=removed))


def test_a_killed_instance_that_is_started_again_serves_at_once(cluster):
    with Traffic(cluster) as traffic:
        go_on()
        cluster.kill(DEAD)
        go_on()
        cluster.start_again(DEAD)
        again = go_on(0.2)
        go_on()
    lost_by_the_dead_only(traffic.asked)
    assert not bad(traffic.of(since=again)), bad(traffic.of(since=again))
    all_share(traffic.of(since=again))


def test_an_instance_that_ends_behind_its_removal_loses_lasting_flows_alone(cluster):
    """As since Kubernetes 1.32: who has its flows keeps them as long as it serves."""
    with Traffic(cluster) as traffic:
        go_on()
        cluster.take_out(DEAD, flush=False)
        removed = go_on()
        cluster.end(DEAD)
        time.sleep(0.5)
        cluster.forget(DEAD)
        forgotten = time.time()
        go_on()
    assert DEAD in instances(traffic.of("lasting", removed - 0.5, removed))
    assert not bad(traffic.of(until=removed - LATE)), bad(traffic.of(until=removed - LATE))
    assert not bad(traffic.of(since=forgotten)), bad(traffic.of(since=forgotten))
    between = traffic.of(since=removed - LATE, until=forgotten)
    assert instances(bad(one for one in between if one.kind == "lasting")).keys() == {DEAD}
    # What is on its way at the end is answered, or SERVFAIL; what comes behind that is the client's to ask again.
    assert {(one.instance, one.result) for one in bad(traffic.of("tcp"))} <= {(DEAD, "closed"), (DEAD, SERVFAIL)}
    # Of new flows those are lost that have the port of an old one.
    assert instances(bad(one for one in between if one.kind == "fresh")).keys() <= {DEAD}
    assert len(bad(one for one in between if one.kind == "fresh")) < 0.1 * len(between)


def test_what_is_on_its_way_when_connection_tracking_forgets_is_lost_and_nothing_else(cluster):
    """As before Kubernetes 1.32: the answer comes from an address that the client has never asked."""
    with Traffic(cluster) as traffic:
        go_on()
        removed = time.time()
        cluster.take_out(DEAD)
        forgotten = time.time()
        go_on()
        cluster.end(DEAD)
        go_on()
    lost = [one for one in bad(traffic.asked) if one.kind != "tcp"]
    assert all(removed - LATE <= one.sent <= forgotten for one in lost), lost
    assert instances(one for one in lost if one.kind != "stub").keys() <= {DEAD}
    assert not bad(traffic.of("stub"))


def test_an_instance_that_ends_before_its_removal_loses_what_comes_between(cluster):
    with Traffic(cluster) as traffic:
        ended = go_on()
        cluster.end(DEAD)
        go_on()
        cluster.take_out(DEAD)
        removed = time.time()
        go_on()
    lost_by_the_dead_only(traffic.asked)
    assert not bad(traffic.of(until=ended - LATE)), bad(traffic.of(until=ended - LATE))
    assert not bad(traffic.of(since=removed)), bad(traffic.of(since=removed))


def test_a_frozen_instance_is_found_by_its_probe_and_by_nothing_else(cluster):
    with Traffic(cluster) as traffic:
        go_on()
        cluster.freeze(DEAD)
        for asks in "live", "ready":
            assert [cluster.probe(n, asks) for n in range(4)] == [False, True, True, True]
        cluster.take_out(DEAD)
        removed = time.time()
        go_on()
    lost_by_the_dead_only(traffic.asked)
    # A TCP connection stays with the instance for as long as the client has patience.
    later = [one for one in traffic.of(since=removed) if one.kind != "tcp"]
    assert not bad(later), bad(later)
    assert set(instances(bad(traffic.of("tcp", since=removed)))) <= {DEAD}


def test_a_lasting_flow_stays_with_the_dead_until_connection_tracking_forgets_it(cluster):
    with Traffic(cluster) as traffic:
        go_on()
        cluster.kill(DEAD)
        cluster.take_out(DEAD, flush=False)
        removed = time.time()
        go_on()
        before = time.time()
        cluster.forget(DEAD)
        forgotten = time.time()
        go_on()
    stuck = [one for one in traffic.of("lasting", removed, before) if one.instance == DEAD]
    assert stuck and len(bad(stuck)) == len(stuck), stuck
    fresh = traffic.of("fresh", since=removed, until=before)
    assert instances(bad(fresh)).keys() <= {DEAD}  # ... so does a port that is taken again too early
    assert len(bad(fresh)) < 0.1 * len(fresh)
    assert not bad(traffic.of(since=forgotten)), bad(traffic.of(since=forgotten))


def test_without_its_upstream_no_instance_is_ready_but_each_answers_what_it_has(new_cluster):
    """So a readiness probe takes all of them out at once, and what they know with them."""
    with new_cluster(cache__size=512) as cluster, cluster.clients.inside():
        clients = [client.Udp((host.address, CONTAINER_PORT)) for host in cluster.instances]

        def ask_all(name):
            for each in clients:
                each.send(query(name))
            return [each.receive().rcode for each in clients]

        assert ask_all("kept.test.") == [NOERROR] * 4
        assert all(cluster.probe(n, "ready") for n in range(4))
        cluster.lose_upstream()
        assert ask_all("new.test.") == [SERVFAIL] * 4
        assert at_once(4, lambda n: cluster.probe(n, "ready")) == [False] * 4
        assert at_once(4, lambda n: cluster.probe(n, "live")) == [True] * 4
        assert ask_all("kept.test.") == [NOERROR] * 4
        for each in clients:
            each.close()
