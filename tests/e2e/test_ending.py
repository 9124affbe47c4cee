# SPDX-License-Identifier: MIT
"""What is on its way when the program is told to end; its word to whoever started it; its place in a container."""

import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

import pytest
import yaml

import program as program_under_test
from client import Udp
from patience import PROGRAM, SLOW
from test_workers import children, gone, until, workers_of
from wire import SERVFAIL, query

NO_ANSWER, NOT_READY = 22, 14  # Extended DNS Errors
LAST = 0.6  # seconds that are left for what is on its way
END = 1.0  # seconds after which all is over


class Keeper:
    """The handler of a server that keeps queries to itself until told."""

    def __init__(self):
        self.told = threading.Event()

    def __call__(self, connection):
        kept = []
        while True:
            try:
                asked = connection.query(timeout=0.02)
            except TimeoutError:
                asked = None
            else:
                if asked is None:
                    return
                kept.append(asked)
            while self.told.is_set() and kept:
                connection.answer(kept.pop())


@pytest.fixture
def kept(unkind, dnproxy):
    """A program whose upstream keeps what it is asked, as (program, server, that it may answer)."""

    def start(**more):
        keeper = Keeper()
        server = unkind(keeper)
        return dnproxy(server, **more), server, keeper.told

    return start


def tell(program, number=signal.SIGTERM):
    """Tells it to end, and waits until it knows."""
    began = time.monotonic()
    program.process.send_signal(number)
    program.wait_log(f"ending on {number.name}")
    return began


def ended(program, began, limit):
    assert program.process.wait(5 * SLOW) == 0
    assert time.monotonic() - began < limit * SLOW
    return time.monotonic() - began


# ---- What is on its way -----------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda n: n.name)
def test_what_is_answered_in_time_is_passed_on(kept, number):
    program, server, may_answer = kept()
    with Udp(program.address) as one, program.tcp() as other:
        one.send(query("one.example.", id=1))
        other.send(query("two.example.", id=2))
        other.send(query("three.example.", id=3))
        server.wait_queries(3)
        began = tell(program, number)
        may_answer.set()
        reply = one.receive()
        assert (reply.id, reply.rcode, len(reply.answers)) == (1, 0, 1)
        assert sorted(other.receive().id for _ in range(2)) == [2, 3]
        assert other.closed_by_server()
        ended(program, began, END)


@pytest.mark.parametrize("workers", [1, 2])
def test_what_is_not_is_refused_before_the_end(kept, workers):
    program, server, _ = kept(dnproxy__workers=workers)
    with Udp(program.address) as one, program.tcp() as other:
        one.send(query("one.example.", id=1, opt=True))
        one.send(query("one.example.", id=4, opt=True))  # its twin
        other.send(query("two.example.", id=2, opt=True))
        server.wait_queries(2)
        began = tell(program)
        for replies, ids in (sorted((one.receive(), one.receive()), key=lambda r: r.id), [1, 4]), ([other.receive()], [2]):
            assert [(r.id, r.rcode, r.ede) for r in replies] == [(i, SERVFAIL, [NO_ANSWER]) for i in ids]
        assert time.monotonic() - began >= LAST - 0.05
        ended(program, began, END)


def test_the_query_log_says_how_long_they_have_waited(kept):
    program, server, _ = kept(log__queries=True)
    began = time.monotonic()
    with Udp(program.address) as one:
        one.send(query())
        server.wait_queries(1)
        tell(program)
        assert one.receive().rcode == SERVFAIL
    waited = 1000 * (time.monotonic() - began)
    (line,) = program.wait_log(r"SERVFAIL, .*, (\d+) ms")
    assert 1000 * LAST <= int(line[1]) <= waited


@pytest.mark.parametrize("over", ["udp", "tcp"])
def test_what_is_asked_meanwhile_is_answered_from_the_cache_or_refused(unkind, dnproxy, over):
    def keeps_one(connection):
        while asked := connection.query():
            if asked.name != "kept.example.":
                connection.answer(asked)

    server = unkind(keeps_one)
    program = dnproxy(server, cache__size=64)
    program.udp(query("known.example."))
    with Udp(program.address) as waiting:
        waiting.send(query("kept.example."))
        server.wait_queries(2)
        began = tell(program)
        assert program.ask(query("known.example."), over).answers
        reply = program.ask(query("new.example.", opt=True), over)
        assert (reply.rcode, reply.ede) == (SERVFAIL, [NOT_READY])
        assert program.ask(query("kept.example."), over).rcode == SERVFAIL
        assert time.monotonic() - began < LAST * SLOW, "at once"
        assert waiting.receive().rcode == SERVFAIL
        ended(program, began, END)
    assert len(server.queries) == 2


def test_it_does_not_wait_for_what_nobody_waits_for(unkind, dnproxy):
    """A question of its own, for health's sake, or to keep its cache fresh."""
    server = unkind(lambda connection: connection.idle())
    program = dnproxy(server)
    program_under_test.run("health", "-c", str(program.file), cwd=program.directory)
    assert server.queries
    with program.tcp() as client:
        began = time.monotonic()
        program.process.send_signal(signal.SIGTERM)
        assert client.closed_by_server()
        assert time.monotonic() - began < LAST * 0.9


def best(trial):
    """The least time that three trials take, in a machine that has other things to do."""
    return min(trial() for _ in range(3))


def test_a_second_signal_ends_it_at_once(kept):
    def trial():
        program, server, _ = kept()
        with Udp(program.address) as one:
            one.send(query(id=1))
            server.wait_queries(1)
            began = tell(program)
            program.process.send_signal(signal.SIGTERM)
            assert one.receive().rcode == SERVFAIL
            return time.monotonic() - began

    assert best(trial) < LAST * 0.9


def test_an_idle_one_ends_at_once(unkind, dnproxy):
    """With a connection to its upstream and one of a client."""

    def trial():
        program = dnproxy(unkind())
        with program.tcp() as client:
            assert client.ask(query()).answers
            began = time.monotonic()
            program.process.send_signal(signal.SIGTERM)
            assert client.closed_by_server()
            took = time.monotonic() - began
        assert program.stop()[0] == 0
        return took

    assert best(trial) < 0.1


# ---- With workers -----------------------------------------------------------------------------------


@pytest.mark.parametrize("everybody", [False, True], ids=["their supervisor is told", "all are told"])
def test_workers_pass_on_what_is_answered_in_time(kept, everybody):
    """Some tell every process they find: a terminal on ^C, systemd by control group."""
    program, server, may_answer = kept(dnproxy__workers=2)
    crew = workers_of(program)
    clients = [Udp(program.address) for _ in range(8)]
    for number, one in enumerate(clients):
        one.send(query(f"n{number}.example.", id=number))
    server.wait_queries(8)
    began = time.monotonic()
    program.process.send_signal(signal.SIGTERM)
    for pid in crew if everybody else []:
        os.kill(pid, signal.SIGTERM)
    program.wait_log("worker . *: ending on SIGTERM", count=2)
    may_answer.set()
    assert [one.receive().rcode for one in clients] == [0] * 8
    ended(program, began, END)
    assert all(gone(pid) for pid in crew)
    assert "starting it again" not in program.log
    for one in clients:
        one.close()


def test_a_second_signal_ends_workers_at_once(kept):
    def trial():
        program, server, _ = kept(dnproxy__workers=2)
        crew = workers_of(program)
        with Udp(program.address) as one:
            one.send(query())
            server.wait_queries(1)
            began = tell(program)
            program.process.send_signal(signal.SIGTERM)
            assert until(lambda: all(gone(pid) for pid in crew))
            return time.monotonic() - began

    assert best(trial) < LAST * 0.9


# ---- Word to whoever started it ---------------------------------------------------------------------


@pytest.fixture(params=["path", "abstract"])
def superior(request, tmp_path):
    """The socket of whoever wants to know, and its name."""
    name = str(tmp_path / "notify") if request.param == "path" else f"@dnproxy-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(name.replace("@", "\0"))
        sock.settimeout(8 * SLOW)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        yield sock, name


def told(sock):
    """A message, and who sent it."""
    message, control, _, _ = sock.recvmsg(200, 100)
    return message, int.from_bytes(control[0][2][:4], "little" if os.sys.byteorder == "little" else "big")


@pytest.mark.parametrize("workers", [1, 2])
def test_it_says_when_it_is_ready(unkind, dnproxy, superior, workers):
    """systemd listens to the first process alone."""
    sock, name = superior
    program = dnproxy(unkind(), env={"NOTIFY_SOCKET": name}, dnproxy__workers=workers, wait=False)
    assert told(sock) == (b"READY=1", program.pid)
    assert len(children(program.pid)) == (workers if workers > 1 else 0)
    assert program.udp(query()).answers
    assert program.stop()[0] == 0
    sock.setblocking(False)
    with pytest.raises(BlockingIOError):
        sock.recv(200)


def test_it_says_nothing_when_workers_cannot_start(stage, unkind, superior, tmp_path):
    if b"__asan_init" in Path(PROGRAM).read_bytes():
        pytest.skip("the sanitizer takes more memory than is granted here")
    sock, name = superior
    tree = stage.settings(unkind(), dnproxy__workers=2, cache__size=1 << 20)
    (tmp_path / "dnproxy.yml").write_text(yaml.safe_dump(tree))
    done = subprocess.run(["sh", "-c", 'ulimit -v 500000; exec "$0"', PROGRAM], cwd=tmp_path, check=False,
                          capture_output=True, timeout=10 * SLOW, env={"NOTIFY_SOCKET": name})
    assert done.returncode == 1
    sock.setblocking(False)
    with pytest.raises(BlockingIOError):
        sock.recv(200)


def test_it_says_nothing_when_it_cannot_start(run, superior, tmp_path):
    sock, name = superior
    port = program_under_test.free_port(["127.0.0.1"])
    (tmp_path / "dnproxy.yml").write_text(f"dnproxy:\n  port: {port}\nupstream:\n  ip: 192.0.2.1\n")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", port))
        assert run(env={"NOTIFY_SOCKET": name}).returncode == 1
    sock.setblocking(False)
    with pytest.raises(BlockingIOError):
        sock.recv(200)


@pytest.mark.parametrize("name", ["/nowhere/notify", "@nobody-is-here", "x" * 300, "@" + "x" * 300, "/"],
                         ids=["path", "abstract", "long path", "long abstract", "a directory"])
def test_nobody_who_could_be_told_is_a_warning(unkind, dnproxy, name):
    program = dnproxy(unkind(), env={"NOTIFY_SOCKET": name})
    program.wait_log(r"^dnproxy: warn: NOTIFY_SOCKET: .*: (no such|connection|permission|error|protocol)")
    assert program.udp(query()).answers
    assert program.stop()[0] == 0


def test_a_superior_who_does_not_listen_holds_up_nothing(unkind, dnproxy, superior):
    sock, name = superior
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as crowd:
        crowd.setblocking(False)
        with pytest.raises(BlockingIOError):
            while True:
                crowd.sendto(b"x", name.replace("@", "\0"))
    program = dnproxy(unkind(), env={"NOTIFY_SOCKET": name})
    assert program.udp(query()).answers
    assert program.stop()[1] < END * SLOW


def test_nobody_wants_to_know(unkind, dnproxy):
    assert "NOTIFY" not in dnproxy(unkind(), env={"NOTIFY_SOCKET": ""}).log


# ---- In a container ---------------------------------------------------------------------------------


def test_as_process_1_it_collects_whoever_is_left_to_it_and_ends_when_told(stage, unkind, needs, tmp_path):
    """With workers: see test_workers."""
    file = tmp_path / "dnproxy.yml"
    file.write_text(yaml.safe_dump(stage.settings(unkind())))
    outer = subprocess.Popen([needs("unshare"), "--user", "--map-root-user", "--pid", "--fork", "--kill-child",
                              PROGRAM, "-c", str(file)], stderr=subprocess.PIPE, cwd=tmp_path)
    try:
        # The last line of its start: now it waits.
        for line in outer.stderr:
            if b"asking" in line:
                break
        (first,) = children(outer.pid)
        enter = [needs("nsenter"), "-t", str(first), "--user", "--preserve-credentials", "--pid", "sh", "-c"]
        subprocess.run([*enter, "(sleep 300 & sleep 300 &)"], check=True)
        assert until(lambda: len(children(first)) == 2)
        for orphan in children(first):
            os.kill(orphan, signal.SIGKILL)
        assert until(lambda: not children(first)), "a zombie is left"
        began = time.monotonic()
        # From inside, where process 1 has no default actions; whoever sends it may end with its namespace.
        subprocess.run([*enter, "kill -TERM 1"], check=False)
        assert outer.wait(5 * SLOW) == 0
        assert time.monotonic() - began < END * SLOW
    finally:
        outer.kill()
        outer.wait()
        outer.stderr.close()


class EmptyRoot:
    """A root without /dev, /etc or anything else but the program, and perhaps its settings; read-only."""

    def __init__(self, directory, needs, tree=None):
        if re.search("INTERP", subprocess.run(["readelf", "-lW", PROGRAM], capture_output=True, text=True,
                                              check=True).stdout):
            pytest.skip("this build needs libraries")
        self.directory = directory / "root"
        self.directory.mkdir()
        shutil.copy(PROGRAM, self.directory / "dnproxy")
        if tree is not None:
            (self.directory / "dnproxy.yml").write_text(yaml.safe_dump(tree))
        self.command = [needs("unshare"), "--user", "--map-root-user", "--mount", "sh", "-c",
                        'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && exec chroot "$0" /dnproxy "$@"',
                        str(self.directory)]
        self.log = directory / "log"

    def run(self, *args, env=None):
        return subprocess.run([*self.command, *args], env=self.environment(env), capture_output=True, text=True,
                              timeout=10 * SLOW, check=False, stdin=subprocess.DEVNULL)

    def start(self, env=None):
        with self.log.open("w") as log:
            return subprocess.Popen(self.command, env=self.environment(env), stderr=log, stdin=subprocess.DEVNULL)

    @staticmethod
    def environment(env):
        return {"PATH": os.environ["PATH"], **(env or {})}


def stop(process):
    process.terminate()
    assert process.wait(5 * SLOW) == 0


def test_it_needs_no_file_but_itself_and_its_settings(stage, unkind, leaf, needs, tmp_path):
    server = unkind()
    known = {"ip": server.host, "port": server.port, "pins": [leaf.pin]}
    tree = stage.settings(known, tls__trust_anchors="")
    root = EmptyRoot(tmp_path, needs, tree)
    process = root.start()
    try:
        assert until(lambda: "asking" in root.log.read_text())
        with Udp(("127.0.0.1", tree["dnproxy"]["port"])) as client:
            assert client.ask(query()).answers
        done = root.run("health")
        assert (done.returncode, done.stderr) == (0, "")
        assert sorted(p.name for p in root.directory.iterdir()) == ["dnproxy", "dnproxy.yml"]
    finally:
        stop(process)
    assert server.connections[0].version == "TLSv1.2"


def test_it_needs_no_file_but_itself_where_the_environment_says_all(unkind, needs, tmp_path):
    """By the built-in trust anchors, which do not know the server of this test: it gets as far as to say so."""
    server = unkind()
    root = EmptyRoot(tmp_path, needs)
    port = program_under_test.free_port(["127.0.0.1"])
    env = {"DNPROXY_PORT": str(port), "DNPROXY_UPSTREAM_IP": f"{server.host}@{server.port}",
           "DNPROXY_UPSTREAM_HOSTNAME": server.name}
    process = root.start(env)
    try:
        assert until(lambda: "asking" in root.log.read_text())
        assert root.run("health", "--live", env=env).returncode == 0
        assert root.run("health", env=env).returncode == 1
        assert "certificate is not signed by a trust anchor" in root.log.read_text()
    finally:
        stop(process)
    assert server.connections and [p.name for p in Path(root.directory).iterdir()] == ["dnproxy"]
