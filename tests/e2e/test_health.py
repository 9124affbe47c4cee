# SPDX-License-Identifier: MIT
"""`dnproxy health`: what a container's health check and a cluster's probes are told."""

import contextlib
import socket
import threading
import time

import pytest
import yaml

import program as program_under_test
from client import Udp
from patience import SLOW
from wire import CD, NOTIMP, RD, REFUSED, SERVFAIL, Message, answer, query

WELL, ILL, SETTINGS = 0, 1, 2
LIMIT = 2.5  # seconds; a health check's usual timeout is 3
MINIMAL = "upstream:\n  ip: 192.0.2.1\n  hostname: dns.test\n"


def health(program, *args, env=None):
    """Asks program, by its own settings.  Returns (status, the one line that was said)."""
    return outcome(program_under_test.run("health", *args, "-c", str(program.file), cwd=program.directory, env=env))


def outcome(done):
    line = done.stdout + done.stderr
    assert line.count("\n") == 1 and line.endswith("\n"), line
    assert (done.stderr == "") == (done.returncode == WELL)
    return done.returncode, line.rstrip("\n")


def silent(connection):
    connection.idle()


def sour(connection):
    while asked := connection.query():
        connection.answer(asked, records=[], rcode=SERVFAIL)


# ---- Ready ------------------------------------------------------------------------------------------


@pytest.mark.cross
@pytest.mark.parametrize("args", [[], ["--ready"]], ids=["", "--ready"])
def test_it_is_ready_when_an_upstream_answers_now(polite, args):
    program, server = polite
    assert health(program, *args) == (WELL, f"ready: {program.host}@{program.port}: well")
    (asked,) = server.queries
    assert (asked.name, asked.type, asked.flags & RD) == (".", 2, RD)


def test_it_is_ready_when_an_upstream_has_answered_lately_which_is_not_asked_again(polite):
    program, server = polite
    assert program.udp(query()).answers
    for _ in range(3):
        assert health(program)[0] == WELL
    assert len(server.queries) == 1


@pytest.mark.cross
@pytest.mark.parametrize("kind", ["silent", "refused", "servfail"])
def test_it_is_not_ready_when_no_upstream_answers(unkind, dnproxy, kind):
    server = unkind(sour if kind == "servfail" else silent)
    if kind == "refused":
        server.refuse()
    program = dnproxy(server)
    began = time.monotonic()
    status, line = health(program)
    assert time.monotonic() - began < LIMIT * SLOW
    assert status == ILL
    assert line == f"not ready: {program.host}@{program.port}: no upstream answers it; its log says why"
    assert health(program, "--live")[0] == WELL


def test_the_upstream_may_take_its_time(unkind, dnproxy):
    def slow(connection):
        while asked := connection.query():
            time.sleep(0.5)
            connection.answer(asked)

    assert health(dnproxy(unkind(slow)))[0] == WELL


@pytest.mark.parametrize("over", ["cache", "stale cache", "no cache"])
def test_what_was_well_lately_is_not_when_a_query_has_failed_since(unkind, dnproxy, over):
    """Nor is an answer that is kept a sign of health."""

    def falls_silent(connection):
        while asked := connection.query():
            if asked.name != "fails.example.":
                connection.answer(asked, records=[])
            else:
                connection.server.handler = silent
                connection.server.refuse()
                connection.fin()
                return

    more = {"cache__size": 64} if over != "no cache" else {}
    if over == "stale cache":
        more["cache__max_ttl"] = 1
    program = dnproxy(unkind(falls_silent), **more)
    assert program.udp(query(".", "NS")).rcode == 0
    assert health(program)[0] == WELL
    assert program.udp(query("fails.example.")).rcode == SERVFAIL
    assert health(program)[0] == ILL


@pytest.mark.parametrize("handler", [silent, sour], ids=["silent", "servfail"])
def test_a_flood_of_such_questions_reaches_upstreams_once_a_second(unkind, dnproxy, handler):
    server = unkind(handler)
    program = dnproxy(server)
    began = time.monotonic()
    with Udp(program.address) as client:
        for number in range(1000):
            reply = client.ask(ready_question(number))
            assert (reply.id, reply.rcode, reply.counts) == (number, SERVFAIL, [1, 0, 0, 0])
    took = time.monotonic() - began
    server.wait_queries(1)
    assert len(server.queries) <= 2 * (1 + took), "perhaps once more of a second connection, or behind a SERVFAIL"


def ready_question(number=0, **changes):
    return query("ready.dnproxy.", "TXT", id=number, flags=0, rdclass=3, **changes)


def test_what_it_is_told_is_one_bit_over_tcp_too(polite):
    program, _ = polite
    assert program.udp(query()).answers
    for over in "udp", "tcp":
        reply = program.ask(ready_question(7), over)
        assert (reply.id, reply.rcode, reply.counts) == (7, 0, [1, 0, 0, 0])
        assert program.ask(ready_question(opt=True), over).options == []


def test_other_questions_of_that_class_go_the_usual_way(polite):
    program, server = polite
    for message in query("ready.dnproxy.", "TXT"), query("ready.dnproxy.", "A", rdclass=3):
        program.udp(message)
    assert len(server.queries) == 2


@pytest.mark.parametrize("workers", [2, 3])
def test_whichever_worker_is_asked(unkind, dnproxy, workers):
    server = unkind()
    program = dnproxy(server, dnproxy__workers=workers)
    for _ in range(8):
        assert health(program)[0] == WELL
    assert len(server.queries) <= workers


# ---- Live -------------------------------------------------------------------------------------------


@pytest.mark.cross
@pytest.mark.valgrind
def test_it_is_live_without_a_word_to_upstreams(polite):
    program, server = polite
    assert health(program, "--live") == (WELL, f"live: {program.host}@{program.port}: well")
    assert server.connections == []


@pytest.mark.parametrize("args", [["--live"], ["--ready"]], ids=lambda a: a[0])
def test_it_may_ask_whoever_is_allowed(unkind, dnproxy, args):
    assert health(dnproxy(unkind(), dnproxy__allow=["192.0.2.0/24"]), *args)[0] == WELL


# ---- Where ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host, asked", [("0.0.0.0", "127.0.0.1"), ("::", "[::1]"), ("::1", "[::1]"),
                                         (["127.0.0.9", "::1"], "127.0.0.9")], ids=str)
def test_it_asks_where_the_program_listens_first(unkind, dnproxy, host, asked):
    program = dnproxy(unkind(), host=host)
    assert health(program) == (WELL, f"ready: {asked}@{program.port}: well")


def test_it_goes_by_the_environment_too(unkind, dnproxy):
    """As the program itself does: the two share it in a container."""
    server = unkind()
    port = program_under_test.free_port(["127.0.0.7"])
    env = {"DNPROXY_HOST": "127.0.0.7", "DNPROXY_PORT": str(port)}
    program = dnproxy(server, env=env)
    program.host, program.port = "127.0.0.7", port
    assert health(program, env=env)[0] == WELL
    assert health(program)[0] == ILL


def test_it_needs_no_more_than_the_settings(polite):
    """A check that may not read the trust anchors, or finds no room for them, still can ask."""
    program, _ = polite
    tree = yaml.safe_load(program.file.read_text())
    tree["tls"]["trust_anchors"] = "/nothing/is/here"
    program.file.write_text(yaml.safe_dump(tree))
    assert health(program)[0] == WELL


# ---- Others who are asked ---------------------------------------------------------------------------


@contextlib.contextmanager
def listener(reply, tmp_path):
    """A program of another kind, or none at all: reply(query, count) is what it sends, or None."""
    port = program_under_test.free_port(["127.0.0.1"])
    (tmp_path / "dnproxy.yml").write_text(f"dnproxy:\n  port: {port}\n" + MINIMAL)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", port))
        asked = []

        def serve():
            while True:
                message, peer = sock.recvfrom(4096)
                if not message:
                    return
                asked.append(Message(message))
                octets = reply(message, len(asked))
                if octets is not None:
                    sock.sendto(octets, peer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield asked
        finally:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
                last.sendto(b"", ("127.0.0.1", port))
            thread.join(5)


def ask_listener(run, *args):
    began = time.monotonic()
    result = outcome(run("health", *args))
    assert time.monotonic() - began < LIMIT * SLOW
    return result


@pytest.mark.parametrize("args, word", [([], "ready"), (["--live"], "live")], ids=["ready", "live"])
def test_silence_is_no_answer(run, tmp_path, args, word):
    with listener(lambda *_: None, tmp_path) as asked:
        status, line = ask_listener(run, *args)
    assert status == ILL and line.startswith(f"not {word}: ") and line.endswith(": no answer")
    assert len(asked) > 3, "it asks again"


@pytest.mark.parametrize("args", [[], ["--live"]], ids=["ready", "live"])
def test_a_question_or_answer_may_be_lost(run, tmp_path, args):
    with listener(lambda message, count: answer(message) if count > 3 else None, tmp_path):
        assert ask_listener(run, *args)[0] == WELL


BENT = {
    "other id": lambda m: answer(m, id=1),
    "an echo": lambda m: m,
    "cut": lambda m: answer(m)[:-1],
    "no question": lambda m: answer(m)[:12],
    "other question": lambda m: answer(m, asked=b"\5ready\7dnproxx\0\0\x10\0\3"),
    "empty": lambda m: b"",
}


@pytest.mark.parametrize("bent", BENT.values(), ids=BENT.keys())
def test_what_does_not_match_the_question_is_no_sign_of_life(run, tmp_path, bent):
    with listener(lambda message, _: bent(message), tmp_path):
        assert ask_listener(run, "--live")[0] == ILL


def test_what_another_server_says_is_told(run, tmp_path):
    with listener(lambda message, _: answer(message, rcode=REFUSED), tmp_path):
        assert ask_listener(run)[1].endswith(": REFUSED")
        assert ask_listener(run, "--live")[0] == WELL


def test_live_asks_what_no_server_passes_on(run, tmp_path):
    with listener(lambda message, _: answer(message, rcode=NOTIMP), tmp_path) as asked:
        ask_listener(run, "--live")
    assert [(m.opcode, m.flags & (RD | CD)) for m in asked] == [(2, 0)]


@pytest.mark.cross
def test_nobody_listens(run, tmp_path):
    port = program_under_test.free_port(["127.0.0.1"])
    (tmp_path / "dnproxy.yml").write_text(f"dnproxy:\n  port: {port}\n" + MINIMAL)
    for args, word in ([], "ready"), (["--live"], "live"):
        assert ask_listener(run, *args) == (ILL, f"not {word}: 127.0.0.1@{port}: connection refused")


def test_an_address_that_cannot_be_reached(run, tmp_path):
    (tmp_path / "dnproxy.yml").write_text("dnproxy:\n  host: fe80::1%lo\n" + MINIMAL)
    status, line = ask_listener(run, "--live")
    assert status == ILL and line.startswith("not live: [fe80::1%")


# ---- Usage ------------------------------------------------------------------------------------------


def test_the_file_may_be_named_before_or_behind(polite):
    program, _ = polite
    for args in ["health", "-c", str(program.file)], ["-c", str(program.file), "health"]:
        assert outcome(program_under_test.run(*args, cwd="/"))[0] == WELL


@pytest.mark.parametrize("args", [["--nonsense"], ["--json"], ["--check"], ["127.0.0.1"], ["-c"]], ids=lambda a: a[0])
def test_wrong_usage_is_one_line_and_2(run, args):
    status, line = outcome(run("health", *args))
    assert status == SETTINGS and "--help" in line


def test_broken_settings_are_one_line_and_2(run, tmp_path):
    (tmp_path / "dnproxy.yml").write_text("dnproxy:\n  hots: ::1\n" + MINIMAL)
    status, line = outcome(run("health"))
    assert status == SETTINGS and line.startswith("dnproxy.yml:2:3: ")
