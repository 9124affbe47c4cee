# SPDX-License-Identifier: MIT
"""Plain DNS over TCP (RFC 7766): many queries, odd segments, and clients that misbehave."""

import contextlib
import select
import socket
import struct
import threading
import time

import pytest

import wire
from client import Tcp, Udp, framed
from patience import SLOW
from wire import answer_of_size, opt_record, query, record

KEEPALIVE = opt_record(options=[(wire.KEEPALIVE, b"")])


def slow_then_polite(connection):
    """Names that begin with "slow" are answered when something else has been."""
    waiting = []
    while arrived := connection.query():
        if arrived.name.startswith("slow"):
            waiting.append(arrived)
            continue
        connection.answer(arrived)
        for late in waiting:
            connection.answer(late)
        waiting.clear()


def huge(connection):
    """65,535 octets for names that begin with "huge"; made once, since many are asked for."""
    made = b""
    while arrived := connection.query():
        if arrived.name.startswith("huge"):
            made = made or answer_of_size(arrived.wire, 65535)
            connection.send_message(arrived.wire[:2] + made[2:])
        else:
            connection.answer(arrived)


@pytest.mark.cross
@pytest.mark.valgrind
def test_a_query_is_answered_on_its_connection(polite):
    """RFC 7766 section 5, RFC 5625 section 4.4.1."""
    program, server = polite
    with program.tcp() as client:
        reply = client.ask(query("www.example.", id=99))
    assert (reply.id, reply.rcode, reply.name) == (99, 0, "www.example.")
    assert len(server.queries) == 1


def test_one_connection_serves_many_queries(polite):
    """RFC 7766 section 6.2.1."""
    program, _ = polite
    with program.tcp() as client:
        for number in range(50):
            assert client.ask(query(f"n{number}.example.", id=number)).name == f"n{number}.example."


@pytest.mark.cross
@pytest.mark.valgrind
def test_pipelined_queries_are_all_answered(polite):
    """RFC 7766 section 6.2.1.1: more of them than one client may have on their way at once."""
    program, _ = polite
    with program.tcp() as client:
        client.send_raw(b"".join(framed(query(f"n{n}.example.", id=n)) for n in range(500)))
        replies = [client.receive() for _ in range(500)]
    assert {r.id for r in replies} == set(range(500))
    assert all(r.name == f"n{r.id}.example." for r in replies)


def test_answers_go_out_as_they_come(unkind, dnproxy):
    """RFC 7766 section 7: out of order."""
    program = dnproxy(unkind(slow_then_polite))
    with program.tcp() as client:
        client.send(query("slow.example.", id=1))
        client.send(query("fast.example.", id=2))
        assert [client.receive().id, client.receive().id] == [2, 1]


@pytest.mark.valgrind
def test_a_query_may_be_split_anywhere(polite):
    """RFC 7766 section 8: the first read may be partial."""
    program, _ = polite
    octets = framed(query("split.example."))
    with program.tcp() as client:
        for cut in range(1, len(octets)):
            client.send_raw(octets[:cut])
            time.sleep(0.002)
            client.send_raw(octets[cut:])
            assert client.receive().name == "split.example."


def test_a_query_may_come_octet_by_octet(polite):
    """RFC 7766 section 8."""
    program, _ = polite
    with program.tcp() as client:
        for octet in framed(query("drip.example.")):
            client.send_raw(bytes([octet]))
            time.sleep(0.001)
        assert client.receive().name == "drip.example."


def test_a_segment_may_hold_queries_and_a_piece_of_one(polite):
    """RFC 7766 section 8."""
    program, _ = polite
    octets = b"".join(framed(query(f"n{n}.example.", id=n)) for n in range(3))
    with program.tcp() as client:
        client.send_raw(octets[:-5])
        assert {client.receive().id, client.receive().id} == {0, 1}
        client.send_raw(octets[-5:])
        assert client.receive().id == 2


def test_length_and_answer_come_in_one_write(polite):
    """RFC 7766 section 8: the first read of the client sees all of it."""
    program, _ = polite
    with program.tcp() as client:
        for number in range(20):
            client.send(query(id=number))
            first = client.sock.recv(65535)
            assert len(first) == 2 + struct.unpack_from("!H", first)[0]


def test_a_client_that_has_finished_asking_gets_its_answers(unkind, dnproxy):
    """Half-close: the answers come, then the end."""
    program = dnproxy(unkind(slow_then_polite))
    with program.tcp() as client:
        client.send(query("slow.example.", id=1))
        client.send(query("fast.example.", id=2))
        client.finish_asking()
        assert {client.receive().id, client.receive().id} == {1, 2}
        assert client.closed_by_server()


def test_a_client_that_finishes_without_asking_is_closed(polite):
    program, _ = polite
    with program.tcp() as client:
        client.finish_asking()
        assert client.closed_by_server()


def test_nothing_is_sent_to_a_client_that_came_after(unkind, dnproxy):
    """RFC 7766 section 6.2.4: answers owed to a closed connection go nowhere, above all not to the next."""
    server = unkind(slow_then_polite)
    program = dnproxy(server)
    with program.tcp() as gone:
        gone.send(query("slow.example.", id=5))
        server.wait_queries(1)
    with program.tcp() as client:
        reply = client.ask(query("mine.example.", id=5))
        assert reply.name == "mine.example."
        assert not select.select([client.sock], [], [], 0.2 * SLOW)[0]


def test_a_reset_connection_disturbs_nobody(unkind, dnproxy):
    server = unkind(slow_then_polite)
    program = dnproxy(server)
    other = program.tcp()
    with program.tcp() as gone:
        gone.send(query("slow.example."))
        server.wait_queries(1)
        gone.reset()
    assert other.ask(query("other.example.")).rcode == 0
    other.close()


@pytest.mark.cross
@pytest.mark.valgrind
def test_an_answer_of_65535_octets_comes_whole(unkind, dnproxy):
    program = dnproxy(unkind(huge))
    asked = query("huge.example.", "TXT")
    with program.tcp() as client:
        assert client.ask(asked).wire == answer_of_size(asked, 65535)


def test_a_query_of_4096_octets_is_taken(polite):
    """RFC 5625 section 4.4.3."""
    program, _ = polite
    short = query("long.example.")
    filler = record(65280, bytes(4096 - len(short) - len(record(65280, b""))))
    with program.tcp() as client:
        assert client.ask(query("long.example.", additional=[filler])).rcode == 0


@pytest.mark.parametrize("length", [0, 1, 11, 4097, 65535])
def test_a_length_no_query_has_closes_the_connection(polite, length):
    program, _ = polite
    with program.tcp() as client:
        client.send_raw(struct.pack("!H", length) + bytes(min(length, 100)))
        assert client.closed_by_server()
    assert program.udp(query()).rcode == 0


def test_queries_before_a_bad_length_do_no_harm(polite):
    program, _ = polite
    with program.tcp() as client:
        client.send_raw(framed(query(id=1)) + b"\0\x05hello")
        client.wait_closed(3)
    assert program.udp(query()).rcode == 0


@pytest.mark.parametrize("option, answered", [(KEEPALIVE, True), (opt_record(), False)], ids=["asked", "not asked"])
def test_keepalive_is_told_to_clients_that_ask(polite, option, answered):
    """RFC 7828 section 3.3.2: our own idle time, in units of 100 ms."""
    program, _ = polite
    with program.tcp() as client:
        told = client.ask(query(opt=option)).option(wire.KEEPALIVE)
    assert told == (struct.pack("!H", 100) if answered else None)


class Aged:
    """Clients of all kinds that were left alone for a quarter of a minute."""

    def __init__(self, program):
        self.program = program
        self.closed_after = {}
        self.worst_answer = 0.0
        kinds = [self.idle, self.after_one_answer, self.dripping, self.half_length, self.asking, self.owed]
        threads = [threading.Thread(target=self.time, args=(kind,)) for kind in kinds]
        for thread in threads:
            thread.start()
        self.ask_meanwhile(threads)

    def time(self, kind):
        with self.program.tcp() as client:
            began = time.monotonic()
            since = kind(client) or began
            client.wait_closed(30)
            self.closed_after[kind.__name__] = time.monotonic() - since

    def ask_meanwhile(self, threads):
        while any(t.is_alive() for t in threads):
            began = time.monotonic()
            assert self.program.udp(query()).rcode == 0
            self.worst_answer = max(self.worst_answer, time.monotonic() - began)
            time.sleep(0.05)

    def idle(self, client):
        pass

    def after_one_answer(self, client):
        client.ask(query())
        return time.monotonic()

    def dripping(self, client):
        began = time.monotonic()
        with contextlib.suppress(OSError):
            for octet in framed(query("a-long-enough-name-to-outlast-the-idle-time.example.")):
                client.send_raw(bytes([octet]))
                if select.select([client.sock], [], [], 1.0)[0]:
                    break
        return began

    def half_length(self, client):
        client.send_raw(b"\0")

    def asking(self, client):
        for _ in range(4):
            time.sleep(1.0)
            client.ask(query())
        return time.monotonic()

    def owed(self, client):
        client.send(query("slow.example."))


class TestAfterAWhile:
    """One wait of some 15 seconds for all that has to be waited for."""

    @pytest.fixture(scope="class")
    def aged(self, class_stage):
        def deaf_to_slow(connection):
            while arrived := connection.query():
                if not arrived.name.startswith("slow"):
                    connection.answer(arrived)

        return Aged(class_stage.dnproxy(class_stage.unkind(deaf_to_slow)))

    @pytest.mark.parametrize("kind", ["idle", "after_one_answer", "half_length"])
    def test_an_idle_connection_is_closed_after_ten_seconds(self, aged, kind):
        """RFC 7766 section 6.2.3."""
        assert 9.5 <= aged.closed_after[kind] <= 11.5

    def test_single_octets_do_not_keep_a_connection_open(self, aged):
        """RFC 7766 section 6.2.3: reset only by a whole message."""
        assert 9.5 <= aged.closed_after["dripping"] <= 12.5

    def test_whole_messages_keep_a_connection_open(self, aged):
        """RFC 7766 section 6.2.3: ten seconds count from the last of them."""
        assert 9.5 <= aged.closed_after["asking"] <= 11.5

    def test_a_client_that_is_owed_an_answer_gets_one_first(self, aged):
        """SERVFAIL comes at less than four seconds; only then does the idle time run out."""
        assert 9.5 <= aged.closed_after["owed"] <= 15.5

    def test_other_clients_noticed_nothing(self, aged):
        assert aged.worst_answer < 0.5 * SLOW


def fill_without_reading(program, queries=400):
    """A client that asks for 65,535 octets again and again and never reads."""
    client = Tcp(program.address, receive_buffer=4096)
    client.sock.setblocking(False)
    data = b"".join(framed(query("huge.example.", "TXT", id=n)) for n in range(queries))
    with contextlib.suppress(OSError):
        client.sock.send(data)
    return client


def test_clients_that_never_read_cost_others_nothing(unkind, dnproxy):
    """Memory stays bounded, others are answered at once, and the guilty are closed."""
    program = dnproxy(unkind(huge))
    assert program.udp(query()).rcode == 0
    before = program.resident()
    guilty = [fill_without_reading(program) for _ in range(12)]
    worst = 0.0
    until = time.monotonic() + 1.5
    while time.monotonic() < until:
        began = time.monotonic()
        with program.tcp() as client:
            assert client.ask(query("small.example.")).rcode == 0
        assert program.udp(query("small.example.")).rcode == 0
        worst = max(worst, time.monotonic() - began)
    assert worst < 1.5 * SLOW
    assert program.resident() - before < 4 << 20
    for client in guilty:
        client.close()


def test_a_client_that_reads_slowly_gets_everything_in_the_end(unkind, dnproxy):
    program = dnproxy(unkind(huge))
    with Tcp(program.address, receive_buffer=4096) as client:
        client.send(query("huge.example.", "TXT", id=1))
        got = bytearray()
        while len(got) < 2 + 65535:
            piece = client.sock.recv(3000)
            assert piece, f"closed after {len(got)} octets"
            got += piece
            time.sleep(0.005)
    assert bytes(got[2:]) == answer_of_size(query("huge.example.", "TXT", id=1), 65535)


def test_other_connections_are_not_held_up_by_a_full_one(unkind, dnproxy):
    """A connection at its bound of queries on their way is not read; others are."""
    server = unkind(slow_then_polite)
    program = dnproxy(server)
    with program.tcp() as greedy:
        greedy.send_raw(b"".join(framed(query(f"slow{n}.example.", id=n)) for n in range(200)))
        server.wait_queries(100)
        assert program.udp(query("quick.example.")).rcode == 0
        answered = set()
        while len(answered) < 200:
            assert program.udp(query("quick.example.")).rcode == 0
            while select.select([greedy.sock], [], [], 0.02)[0]:
                answered.add(greedy.receive().id)
    assert answered == set(range(200))


def sources(count):
    """Addresses of loopback to ask from: 127.1.0.1, ..."""
    return [f"127.1.0.{n}" for n in range(1, count + 1)]


def connect_many(program, count):
    """Starts count connections, from 20 addresses, without waiting for them."""
    addresses = sources(20)
    socks = []
    for number in range(count):
        sock = socket.socket()
        sock.setblocking(False)
        sock.bind((addresses[number % len(addresses)], 0))
        with contextlib.suppress(BlockingIOError):
            sock.connect(program.address)
        socks.append(sock)
    return socks


def ask_all(socks, message, seconds):
    """Each socket asks once it is connected, and is closed once it is answered; returns how many were."""
    poll, by_fd, answered = select.poll(), {s.fileno(): s for s in socks}, 0
    for sock in socks:
        poll.register(sock, select.POLLOUT)
    deadline = time.monotonic() + seconds * SLOW
    while by_fd and time.monotonic() < deadline:
        for fd, event in poll.poll(500):
            if event == select.POLLOUT:
                by_fd[fd].send(framed(message))
                poll.modify(fd, select.POLLIN)
                continue
            with contextlib.suppress(OSError), by_fd[fd] as sock:
                answered += len(sock.recv(4096)) > 12
            poll.unregister(fd)
            del by_fd[fd]
    return answered


def test_2000_clients_at_once_are_all_answered(polite):
    """More than select() can watch: those that find no room wait in the kernel until others leave."""
    program, _ = polite
    assert ask_all(connect_many(program, 2000), query("crowd.example."), 20) == 2000


def test_2000_idle_clients_disturb_nobody(polite):
    program, _ = polite
    with program.tcp() as old:
        assert old.ask(query()).rcode == 0
        socks = connect_many(program, 2000)
        time.sleep(0.3)
        began = program.cpu_seconds()
        for number in range(20):
            assert program.udp(query(id=number), timeout=1).id == number
            assert old.ask(query(id=number), timeout=1).id == number
            time.sleep(0.025)
        assert program.cpu_seconds() - began < 0.25 * SLOW, "it spins while it is full"
        for sock in socks:
            sock.close()
    with program.tcp() as late:
        assert late.ask(query()).rcode == 0


def test_one_address_cannot_take_all_connections(polite):
    """RFC 7766 section 10: limits per client address."""
    program, _ = polite
    held = [program.tcp(source="127.1.0.1") for _ in range(700)]
    began = time.monotonic()
    with program.tcp(source="127.1.0.2") as other:
        assert other.ask(query()).rcode == 0
    assert time.monotonic() - began < 0.5 * SLOW
    assert program.descriptors() < 500
    for client in held:
        client.close()
    with program.tcp(source="127.1.0.1") as again:
        assert again.ask(query()).rcode == 0


def test_without_descriptors_left_others_are_served(unkind, dnproxy):
    """Clients take all there are before the upstream was ever asked: even then it is reached."""
    program = dnproxy(unkind(), limit=40)
    held = [program.tcp() for _ in range(80)]
    time.sleep(0.1)
    began = program.cpu_seconds()
    for number in range(20):
        assert program.udp(query(id=number)).rcode == 0
        time.sleep(0.02)
    assert program.cpu_seconds() - began < 0.2 * SLOW, "it spins without descriptors"
    for client in held:
        client.close()
    with program.tcp() as late:
        assert late.ask(query()).rcode == 0


def test_clients_that_come_and_go_leave_no_descriptors_behind(polite):
    program, _ = polite
    assert program.ask(query(), "tcp").rcode == 0
    before = program.descriptors()
    for number in range(200):
        with program.tcp() as client:
            if number % 2:
                client.send(query())
            if number % 3:
                client.ask(query())
    program.udp(query())
    deadline = time.monotonic() + 2 * SLOW
    while program.descriptors() > before and time.monotonic() < deadline:
        time.sleep(0.02)
    assert program.descriptors() <= before


def test_udp_and_tcp_share_one_upstream_connection(polite):
    """RFC 7766 section 6.2.2: at most one connection for ordinary queries."""
    program, server = polite
    with program.tcp() as client, Udp(program.address) as datagrams:
        for _ in range(20):
            client.ask(query())
            datagrams.ask(query())
    assert len(server.connections) == 1


def test_who_is_over_its_bound_pushes_nobody_out(unkind, dnproxy):
    """All slots are taken: the knock of a client that may have no more costs an idle one nothing."""
    program = dnproxy(unkind(), dnproxy__tcp_clients=4, dnproxy__tcp_per_address=2)
    greedy = [program.tcp(source="127.0.0.9") for _ in range(2)]
    honest = [program.tcp(source=f"127.0.0.2{n}") for n in range(2)]
    for client in honest:
        assert client.ask(query()).rcode == 0
    for _ in range(8):
        time.sleep(0.2 * SLOW)
        for client in greedy:
            assert client.ask(query()).rcode == 0
    assert program.tcp(source="127.0.0.9").closed_by_server(2)
    assert [client.closed_by_server(0.2) for client in honest] == [False, False]


def test_when_all_slots_are_taken_the_quietest_makes_room(unkind, dnproxy):
    program = dnproxy(unkind(), dnproxy__tcp_clients=3)
    quiet = [program.tcp() for _ in range(3)]
    with program.tcp() as newcomer:
        assert newcomer.ask(query()).rcode == 0
    assert quiet[0].closed_by_server(2)
