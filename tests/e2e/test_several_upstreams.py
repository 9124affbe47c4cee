# SPDX-License-Identifier: MIT
"""Which of several upstreams is asked, when another is asked as well, and what is final."""

import time

import pytest

import wire
from client import Udp
from patience import SLOW
from test_upstream import within
from unkind_dot import PATIENCE, Connection
from wire import answer, opt_record, query


def says(rcode, *edes):
    """A server that answers everything with this RCODE, and these Extended DNS Errors."""
    options = [(wire.EDE, code.to_bytes(2, "big") + b"says the upstream") for code in edes]

    def handler(connection):
        while arrived := connection.query():
            connection.send_message(answer(arrived.wire, rcode=rcode, opt=opt_record(options=options)))

    return handler


def slow(seconds):
    def handler(connection):
        while arrived := connection.query():
            time.sleep(seconds)
            connection.answer(arrived)

    return handler


# -- order ---------------------------------------------------------------------------------------------


def test_the_first_of_the_list_is_asked_while_it_is_well(unkind, dnproxy):
    first, second = unkind(), unkind()
    program = dnproxy(first, second)
    for number in range(20):
        assert program.udp(query(id=number)).rcode == 0
    assert len(first.queries) == 20 and second.queries == []


def test_the_preferred_upstream_is_asked_again_once_it_is_back(unkind, dnproxy):
    """By timer, with no client that waits for it."""
    first, second = unkind(), unkind()
    port = first.port
    first.stop()
    program = dnproxy(first, second)
    assert program.udp(query()).rcode == 0
    back = unkind(port=port)
    until = time.monotonic() + 10 * SLOW
    while not back.queries:
        assert time.monotonic() < until
        with within(0.5):
            assert program.udp(query()).rcode == 0
        time.sleep(0.02)


def closes_when_idle(connection):
    """Right behind a pause of a quarter of a second."""
    while True:
        try:
            arrived = connection.query(timeout=0.25)
        except TimeoutError:
            connection.close_notify()
            return
        if not arrived:
            return
        connection.answer(arrived)


def test_idle_closes_change_no_preference(unkind, dnproxy):
    """A server that closes idle connections has done nothing wrong."""
    first, second = unkind(closes_when_idle), unkind()
    program = dnproxy(first, second)
    for number in range(5):
        assert program.udp(query(id=number)).rcode == 0
        first.connections[-1].closed.wait(5 * SLOW)
        time.sleep(0.02)
    assert second.connections == []
    assert "resting" not in program.log


# -- fastest -------------------------------------------------------------------------------------------


def test_the_fastest_is_found_and_asked(unkind, dnproxy):
    """It is second in the list; no client ever waits longer than the first one takes."""
    first, second = unkind(slow(0.08)), unkind()
    program = dnproxy(first, second, dnproxy__upstream_policy="fastest")
    for number in range(12):
        assert program.udp(query(f"n{number}.example.")).rcode == 0
    asked = len(first.queries)
    with within(1.0):
        for number in range(30):
            assert program.udp(query(f"m{number}.example.")).rcode == 0
    assert len(first.queries) - asked <= 2
    assert len(second.queries) >= 30


def test_in_order_the_slower_one_stays_the_first(unkind, dnproxy):
    first, second = unkind(slow(0.05)), unkind()
    program = dnproxy(first, second, dnproxy__upstream_policy="order")
    for number in range(20):
        assert program.udp(query(f"n{number}.example.")).rcode == 0
    assert len(first.queries) == 20 and second.queries == []


def test_what_became_slow_is_left_for_what_is_faster(unkind, dnproxy):
    pace = [0.0]

    def varies(connection):
        while arrived := connection.query():
            time.sleep(pace[0])
            connection.answer(arrived)

    first, second = unkind(varies), unkind(slow(0.03))
    program = dnproxy(first, second, dnproxy__upstream_policy="fastest")
    for number in range(10):
        assert program.udp(query(f"n{number}.example.")).rcode == 0
    assert len(second.queries) <= 2
    pace[0] = 0.15
    for number in range(30):
        assert program.udp(query(f"m{number}.example.")).rcode == 0
    asked = len(first.queries)
    for number in range(10):
        assert program.udp(query(f"o{number}.example.")).rcode == 0
    assert len(first.queries) - asked <= 2


# -- hedges ----------------------------------------------------------------------------------------------


def test_a_slow_answer_is_asked_of_the_next_upstream_and_the_first_counts(unkind, dnproxy):
    """Three times the usual time, 200 ms at least; the loser's answer reaches nobody."""

    def slow_for_some(connection):
        held = []
        while arrived := connection.query():
            if arrived.name.startswith("slow"):
                held.append(arrived)
                continue
            connection.answer(arrived)
            if arrived.name.startswith("end"):
                for late in held:
                    connection.answer(late)

    first, second = unkind(slow_for_some), unkind()
    program = dnproxy(first, second)
    for number in range(10):
        assert program.udp(query(id=number)).rcode == 0
    with Udp(program.address) as client:
        with within(0.8, at_least=0.15):
            assert client.ask(query("slow.example.", id=77)).id == 77
        assert [q.name for q in second.queries] == ["slow.example."]
        assert program.udp(query("end.example.")).rcode == 0
        assert client.silent()


def test_the_share_of_hedges_is_bounded(unkind, dnproxy):
    """A first upstream that has become slow does not double the load of the second."""

    def becomes_slow(connection):
        """In one thread: two at a time would spoil each other's TLS records."""
        late = []
        while True:
            while late and late[0][0] <= time.monotonic():
                connection.answer(late.pop(0)[1])
            try:
                arrived = connection.query(max(0.0, late[0][0] - time.monotonic()) if late else PATIENCE)
            except TimeoutError:
                if not late:
                    raise
                continue
            if arrived is None:
                return
            late.append((time.monotonic() + (0.0 if len(first.queries) <= 20 else 0.5), arrived))

    first, second = unkind(becomes_slow), unkind()
    program = dnproxy(first, second)
    with Udp(program.address) as client:
        for number in range(300):
            client.send(query(f"n{number}.example.", id=number))
            time.sleep(0.01)
        for _ in range(300):
            assert client.receive().rcode == 0
    assert 20 <= len(second.queries) <= 20 + 30 + 5


def test_who_loses_every_other_question_starves_no_client(unkind, dnproxy):
    """What is lost rather than slow is asked of another whatever the share."""

    def loses_half(connection):
        while arrived := connection.query():
            if len(first.queries) % 2:
                connection.answer(arrived)

    first, second = unkind(loses_half), unkind()
    program = dnproxy(first, second)
    with Udp(program.address) as client:
        for number in range(300):
            client.send(query(f"n{number}.example.", id=number))
            time.sleep(0.01)
        for _ in range(300):
            assert client.receive().rcode == 0


# -- sour answers ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rcode", [wire.SERVFAIL, wire.REFUSED])
@pytest.mark.parametrize("ede", [(), (22,), (18,)])
def test_servfail_and_refused_are_asked_of_another(unkind, dnproxy, rcode, ede):
    first, second = unkind(says(rcode, *ede)), unkind()
    program = dnproxy(first, second)
    for number in range(3):
        with within(0.5):
            reply = program.udp(query(id=number, opt=True))
        assert (reply.rcode, len(reply.answers)) == (0, 1)
    assert len(first.queries) == len(second.queries) == 3


@pytest.mark.parametrize("rcode, ede", [(wire.SERVFAIL, 6), (wire.SERVFAIL, 7), (wire.SERVFAIL, 12),
                                        (wire.REFUSED, 15), (wire.REFUSED, 17), (wire.SERVFAIL, 16)])
def test_a_name_that_is_bogus_or_blocked_is_so_for_good(unkind, dnproxy, rcode, ede):
    """RFC 8914 section 4: another resolver may only be one that does not look."""
    first, second = unkind(says(rcode, ede)), unkind()
    reply = dnproxy(first, second).udp(query(opt=True))
    assert reply.rcode == rcode and ede in reply.ede
    assert second.queries == []


@pytest.mark.parametrize("rcode", [wire.NXDOMAIN, wire.FORMERR, wire.NOTIMP, 9])
def test_any_other_answer_is_final(unkind, dnproxy, rcode):
    first, second = unkind(says(rcode)), unkind()
    assert dnproxy(first, second).udp(query()).rcode == rcode
    assert second.queries == []


def test_when_all_say_so_the_client_is_told_at_once(unkind, dnproxy):
    first, second = unkind(says(wire.REFUSED, 18)), unkind(says(wire.SERVFAIL, 22))
    program = dnproxy(first, second)
    with within(0.5):
        reply = program.udp(query(opt=True))
    assert reply.rcode in (wire.REFUSED, wire.SERVFAIL) and reply.ede
    assert len(first.queries) == len(second.queries) == 1


def test_a_sour_answer_does_not_wait_for_who_is_down(unkind, dnproxy):
    first, second = unkind(says(wire.SERVFAIL, 22)), unkind()
    second.stop()
    program = dnproxy(first, second)
    program.udp(query())
    with within(0.5):
        reply = program.udp(query(opt=True))
    assert reply.rcode == wire.SERVFAIL and 22 in reply.ede


def test_a_sour_answer_is_better_than_none(unkind, dnproxy):
    """The second one is silent: what the first one said of the name is passed on in the end."""
    first, second = unkind(says(wire.REFUSED, 20)), unkind(Connection.idle)
    program = dnproxy(first, second)
    with within(4.0):
        reply = program.udp(query(opt=True))
    assert reply.rcode == wire.REFUSED and 20 in reply.ede


def test_an_only_upstreams_servfail_is_passed_on_at_once(unkind, dnproxy):
    server = unkind(says(wire.SERVFAIL, 22))
    with within(0.5):
        reply = dnproxy(server).udp(query(opt=True))
    assert reply.rcode == wire.SERVFAIL and 22 in reply.ede
    assert len(server.queries) == 1


# -- bounded attempts ---------------------------------------------------------------------------------------


def test_a_query_is_asked_at_most_once_more_than_there_are_upstreams(unkind, dnproxy):
    def ends(connection):
        connection.query()
        connection.reset()

    servers = [unkind(ends) for _ in range(3)]
    program = dnproxy(*servers)
    with within(4.0):
        assert program.udp(query()).rcode == wire.SERVFAIL
    assert 3 <= sum(len(s.queries) for s in servers) <= 4


def test_a_connection_that_ends_as_soon_as_it_stands_is_not_made_in_a_loop(unkind, dnproxy):
    def at_once(connection):
        connection.close_notify()

    server = unkind(at_once)
    program = dnproxy(server)
    with within(4.0):
        assert program.udp(query()).rcode == wire.SERVFAIL
    assert len(server.connections) <= 12


# -- kept warm ------------------------------------------------------------------------------------------------


def test_who_is_kept_warm_is_connected_before_the_first_query(unkind, dnproxy):
    def closes_after_a_while(connection):
        try:
            while arrived := connection.query(timeout=0.6):
                connection.answer(arrived)
        except TimeoutError:
            connection.close_notify()

    server = unkind(closes_after_a_while)
    entry = {"ip": server.host, "port": server.port, "hostname": server.name, "keep_warm": True}
    program = dnproxy(entry)
    server.wait_connections(1)
    server.wait_connections(3)  # it closes, and is connected to again
    program.wait_log(r"connected")
    time.sleep(0.1)
    before = len(server.connections)
    with within(0.3):
        assert program.udp(query()).rcode == 0
    assert len(server.connections) == before


