# SPDX-License-Identifier: MIT
"""Who asks what is on its way already shares its answer, and gets it as he asked."""

import struct
import time

import pytest

import wire
from client import Udp
from patience import SLOW
from wire import AD, CD, ECS, RD, SERVFAIL, TC, Z, answer, answer_of_size, opt_record, query, record, usual_answer

CROWD = 1000
JOIN_S = 1.0  # QUERY_JOIN_MS


def spelling(name, number):
    """The name in the number-th mixture of upper and lower case."""
    return "".join(c.upper() if number >> i % 16 & 1 else c.lower() for i, c in enumerate(name))


class Holds:
    """A handler that answers names that begin with "cold" when somebody asks for "release.example."."""

    def __init__(self, make=usual_answer):
        self.make = make

    def __call__(self, connection):
        held = []
        while arrived := connection.query():
            if arrived.name.lower().startswith("cold"):
                held.append(arrived)
                continue
            if arrived.name == "release.example.":
                for cold in held:
                    connection.send_message(self.make(cold.wire))
                held = []
            connection.answer(arrived)


def release(program):
    """All that was sent before has been read; then what is held is answered."""
    assert program.udp(query("warm.example.")).rcode == 0
    assert program.udp(query("release.example.")).rcode == 0


def cold_queries(server):
    return [q for q in server.queries if q.name.lower().startswith("cold")]


def crowd_query(name, number):
    """What the number-th of the crowd asks; every fourth over TCP, the others take different sizes."""
    size = [512, 1232, 4096, 1232][number % 4]
    opt = None if number % 8 == 0 else opt_record(size=size)
    return query(spelling(name, number), "TXT", id=(number * 7919) & 0xFFFF, opt=opt)


def assert_is_answer_to(reply, asked, whole):
    asking = wire.Message(asked)
    assert reply.id == asking.id
    assert reply.question_wire == asking.question_wire
    assert reply.rcode == 0
    assert bool(reply.flags & TC) == (not whole)
    assert bool(reply.opt) == bool(asking.opt)
    assert len(reply.answers) == (10 if whole else 0)
    if not whole:
        assert len(reply.wire) <= 512


def test_1000_clients_that_ask_one_cold_name_cause_one_question(unkind, dnproxy):
    """Each with a socket, an ID, a spelling and a size of its own."""
    server = unkind(Holds(lambda octets: answer_of_size(octets, 1100, opt=opt_record())))
    program = dnproxy(server)
    assert program.udp(query("warm.example.")).rcode == 0
    clients = [
        program.tcp(source=f"127.0.0.{1 + n % 8}") if n % 4 == 3 else Udp(program.address) for n in range(CROWD)
    ]
    for client in clients[3::4]:
        assert client.ask(query("warm.example.")).rcode == 0

    def ask(attempt):
        before = len(cold_queries(server))
        asked = [crowd_query(f"cold{attempt}.a-name-with-letters.example.", n) for n in range(CROWD)]
        began = time.monotonic()
        for number, client in enumerate(clients):
            client.send(asked[number])
            if number % 50 == 49:
                time.sleep(0.002)  # the kernel's room for datagrams is not what is tried here
        assert program.udp(query("warm.example.")).rcode == 0
        joined = time.monotonic() - began < 0.8 * JOIN_S
        release(program)
        for number, client in enumerate(clients):
            assert_is_answer_to(client.receive(), asked[number], whole=number % 4 != 0)
        assert not joined or len(cold_queries(server)) == before + 1
        return joined

    assert any(ask(attempt) for attempt in range(10)), "the machine is too slow for this"
    for client in clients:
        client.close()


def marked_answer(octets):
    """An answer that tells what the question was: its flags, DO, type and class."""
    asking = wire.Message(octets)
    bits = asking.flags & (RD | AD | CD | Z) | bool(asking.dnssec_ok)
    mark = record("TXT", b"\x04" + struct.pack("!HH", bits, asking.type), rdclass=asking.questions[0][2])
    return answer(octets, records=[mark], opt=opt_record(do=asking.dnssec_ok))


def mark_of(reply):
    return struct.unpack("!HH", reply.answers[0].rdata[1:])


def test_different_flags_never_mix(unkind, dnproxy):
    """CD and DO above all (RFC 6840 section 5.9, RFC 3225): each is answered as it asked."""
    flags = [RD, 0, RD | CD, RD | AD, RD | Z, RD | CD | AD]
    kinds = [(f, do, kind) for f in flags for do in (False, True) for kind in (16, 1)]
    server = unkind(Holds(marked_answer))
    program = dnproxy(server)

    def ask(attempt):
        before = len(cold_queries(server))
        clients = [(Udp(program.address), kind) for kind in kinds * 5]
        for number, (client, (word, do, kind)) in enumerate(clients):
            opt = opt_record(do=True) if do else opt_record() if number % 2 else None
            client.send(query(spelling(f"cold{attempt}.example.", number), kind, flags=word, opt=opt, id=number))
        release(program)
        for number, (client, (word, do, kind)) in enumerate(clients):
            reply = client.receive()
            assert reply.id == number
            assert mark_of(reply) == (word | do, kind)
            client.close()
        assert len(cold_queries(server)) >= before + len(kinds)
        return len(cold_queries(server)) == before + len(kinds)

    assert any(ask(attempt) for attempt in range(10))


SUBNET = [(ECS, b"\0\1\x18\0\xc0\0\2")]
ODD_ONES = {
    "client subnet": dict(opt=opt_record(options=SUBNET)),
    "additional record": dict(additional=[record("A", bytes(4))]),
    "type": dict(kind="AAAA"),
    "class": dict(rdclass=3),
    "CD": dict(flags=RD | CD),
    "DO": dict(opt=opt_record(do=True)),
    "no RD": dict(flags=0),
    "name": dict(name="cold.example.org."),
}
ALIKE = {
    "OPT": dict(opt=True),
    "size": dict(opt=opt_record(size=4096)),
    "padding": dict(opt=opt_record(options=[(wire.PADDING, bytes(500))])),
    "cookie": dict(opt=opt_record(options=[(wire.COOKIE, bytes(8))])),
    "unknown option": dict(opt=opt_record(options=[(65001, b"x")])),
    "spelling": dict(name="cOLD.exAMple."),
}


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("odd", ODD_ONES)
def test_who_asks_something_else_is_no_twin(unkind, dnproxy, odd, first):
    server = unkind(Holds())
    program = dnproxy(server)
    usual, other = {"name": "cold.example."}, {"name": "cold.example.", **ODD_ONES[odd]}
    with Udp(program.address) as one, Udp(program.address) as two:
        one.send(query(**(other if first else usual)))
        two.send(query(**(usual if first else other)))
        release(program)
        assert one.receive().name.startswith("cold") and two.receive().name.startswith("cold")
    assert len(cold_queries(server)) == 2


@pytest.mark.parametrize("odd", ALIKE)
def test_what_stays_behind_anyway_makes_no_difference(unkind, dnproxy, odd):
    server = unkind(Holds())
    program = dnproxy(server)

    def ask(attempt):
        usual = {"name": f"cold{attempt}.example."}
        other = {**usual, **ALIKE[odd]}
        if odd == "spelling":
            other["name"] = usual["name"].swapcase()
        before = len(cold_queries(server))
        with Udp(program.address) as one, Udp(program.address) as two:
            one.send(query(**usual))
            two.send(query(**other))
            release(program)
            assert one.receive().name == usual["name"]
            assert two.receive().name == other["name"]
        return len(cold_queries(server)) == before + 1

    assert any(ask(attempt) for attempt in range(3))


@pytest.mark.valgrind
def test_who_asked_first_may_go(unkind, dnproxy):
    """Its connection is reset; the answer comes for those who joined."""
    server = unkind(Holds())
    program = dnproxy(server)
    leader = program.tcp()
    with Udp(program.address) as one, program.tcp() as two:
        leader.send(query("cold.example."))
        leader.send(query("COLD.example."))
        server.wait_queries(1)
        one.send(query("Cold.example.", id=1))
        two.send(query("colD.example.", id=2))
        assert program.udp(query("warm.example.")).rcode == 0
        leader.reset()
        assert program.udp(query("warm.example.")).rcode == 0
        release(program)
        assert (one.receive().name, two.receive().name) == ("Cold.example.", "colD.example.")


def test_a_connection_that_ends_is_asked_again_for_all(unkind, dnproxy):
    """One question on the new connection, and an answer for each."""

    def ends_once(connection):
        if connection.number == 0:
            connection.query()
            while (arrived := connection.query()).name != "end.example.":
                connection.answer(arrived)
            return
        connection.serve()

    server = unkind(ends_once)
    program = dnproxy(server)

    with Udp(program.address) as client:
        for number in range(20):
            client.send(query(spelling("cold.example.", number), id=number))
        assert program.udp(query("warm.example.")).rcode == 0
        client.send(query("end.example.", id=999))
        replies = {r.id: r for r in (client.receive() for _ in range(21))}
    assert all(replies[n].name == spelling("cold.example.", n) for n in range(20))
    assert all(r.rcode == 0 for r in replies.values())
    assert [q.connection.number for q in cold_queries(server)] == [0, 1]


def test_each_is_told_in_time_that_there_is_no_answer(unkind, dnproxy):
    """RFC 8914: an error code for those who sent an OPT record; no OPT for the others."""
    server = unkind(Holds())
    program = dnproxy(server)
    clients = [Udp(program.address) for _ in range(20)]
    began = time.monotonic()
    for number, client in enumerate(clients):
        client.send(query(spelling("cold.example.", number), id=number, opt=number % 2 == 1))
    for number, client in enumerate(clients):
        reply = client.receive()
        assert (reply.id, reply.rcode, reply.name) == (number, SERVFAIL, spelling("cold.example.", number))
        assert reply.ede == ([22] if number % 2 else [])
        assert bool(reply.opt) == bool(number % 2)
        client.close()
    assert time.monotonic() - began < 4.5 * SLOW
