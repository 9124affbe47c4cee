# SPDX-License-Identifier: MIT
"""Options, settings from outside, exit status."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest
import yaml

import program as program_under_test
from client import Udp
from patience import SLOW
from test_upstream import assert_only_tls
from wire import query

OK, CANNOT_START, SETTINGS = 0, 1, 2
MINIMAL = "upstream:\n  ip: 192.0.2.1\n  hostname: dns.test\n"


def test_a_port_that_kubernetes_sets_is_passed_over():
    """For a Service named dnproxy every pod of the namespace gets DNPROXY_PORT=tcp://... or udp://..."""
    for url in "tcp://10.96.0.5:53", "udp://10.96.0.5:53":
        done = subprocess.run([os.environ.get("DNPROXY", "build/dnproxy"), "--check"], capture_output=True, text=True,
                              cwd="/proc", env={"DNPROXY_PORT": url}, timeout=20, check=False)
        assert done.returncode == 0 and "  port: 53\n" in done.stdout


def test_help_names_every_option_and_key(run):
    done = run("--help")
    assert (done.returncode, done.stderr) == (OK, "")
    for word in ("-c", "--check", "--help", "--version", "probe", "--json", "--idle", "--name", "health", "--live",
                 "dnproxy.host", "dnproxy.port", "dnproxy.allow",
                 "upstream.ip", "upstream.port", "upstream.hostname", "tls.trust_anchors", "log.level",
                 "log.queries", "dnproxy.upstream_policy", "upstream.pins", "upstream.keep_warm", "tls.clock"):
        assert word in done.stdout


@pytest.mark.cross
def test_version_names_program_library_and_date(run):
    done = run("--version")
    assert (done.returncode, done.stderr) == (OK, "")
    assert re.search(r"dnproxy \d+\.\d+\.\d+", done.stdout)
    assert re.search(r"BearSSL \d+\.\d+", done.stdout)
    assert re.search(r"20\d\d-\d\d-\d\d", done.stdout)


@pytest.mark.parametrize("args", [["--nonsense"], ["-x"], ["file.yml"], ["-c"], ["--check", "more"], [""]])
def test_wrong_usage_ends_with_2(run, args):
    done = run(*args)
    assert (done.returncode, done.stdout) == (SETTINGS, "")
    assert "--help" in done.stderr


@pytest.mark.skipif(Path("/etc/dnproxy.yml").exists(), reason="this machine has settings of its own")
def test_without_a_file_the_defaults_are_in_force(run):
    tree = yaml.safe_load(run("--check").stdout)
    assert tree["dnproxy"]["host"] in ("127.0.0.1", ["127.0.0.1"])
    assert tree["dnproxy"]["port"] == 53
    upstreams = tree["upstream"] if isinstance(tree["upstream"], list) else [tree["upstream"]]
    assert [(u["ip"], u["port"], u["hostname"]) for u in upstreams] == [("1.1.1.1", 853, "cloudflare-dns.com")]


@pytest.mark.parametrize("quote", ["", "'", '"'], ids=["plain", "single", "double"])
def test_the_four_keys_of_the_first_design_work(run, tmp_path, quote):
    """Values quoted or not."""
    lines = ["dnproxy:", "  host: Q127.0.0.9Q", "  port: Q5300Q", "upstream:", "  ip: Q9.9.9.9Q",
             "  hostname: Qdns.quad9.netQ", ""]
    (tmp_path / "dnproxy.yml").write_text("\n".join(lines).replace("Q", quote))
    done = run("--check")
    assert done.returncode == OK, done.stderr
    tree = yaml.safe_load(done.stdout)
    upstreams = tree["upstream"] if isinstance(tree["upstream"], list) else [tree["upstream"]]
    assert (tree["dnproxy"]["port"], upstreams[0]["hostname"], upstreams[0]["ip"]) == (5300, "dns.quad9.net", "9.9.9.9")


FULL = """\
dnproxy:
  host: [127.0.0.1, '::1', "::"]
  port: 5300
  allow:
    - 10.0.0.0/8
    - fd00::/8
upstream:
  - ip: 9.9.9.9
    hostname: dns.quad9.net
  - ip: 2620:fe::fe
    port: 8853
    hostname: dns.quad9.net
log:
  level: warn
  queries: true
"""


BY_KEY = """\
dnproxy:
  upstream_policy: fastest
upstream:
  - ip: 192.0.2.1
    pins: []
    keep_warm: true
  - ip: 192.0.2.2
    hostname: ""
    pins: sha256/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=
  - ip: 192.0.2.3
    pins:
      - sha256/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=
      - sha256/BAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=
tls:
  clock: strict
"""


@pytest.mark.parametrize("text", [MINIMAL, FULL, BY_KEY], ids=["minimal", "full", "by key"])
def test_check_prints_what_reads_back_the_same(run, tmp_path, text):
    (tmp_path / "dnproxy.yml").write_text(text)
    first = run("--check")
    assert (first.returncode, first.stderr) == (OK, "")
    (tmp_path / "again.yml").write_text(first.stdout)
    second = run("--check", "-c", "again.yml")
    assert (second.returncode, second.stdout) == (OK, first.stdout)
    assert re.search(r"(?i)memory", first.stdout) and re.search(r"\d{5,} octets", first.stdout)
    assert yaml.safe_load(first.stdout)["upstream"]


def test_pyyaml_reads_the_same_pins_in_what_check_prints(run, tmp_path):
    """Another reader of YAML sees the empty list, the one pin as text, and the list."""
    (tmp_path / "dnproxy.yml").write_text(BY_KEY)
    tree = yaml.safe_load(run("--check").stdout)
    one, two = ("sha256/" + letter + 42 * "A" + "=" for letter in "AB")
    assert [u["pins"] for u in tree["upstream"]] == [[], one, [one, two]]
    assert [u["hostname"] for u in tree["upstream"]] == ["", "", ""]
    assert [u["keep_warm"] for u in tree["upstream"]] == [True, False, False]
    assert (tree["dnproxy"]["upstream_policy"], tree["tls"]["clock"]) == ("fastest", "strict")


def test_an_upstream_without_a_hostname_is_moved_by_its_address_alone(run, tmp_path):
    (tmp_path / "dnproxy.yml").write_text("upstream:\n  ip: 192.0.2.1\n")
    done = run("--check", env={"DNPROXY_UPSTREAM_IP": "192.0.2.9@8853"})
    (upstream,) = yaml.safe_load(done.stdout)["upstream"]
    assert (upstream["ip"], upstream["port"], upstream["hostname"]) == ("192.0.2.9", 8853, "")


def test_check_opens_no_socket(run, tmp_path):
    """The port may be taken: by the program that runs with these settings, for one."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        (tmp_path / "dnproxy.yml").write_text(f"dnproxy:\n  port: {port}\n" + MINIMAL)
        assert run("--check").returncode == OK


BROKEN = {
    "out of range": (MINIMAL + "  port: 70000\n", r"4:9: upstream\.port: 70000 is outside 1\.\.65535"),
    "unknown key": ("dnproxy:\n  hots: 127.0.0.1\n" + MINIMAL, r"2:3: .*hots.*host"),
    "unknown section": ("dnporxy:\n  port: 53\n" + MINIMAL, r"1:1: .*dnporxy.*dnproxy"),
    "doubled key": (MINIMAL + "  ip: 192.0.2.2\n", r"4:\d+: upstream\.ip"),
    "no address at all": ("upstream:\n  hostname: dns.test\n", r"2:3: upstream\.ip"),
    "no pin": (MINIMAL + "  pins: [" + 64 * "0" + "]\n", r"4:10: upstream\.pins: .*sha256/.*dnproxy probe"),
    "no policy": ("dnproxy:\n  upstream_policy: any\n" + MINIMAL, r"2:20: dnproxy\.upstream_policy: .*order\|fastest"),
    "no upstream": ("dnproxy:\n  port: 53\n", r"upstream"),
    "empty": ("", r"upstream"),
    "tab": ("upstream:\n\tip: 192.0.2.1\n", r"2:1: "),
    "anchor": ("upstream: &a\n  ip: 192.0.2.1\n  hostname: dns.test\n", r"1:11: "),
    "flow mapping": ("upstream: {ip: 192.0.2.1, hostname: dns.test}\n", r"1:11: "),
    "no address": ("upstream:\n  ip: localhost\n  hostname: dns.test\n", r"2:7: upstream\.ip"),
    "no prefix": ("dnproxy:\n  allow: [10.0.0.0/33]\n" + MINIMAL, r"2:\d+: dnproxy\.allow"),
    "no boolean": ("log:\n  queries: perhaps\n" + MINIMAL, r"2:12: log\.queries"),
    "no level": ("log:\n  level: loud\n" + MINIMAL, r"2:10: log\.level"),
}


@pytest.mark.parametrize("text, message", BROKEN.values(), ids=BROKEN.keys())
@pytest.mark.parametrize("args", [["--check"], []], ids=["check", "start"])
def test_a_broken_file_starts_nothing_and_says_where(run, tmp_path, text, message, args):
    (tmp_path / "dnproxy.yml").write_text(text)
    done = run(*args)
    assert (done.returncode, done.stdout) == (SETTINGS, "")
    assert re.search(rf"^(dnproxy: error: )?dnproxy\.yml:?.*{message}", done.stderr), done.stderr
    assert done.stderr.count("\n") == 1


def test_a_file_that_is_not_there_is_an_error_when_named(run):
    done = run("-c", "nowhere.yml")
    assert done.returncode == SETTINGS and "nowhere.yml" in done.stderr


def test_a_directory_is_not_a_file(run, tmp_path):
    done = run("-c", str(tmp_path))
    assert done.returncode == SETTINGS and str(tmp_path) in done.stderr


def test_the_file_in_the_working_directory_is_read(run, tmp_path):
    (tmp_path / "dnproxy.yml").write_text("dnproxy:\n  port: 5454\n" + MINIMAL)
    assert yaml.safe_load(run("--check").stdout)["dnproxy"]["port"] == 5454


def test_the_file_that_is_named_is_read_instead(run, tmp_path):
    (tmp_path / "dnproxy.yml").write_text("broken")
    (tmp_path / "other.yml").write_text("dnproxy:\n  port: 5455\n" + MINIMAL)
    assert yaml.safe_load(run("--check", "-c", "other.yml").stdout)["dnproxy"]["port"] == 5455


# -- environment -------------------------------------------------------------------------------------


OVERRIDES = {
    "DNPROXY_HOST": ("127.0.0.77", lambda t: t["dnproxy"]["host"] in ("127.0.0.77", ["127.0.0.77"])),
    "DNPROXY_PORT": ("5399", lambda t: t["dnproxy"]["port"] == 5399),
    "DNPROXY_UPSTREAM_IP": ("192.0.2.9", lambda t: "192.0.2.9" in str(t["upstream"])),
    "DNPROXY_UPSTREAM_HOSTNAME": ("other.test", lambda t: "other.test" in str(t["upstream"])),
    "DNPROXY_LOG_LEVEL": ("debug", lambda t: t["log"]["level"] == "debug"),
}


@pytest.mark.parametrize("variable", OVERRIDES)
def test_the_environment_overrides_the_file(run, tmp_path, variable):
    value, holds = OVERRIDES[variable]
    (tmp_path / "dnproxy.yml").write_text(MINIMAL)
    before, after = run("--check"), run("--check", env={variable: value})
    assert after.returncode == OK, after.stderr
    assert holds(yaml.safe_load(after.stdout)) and not holds(yaml.safe_load(before.stdout))


@pytest.mark.parametrize("variable, value", [("DNPROXY_HOST", "somewhere"), ("DNPROXY_PORT", "70000"),
                                             ("DNPROXY_PORT", "53x"), ("DNPROXY_UPSTREAM_IP", "dns.test"),
                                             ("DNPROXY_UPSTREAM_HOSTNAME", "a b"), ("DNPROXY_LOG_LEVEL", "loud")])
def test_errors_of_the_environment_name_the_variable(run, tmp_path, variable, value):
    (tmp_path / "dnproxy.yml").write_text(MINIMAL)
    done = run("--check", env={variable: value})
    assert (done.returncode, done.stdout) == (SETTINGS, "")
    assert variable in done.stderr and value in done.stderr


def test_an_empty_variable_counts_as_not_set(run, tmp_path):
    (tmp_path / "dnproxy.yml").write_text(MINIMAL)
    assert run("--check", env={v: "" for v in OVERRIDES}).stdout == run("--check").stdout


# -- starting ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [socket.SOCK_DGRAM, socket.SOCK_STREAM], ids=["udp", "tcp"])
def test_a_port_in_use_ends_with_1_and_a_remedy(run, tmp_path, kind):
    port = program_under_test.free_port(["127.0.0.1"])
    with socket.socket(socket.AF_INET, kind) as taken:
        taken.bind(("127.0.0.1", port))
        if kind == socket.SOCK_STREAM:
            taken.listen()
        (tmp_path / "dnproxy.yml").write_text(f"dnproxy:\n  port: {port}\n" + MINIMAL)
        done = run()
    assert done.returncode == CANNOT_START
    assert f"127.0.0.1@{port}" in done.stderr and "in use" in done.stderr
    assert "dnproxy.port" in done.stderr, "the remedy"
    assert "listening on" not in done.stderr


def test_an_address_of_another_machine_ends_with_1_and_a_remedy(run, tmp_path):
    (tmp_path / "dnproxy.yml").write_text("dnproxy:\n  host: 192.0.2.1\n  port: 5353\n" + MINIMAL)
    done = run()
    assert done.returncode == CANNOT_START
    assert "192.0.2.1@5353" in done.stderr


def without_the_right_to_low_ports():
    """A command prefix that takes the right away; root has it by default."""
    setpriv = ["setpriv", "--bounding-set=-net_bind_service", "--inh-caps=-net_bind_service"]
    return setpriv if os.geteuid() == 0 else []


def test_no_permission_for_port_53_ends_with_1_and_remedies(tmp_path):
    first_free = int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text())
    assert first_free > 53, "this machine lets everybody take port 53; the test needs one that does not"
    (tmp_path / "dnproxy.yml").write_text("dnproxy:\n  host: 127.0.0.53\n  port: 53\n" + MINIMAL)
    command = [*without_the_right_to_low_ports(), program_under_test.PROGRAM]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=10 * SLOW, check=False,
                          stdin=subprocess.DEVNULL)
    assert done.returncode == CANNOT_START
    for remedy in ("DNPROXY_PORT", "CAP_NET_BIND_SERVICE", "ip_unprivileged_port_start"):
        assert remedy in done.stderr


# -- ending --------------------------------------------------------------------------------------------


@pytest.mark.cross
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("idle", [True, False], ids=["idle", "queries in flight"])
@pytest.mark.valgrind
def test_a_signal_ends_it_within_a_second(unkind, dnproxy, number, idle):
    server = unkind(lambda connection: connection.idle())
    program = dnproxy(server)
    clients = [program.tcp() for _ in range(20)]
    if not idle:
        for count, client in enumerate(clients):
            client.send(query(f"n{count}.example."))
        with Udp(program.address) as datagrams:
            datagrams.send(query())
        server.wait_queries(21)
    status, took = program.stop(number)
    assert (status, took < 1.0 * SLOW) == (OK, True)
    for client in clients:
        client.close()


def test_a_signal_ends_it_while_it_connects(unkind, dnproxy):
    def says_nothing(connection):
        while connection.receive_raw():
            pass

    server = unkind(says_nothing, raw=True)
    program = dnproxy(server)
    with Udp(program.address) as client:
        client.send(query())
        server.wait_connections(1)
        status, took = program.stop()
    assert (status, took < 1.0 * SLOW) == (OK, True)


def test_the_port_is_free_again_at_once(unkind, dnproxy):
    server = unkind()
    first = dnproxy(server)
    with first.tcp() as client:
        assert client.ask(query()).rcode == 0
        first.stop()
        assert dnproxy(server, port=first.port).udp(query()).rcode == 0


@pytest.mark.cross
def test_the_upstream_hears_a_goodbye(polite):
    """RFC 5246 section 7.2.1: close_notify before the connection ends."""
    program, server = polite
    program.udp(query())
    program.stop()
    connection = server.connections[0]
    assert connection.closed.wait(3)
    time.sleep(0.05)
    assert connection.said_goodbye


# -- odd surroundings --------------------------------------------------------------------------------


def start_oddly(tmp_path, tree, redirections):
    """Starts it through a shell; there may be no log, so it is asked until it answers."""
    (tmp_path / "dnproxy.yml").write_text(yaml.safe_dump(tree))
    command = ["sh", "-c", f'exec "$@" {redirections}', "sh", *program_under_test.WRAP, program_under_test.PROGRAM]
    return subprocess.Popen(command, cwd=tmp_path)


def ask_until_answered(port):
    deadline = time.monotonic() + 10 * SLOW
    while time.monotonic() < deadline:
        with Udp(("127.0.0.1", port)) as client:
            try:
                return client.ask(query("a-name-that-nobody-must-read.example."), 0.5)
            except OSError:
                time.sleep(0.02)
    raise AssertionError("does not answer")


def test_closed_standard_streams_do_not_become_sockets(unkind, settings, tmp_path):
    """Else the log would go to whoever got descriptor 2: an upstream, in clear."""
    server = unkind()
    tree = settings(server, log__queries=True, log__level="debug")
    process = start_oddly(tmp_path, tree, "<&- >&- 2>&-")
    try:
        for _ in range(3):
            assert ask_until_answered(tree["dnproxy"]["port"]).rcode == 0
    finally:
        process.terminate()
        assert process.wait(5 * SLOW) == OK
    assert len(server.connections) == 1
    assert_only_tls(server.connections[0].raw, application_data=True)


def test_a_log_that_nobody_reads_any_more_does_not_end_it(unkind, settings, tmp_path):
    server = unkind()
    tree = settings(server, log__queries=True)
    (tmp_path / "dnproxy.yml").write_text(yaml.safe_dump(tree))
    process = subprocess.Popen([*program_under_test.WRAP, program_under_test.PROGRAM], cwd=tmp_path,
                               stderr=subprocess.PIPE)
    try:
        assert ask_until_answered(tree["dnproxy"]["port"]).rcode == 0
        process.stderr.close()
        for _ in range(3):
            assert ask_until_answered(tree["dnproxy"]["port"]).rcode == 0
    finally:
        process.terminate()
        assert process.wait(5 * SLOW) == OK


def test_a_log_that_is_not_read_does_not_stop_it(unkind, settings, tmp_path):
    """A full pipe: lines are lost rather than queries."""
    tree = settings(unkind(), log__queries=True)
    (tmp_path / "dnproxy.yml").write_text(yaml.safe_dump(tree))
    process = subprocess.Popen([*program_under_test.WRAP, program_under_test.PROGRAM], cwd=tmp_path,
                               stderr=subprocess.PIPE)
    try:
        port = tree["dnproxy"]["port"]
        ask_until_answered(port)
        with Udp(("127.0.0.1", port)) as client:
            for number in range(2000):
                assert client.ask(query(id=number), timeout=2).rcode == 0
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(1)
        process.kill()
        process.wait()
        process.stderr.close()


def test_it_starts_without_a_home_or_an_environment(unkind, dnproxy):
    """As in an empty container: no variables, and nothing of /dev is needed."""
    program = dnproxy(unkind(), env={"HOME": "", "PATH": ""})
    assert program.udp(query()).rcode == 0
