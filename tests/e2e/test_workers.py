# SPDX-License-Identifier: MIT
"""Several processes that share the work, and the one that keeps them."""

import collections
import contextlib
import os
import re
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

import client
import program as program_under_test
from patience import PROGRAM, ROOT, SLOW
from wire import query

DYNAMIC = os.environ.get("DNPROXY_DYNAMIC", str(ROOT / "build" / "test" / "dnproxy"))
CROWD = 24  # clients; that all of them are one worker's has a chance of 1 in 8 million


def until(condition, timeout=8.0):
    """Waits for a condition; returns what it said last."""
    deadline = time.monotonic() + timeout * SLOW
    while not (found := condition()) and time.monotonic() < deadline:
        time.sleep(0.005)
    return found


def processes():
    """(pid, its parent, its state) of every process there is.  One may end between any two looks at it."""
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            yield int(pid), int(fields[1]), fields[0]


def children(pid):
    return sorted(p for p, parent, _ in processes() if parent == pid)


def workers_of(program, count=None):
    """Their pids, in the order of their start."""
    count = count or int(program.wait_log(r"listening on .*, workers: (\d+)")[0][1])
    found = until(lambda: len(crew := children(program.pid)) == count and crew)
    assert found, f"{len(children(program.pid))} workers instead of {count}:\n{program.log}"
    return found


def gone(pid):
    return all(state == "Z" for p, _, state in processes() if p == pid)


@pytest.fixture
def crowd():
    """crowd(program) is many UDP clients with their eye on it, each of which is always the same worker's."""
    with contextlib.ExitStack() as stack:
        yield lambda program, count=CROWD: [stack.enter_context(client.Udp(program.address)) for _ in range(count)]


def ask_all(clients, stem):
    """Each asks a name of its own."""
    for number, one in enumerate(clients):
        one.send(query(f"{stem}{number}.example.", id=number))


def answered(clients, timeout=6.0):
    """Those that get their answer."""
    replies = []
    for number, one in enumerate(clients):
        with contextlib.suppress(TimeoutError):
            reply = one.receive(timeout)
            assert (reply.id, reply.rcode) == (number, 0)
            replies.append(number)
    return replies


def by_connection(server):
    """The queries of each connection, hence of each worker."""
    found = collections.defaultdict(list)
    for arrived in server.queries:
        found[arrived.connection.number].append(arrived)
    return found


# ---- Serving ----------------------------------------------------------------------------------------


def test_clients_are_spread_over_workers_that_share_nothing_drawn_by_lot(unkind, dnproxy, crowd):
    """Query IDs and what TLS draws."""
    server = unkind()
    program = dnproxy(server, dnproxy__workers=2)
    assert len(workers_of(program)) == 2
    clients = crowd(program)
    for turn in range(3):
        ask_all(clients, f"turn{turn}-")
        assert len(answered(clients)) == CROWD
    one, two = by_connection(server).values()
    assert len(one) + len(two) == 3 * CROWD
    few = min(len(one), len(two))
    assert len(set(q.id for q in one[:few]) & set(q.id for q in two[:few])) <= few // 2, "the same query IDs"
    hellos = [bytes(c.raw[11:43]) for c in (one[0].connection, two[0].connection)]
    assert hellos[0] != hellos[1], "the same random octets in two ClientHellos"


def memory_of(pid, symbol):
    """The octets of a variable of the program with symbols, which is linked to a fixed address."""
    for line in subprocess.run(["nm", "-S", DYNAMIC], capture_output=True, text=True, check=True).stdout.splitlines():
        if line.endswith(f" {symbol}"):
            address, size = (int(field, 16) for field in line.split()[:2])
            with open(f"/proc/{pid}/mem", "rb") as memory:
                memory.seek(address)
                return memory.read(size)
    raise AssertionError(f"{DYNAMIC} has no {symbol}")


def test_secrets_are_drawn_after_workers_have_parted(stage, unkind, tmp_path, monkeypatch):
    """Of hashes, above all: who learns one worker's would know the names that meet in the other's cache.  Before
    the first query there is nothing else in which two proxies differ."""
    monkeypatch.setattr(program_under_test, "PROGRAM", DYNAMIC)
    program = program_under_test.Dnproxy(tmp_path, stage.settings(unkind(), dnproxy__workers=2, cache__size=512))
    stage.programs.append(program)
    crew = workers_of(program)

    def drawn():
        one, two = (memory_of(pid, "proxy") for pid in crew)
        return sum(a != b for a, b in zip(one, two)) > 8  # of 12 that are random

    assert until(drawn), "the same seeds of the query table and of the cache"


@pytest.mark.cross
def test_tcp_clients_are_spread_too(unkind, dnproxy):
    server = unkind()
    program = dnproxy(server, dnproxy__workers=2)
    with contextlib.ExitStack() as stack:
        for number in range(CROWD):
            one = stack.enter_context(program.tcp())
            assert one.ask(query(f"tcp{number}.example.")).answers
    assert len(by_connection(server)) == 2


def test_each_worker_counts_for_itself_and_says_who_it_is(unkind, dnproxy, crowd):
    program = dnproxy(unkind(), dnproxy__workers=2, cache__size=0)
    clients = crowd(program)
    ask_all(clients, "count")
    assert len(answered(clients)) == CROWD
    program.process.send_signal(signal.SIGUSR1)
    counts = program.wait_log(r"info: worker (\d): counters: .*\basked (\d+), answered (\d+)", count=2)
    assert sorted(m[1] for m in counts) == ["1", "2"]
    assert sum(int(m[2]) for m in counts) == sum(int(m[3]) for m in counts) == CROWD
    assert all(int(m[2]) > 0 for m in counts)
    program.process.send_signal(signal.SIGUSR2)
    assert sorted(m[1] for m in program.wait_log(r"worker (\d): SIGUSR2", count=2)) == ["1", "2"]


def test_lines_of_several_processes_do_not_mix(unkind, dnproxy, crowd):
    program = dnproxy(unkind(), dnproxy__workers=2, log__queries=True, cache__size=0)
    clients = crowd(program)
    turns = 20
    for turn in range(turns):
        ask_all(clients, f"{turn}" * 20 + "-")
        assert len(answered(clients)) == CROWD
    program.wait_log(r"worker \d: .*example", count=turns * CROWD)
    told = collections.Counter(m[1] for line in program.lines for m in re.finditer(r"\b(\d+-\d+)\.example", line))
    assert set(told.values()) == {1} and len(told) == turns * CROWD
    assert all(re.fullmatch(r"dnproxy: (info|query|warn): [^\n]*", line) for line in program.lines)
    assert not [line for line in program.lines if line.count("dnproxy: ") > 1 and "dnproxy 0" not in line]


# ---- A worker that dies -----------------------------------------------------------------------------


@pytest.mark.cross
@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGABRT, signal.SIGTERM], ids=lambda s: s.name)
def test_a_dead_worker_is_replaced_at_once(unkind, dnproxy, crowd, end):
    program = dnproxy(unkind(), dnproxy__workers=2)
    first, second = workers_of(program)
    began = time.monotonic()
    os.kill(first, end)
    assert until(lambda: len(children(program.pid)) == 2 and first not in children(program.pid))
    assert time.monotonic() - began < 0.7 * SLOW, "the first restart is immediate"
    assert second in children(program.pid)
    program.wait_log(rf"error: worker 1 ended \((signal {end.value}|status \d+)\); starting it again")
    clients = crowd(program)
    ask_all(clients, "after")
    assert len(answered(clients)) == CROWD


def test_a_worker_that_dies_again_and_again_is_not_started_in_a_loop(unkind, dnproxy):
    program = dnproxy(unkind(), dnproxy__workers=2)
    seen, kept = {workers_of(program)[0]}, workers_of(program)[1]
    began = time.monotonic()
    while time.monotonic() - began < 3.5:
        for pid in children(program.pid):
            if pid != kept:
                seen.add(pid)
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        time.sleep(0.002)
    took = time.monotonic() - began
    assert 4 <= len(seen) <= took + 2, "the first one, the one at once, and one a second"
    assert kept in children(program.pid)
    # The same line over and over is counted, and told by the supervisor alone when it has stopped.
    program.wait_log(r"error: worker 1 ended .* \.\.\. and \d+ more", timeout=15)
    program.process.send_signal(signal.SIGUSR1)
    program.wait_log(r"worker 1: counters: .*asked")
    assert not [line for line in program.lines if re.search(r"worker 1: .*ended", line)]


def test_datagrams_wait_for_the_worker_that_follows(unkind, dnproxy, crowd):
    """A worker that is stopped reads nothing; what lies in its socket then outlives it."""
    program = dnproxy(unkind(), dnproxy__workers=2)
    first, _ = workers_of(program)
    clients = crowd(program)
    ask_all(clients, "warm")
    assert len(answered(clients)) == CROWD
    os.kill(first, signal.SIGSTOP)
    ask_all(clients, "waiting")
    waiting = set(range(CROWD)) - set(answered(clients, timeout=0.2))
    assert 0 < len(waiting) < CROWD, "those of the other worker are answered meanwhile"
    os.kill(first, signal.SIGKILL)
    for number in waiting:
        reply = clients[number].receive()
        assert (reply.id, reply.rcode, reply.name) == (number, 0, f"waiting{number}.example.")


def test_connections_wait_for_the_worker_that_follows(unkind, dnproxy):
    program = dnproxy(unkind(), dnproxy__workers=2)
    first, _ = workers_of(program)
    os.kill(first, signal.SIGSTOP)
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(program.tcp()) for _ in range(CROWD)]
        for number, one in enumerate(clients):
            one.send(query(f"tcp{number}.example.", id=number))
        waiting = set(range(CROWD)) - set(answered(clients, timeout=0.2))
        assert 0 < len(waiting) < CROWD
        os.kill(first, signal.SIGKILL)
        for number in waiting:
            reply = clients[number].receive()
            assert (reply.id, reply.rcode) == (number, 0)


def test_workers_are_kept_where_nobody_reads_the_log(stage, unkind, tmp_path):
    """What writes to a pipe that nobody reads is ended by SIGPIPE, unless it has said otherwise."""
    reader, writer = os.pipe()
    file = tmp_path / "dnproxy.yml"
    tree = stage.settings(unkind(), dnproxy__workers=2)
    file.write_text(program_under_test.yaml.safe_dump(tree))
    with contextlib.closing(os.fdopen(reader)):
        process = subprocess.Popen([PROGRAM, "-c", str(file)], stderr=writer, cwd=tmp_path)
        os.close(writer)
        assert until(lambda: len(children(process.pid)) == 2)
    try:
        for _ in range(2):
            before = children(process.pid)
            os.kill(before[0], signal.SIGKILL)
            assert until(lambda: len(children(process.pid)) == 2 and before[0] not in children(process.pid))
        with client.Udp((tree["dnproxy"]["host"], tree["dnproxy"]["port"])) as one:
            assert one.ask(query()).answers
    finally:
        process.terminate()
        assert process.wait(5 * SLOW) == 0


def test_who_started_it_may_have_ignored_its_children(stage, unkind, tmp_path):
    """SIGCHLD set to SIG_IGN is kept by exec, and then nobody would be told of a worker's end."""
    file = tmp_path / "dnproxy.yml"
    file.write_text(program_under_test.yaml.safe_dump(stage.settings(unkind(), dnproxy__workers=2)))
    process = subprocess.Popen(["env", "--ignore-signal=CHLD", PROGRAM, "-c", str(file)], stderr=subprocess.DEVNULL,
                               cwd=tmp_path)
    try:
        assert until(lambda: len(children(process.pid)) == 2)
        first, second = children(process.pid)
        os.kill(first, signal.SIGKILL)
        assert until(lambda: len(children(process.pid)) == 2 and first not in children(process.pid))
    finally:
        process.terminate()
        assert process.wait(5 * SLOW) == 0


# ---- The start --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [socket.SOCK_DGRAM, socket.SOCK_STREAM], ids=["udp", "tcp"])
def test_a_port_that_is_taken_is_an_error_for_many_too(stage, unkind, run, tmp_path, kind):
    """Even if whoever has it would share it: nobody could tell which of the two a client meets."""
    tree = stage.settings(unkind(), dnproxy__workers=3)
    (tmp_path / "dnproxy.yml").write_text(program_under_test.yaml.safe_dump(tree))
    with socket.socket(socket.AF_INET, kind) as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        taken.bind(("127.0.0.1", tree["dnproxy"]["port"]))
        if kind == socket.SOCK_STREAM:
            taken.listen()
        done = run()
    assert done.returncode == 1
    assert re.search(r"error: cannot listen on .* \((udp|tcp)\): address in use; .*dnproxy\.port", done.stderr)


@pytest.mark.parametrize("others", [1, 2])
def test_a_second_program_on_the_same_port_is_refused(unkind, dnproxy, stage, run, tmp_path, others):
    program = dnproxy(unkind(), dnproxy__workers=2)
    tree = stage.settings(unkind(), port=program.port, dnproxy__workers=others)
    (tmp_path / "dnproxy.yml").write_text(program_under_test.yaml.safe_dump(tree))
    assert run().returncode == 1
    assert program.udp(query()).answers


@contextlib.contextmanager
def processors(wanted):
    """What is started meanwhile may run on these alone."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, wanted)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def test_auto_is_one_worker_a_processor_it_may_run_on(unkind, dnproxy):
    ours = sorted(os.sched_getaffinity(0))
    with processors(ours[-1:]):
        alone = dnproxy(unkind(), dnproxy__workers="auto")
    assert children(alone.pid) == [] and "workers" not in alone.log
    if len(ours) > 1:
        with processors(ours[:2]):
            assert len(workers_of(dnproxy(unkind(), dnproxy__workers="auto"))) == 2


def test_check_says_what_all_workers_take(run, tmp_path):
    def memory(workers):
        (tmp_path / "dnproxy.yml").write_text(
            f"dnproxy:\n  workers: {workers}\nupstream:\n  ip: 192.0.2.1\n  hostname: dns.test\n")
        done = run("--check")
        assert f"\n  workers: {workers}\n" in done.stdout
        return re.search(r"# +together +(\d+) octets, workers: (\d+)", done.stdout).groups()

    one, many = memory(1), memory(64)
    assert (one[1], many[1]) == ("1", "64")
    assert int(many[0]) == 64 * int(one[0]), "the built-in trust anchors take nothing"
    with processors(sorted(os.sched_getaffinity(0))[-1:]):
        assert memory("auto") == one


def descriptors_of(pid):
    """By number; one may be closed while we look."""
    found = {}
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            found[int(entry.name)] = os.readlink(entry)
    return found


def test_a_worker_has_its_own_sockets_alone(unkind, dnproxy):
    program = dnproxy(unkind(), dnproxy__workers=4)
    crew = workers_of(program)

    def sockets(pid):
        return {d for d in descriptors_of(pid).values() if d.startswith("socket:")}

    ours = sockets(program.pid)
    assert len(ours) == 8
    # As soon as they have begun.
    assert until(lambda: [len(sockets(pid) & ours) for pid in crew] == [2, 2, 2, 2])
    assert set().union(*(sockets(pid) for pid in crew)) >= ours


def test_more_workers_with_more_addresses_than_select_takes_are_fewer(unkind, dnproxy, crowd):
    """64 times 16 addresses are 2,048 sockets; no descriptor may reach FD_SETSIZE."""
    program = dnproxy(unkind(), host=[f"127.0.0.{n}" for n in range(1, 17)], dnproxy__workers=64)
    program.wait_log(r"warn: only 1024 descriptors .*: 31 workers")
    crew = workers_of(program, 31)
    clients = crowd(program, 100)
    ask_all(clients, "many")
    assert len(answered(clients)) == 100
    for pid in [program.pid, *crew]:
        assert max(descriptors_of(pid)) < 1024


def test_what_the_descriptors_that_are_granted_do_not_allow_is_not_started(unkind, dnproxy):
    program = dnproxy(unkind(), dnproxy__workers=64, limit=64)
    program.wait_log(r"warn: only 64 descriptors are granted \(ulimit -n\).*: 24 workers")
    program.wait_log(r"warn: only 64 descriptors are granted \(ulimit -n\): at most \d+ TCP clients")
    workers_of(program, 24)
    assert program.udp(query()).answers


# ---- The end ----------------------------------------------------------------------------------------


def test_workers_that_cannot_start_are_an_error_for_all(stage, unkind, tmp_path):
    if b"__asan_init" in Path(PROGRAM).read_bytes():
        pytest.skip("the sanitizer takes more memory than is granted here")
    tree = stage.settings(unkind(), dnproxy__workers=2, cache__size=1 << 20)
    (tmp_path / "dnproxy.yml").write_text(program_under_test.yaml.safe_dump(tree))
    done = subprocess.run(["sh", "-c", 'ulimit -v 500000; exec "$0"', PROGRAM], cwd=tmp_path, check=False,
                          capture_output=True, text=True, timeout=10 * SLOW)
    assert done.returncode == 1
    assert "octets of memory; set smaller tables" in done.stderr
    assert "starting it again" not in done.stderr


@pytest.mark.cross
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda s: s.name)
def test_all_end_within_a_second(unkind, dnproxy, number):
    program = dnproxy(unkind(), dnproxy__workers=3)
    crew = workers_of(program)
    status, took = program.stop(number)
    assert status == 0 and took < 1.0 * SLOW
    assert all(gone(pid) for pid in crew)
    assert sorted(m[1] for m in program.wait_log(rf"worker (\d): ending on {number.name}", count=3)) == ["1", "2", "3"]
    assert "starting it again" not in program.log


def test_it_ends_at_once_when_told_to_at_once(unkind, dnproxy):
    """From the line that it listens on, signals are no surprise."""
    for _ in range(5):
        program = dnproxy(unkind(), dnproxy__workers=2)
        assert program.stop()[0] == 0


def test_a_worker_that_is_stopped_does_not_hold_up_the_end(unkind, dnproxy):
    program = dnproxy(unkind(), dnproxy__workers=2)
    crew = workers_of(program)
    os.kill(crew[0], signal.SIGSTOP)
    status, took = program.stop()
    assert status == 0 and took < 1.0 * SLOW
    assert until(lambda: all(gone(pid) for pid in crew))


def test_workers_end_with_a_supervisor_that_is_killed(stage, unkind, tmp_path):
    program = program_under_test.Dnproxy(tmp_path, stage.settings(unkind(), dnproxy__workers=3))
    crew = workers_of(program)
    assert program.stop(signal.SIGKILL)[0] == -signal.SIGKILL
    assert until(lambda: all(gone(pid) for pid in crew)), "workers go on without their supervisor"


def test_as_process_1_of_a_container_it_collects_whoever_is_left_to_it(stage, unkind, needs, tmp_path):
    file = tmp_path / "dnproxy.yml"
    file.write_text(program_under_test.yaml.safe_dump(stage.settings(unkind(), dnproxy__workers=2)))
    outer = subprocess.Popen([needs("unshare"), "--user", "--map-root-user", "--pid", "--fork", "--kill-child",
                              PROGRAM, "-c", str(file)],
                             stderr=subprocess.DEVNULL, cwd=tmp_path)
    try:
        assert until(lambda: (inner := children(outer.pid)) and len(children(inner[0])) == 2)
        (first,) = children(outer.pid)
        crew = children(first)
        enter = [needs("nsenter"), "-t", str(first), "--user", "--preserve-credentials", "--pid", "sh", "-c"]
        subprocess.run([*enter, "(sleep 300 & sleep 300 &)"], check=True)
        assert until(lambda: len(children(first)) == 4)
        for orphan in set(children(first)) - set(crew):
            os.kill(orphan, signal.SIGKILL)
        assert until(lambda: children(first) == crew), "a zombie is left"
        os.kill(crew[0], signal.SIGKILL)
        assert until(lambda: len(children(first)) == 2 and crew[0] not in children(first))
        # From inside, where process 1 has no default actions; whoever sends it may end with its namespace.
        subprocess.run([*enter, "kill -TERM 1"], check=False)
        assert outer.wait(5 * SLOW) == 0
    finally:
        outer.kill()
        outer.wait()
