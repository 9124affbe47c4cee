# SPDX-License-Identifier: MIT
"""Debian's dnsmasq with the settings that the router makes, the program, and a wire that is listened to.

One network namespace is the router and its provider: the servers that dnsmasq might ask in clear text are addresses of
its loopback, with somebody there who answers and writes down what is asked.
"""

import contextlib
import re
import signal
import socket
import subprocess
import threading
import time

import pytest

import wire
from client import Udp
from hosts import Host
from patience import SLOW

PROVIDER, PUBLIC, NAS, DOT = "192.0.2.53", "8.8.8.8", "10.1.1.1", "192.0.2.85"
# All that leaves for port 53, but for what clients and dnsmasq say to each other here.
COUNT = """
table inet faults {
    counter clear { }
    chain out {
        type filter hook output priority 0
        ip daddr != 127.0.0.0/8 meta l4proto { tcp, udp } th dport 53 counter name clear
    }
}
"""


def record(asked):
    """What everybody answers; dnsmasq's rebinding protection drops what looks like an address at home."""
    home = asked.name.startswith("private.")
    return wire.record("A", socket.inet_aton("192.168.1.66" if home else "198.18.0.1"))


def answer(connection):
    while asked := connection.query():
        connection.answer(asked, records=[record(asked)] if asked.type == 1 else [])


class Wire:
    """Answers on port 53 of some addresses, and notes (address, name) of each query."""

    def __init__(self, *addresses):
        self.asked = []
        self._sockets = []
        for address in addresses:
            sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            sock.bind((address, 53))
            self._sockets.append(sock)
            threading.Thread(target=self._serve, args=(sock, address), daemon=True).start()

    def _serve(self, sock, address):
        with contextlib.suppress(OSError):
            while True:
                data, peer = sock.recvfrom(4096)
                asked = wire.Message(data)
                self.asked.append((address, asked.name))
                sock.sendto(wire.answer(data, records=[record(asked)]), peer)

    def close(self):
        for sock in self._sockets:
            sock.close()


class Home:
    """The router in its namespace; dnsmasq and the program run when they are started here."""

    def __init__(self, router, host, stage, ca, needs):
        self.router, self.host, self.ca = router, host, ca
        self.dot = stage.unkind(answer, host=DOT, port=853)
        self.wire = Wire(PROVIDER, PUBLIC, NAS)
        self._dnsmasq = needs("dnsmasq")
        self._running = {}
        router.write("etc/anchors.pem", open(ca.pem).read())
        router.settings({"host": ["127.0.0.1"], "port": "5853", "trust_anchors": "/etc/anchors.pem", "dnsmasq": "1",
                         "cache_size": "0"}, {"ip": DOT, "hostname": self.dot.name})
        router.uci("dhcp.@dnsmasq[0].cachesize=0", "dhcp.@dnsmasq[0].localservice=0",
                   "+dhcp.@dnsmasq[0].listen_address=127.0.0.1", "+dhcp.@dnsmasq[0].server=/nas.example/" + NAS)
        router.service("start", "dnsmasq")

    def start(self, name):
        """Starts what procd would."""
        self.end(name)
        if name == "dnproxy":
            command = ["chroot", str(self.router.root), *self.router.instance()["command"]]
        else:
            # The same file, with the router's directory in front of its paths.
            text = re.sub(r"=/", f"={self.router.root}/", "\n".join(
                line for line in self.router.dnsmasq() if not line.startswith(("server=", "local="))))
            kept = [line for line in self.router.dnsmasq() if line.startswith(("server=", "local="))]
            self.router.write("tmp/dnsmasq.conf", "\n".join([text, *kept, ""]))
            command = [self._dnsmasq, "-k", "-C", str(self.router.path("tmp/dnsmasq.conf")), "--user=root",
                       "--pid-file=", "--log-facility=-"]
        self._running[name] = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        self._wait(53 if name == "dnsmasq" else 5853)

    def _wait(self, port):
        deadline = time.monotonic() + 15 * SLOW
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", port), 1).close()
                return
            time.sleep(0.01)
        raise AssertionError(f"nobody listens on port {port}")

    def end(self, name, how=signal.SIGTERM):
        if name in self._running:
            process = self._running.pop(name)
            process.send_signal(how)
            process.wait(10 * SLOW)

    def ask(self, name, timeout=5.0):
        """Asks dnsmasq, as a client would; None when nobody answers."""
        with Udp(("127.0.0.1", 53)) as client:
            try:
                return client.ask(wire.query(name), timeout)
            except (TimeoutError, ConnectionError):
                return None

    def over_tls(self):
        return [q.name for q in self.dot.queries]

    def in_clear(self):
        """What was asked in clear text since this was last asked."""
        asked, self.wire.asked = self.wire.asked, []
        return asked

    def close(self):
        for name in list(self._running):
            self.end(name, signal.SIGKILL)
        self.wire.close()


@pytest.fixture
def home(router, stage, ca, needs):
    host = Host()
    host.ip(*[f"addr add {address}/32 dev lo" for address in (PROVIDER, PUBLIC, NAS, DOT)])
    host.nft(COUNT)
    with host.inside():
        made = Home(router, host, stage, ca, needs)
        yield made
        made.close()
    host.close()


NAMES = [f"host{n}.example." for n in range(10)]


def test_queries_go_in_clear_text_before_and_after_and_not_in_between(home):
    home.start("dnsmasq")
    assert home.ask("before.example.").answers
    assert home.in_clear() == [(PROVIDER, "before.example.")] and home.host.counter("clear") == 1

    home.router.service("start")
    home.start("dnproxy")
    home.start("dnsmasq")
    for name in NAMES:
        assert home.ask(name).answers
    assert set(home.over_tls()) == set(NAMES)
    assert home.in_clear() == [] and home.host.counter("clear") == 1

    home.router.service("stop")
    home.end("dnproxy")
    home.start("dnsmasq")
    assert home.ask("after.example.").answers
    assert home.in_clear() == [(PROVIDER, "after.example.")] and home.host.counter("clear") == 2


def test_servers_of_the_user_are_not_asked_but_for_their_names(home):
    home.router.uci("+dhcp.@dnsmasq[0].server=" + PUBLIC, "+dhcp.@dnsmasq[0].server=/#/" + PUBLIC,
                    "dhcp.@dnsmasq[0].allservers=1")
    home.router.service("reload", "dnsmasq")
    home.start("dnsmasq")
    home.ask("before.example.")
    assert (PUBLIC, "before.example.") in home.in_clear()

    home.router.service("start")
    home.start("dnproxy")
    home.start("dnsmasq")
    for name in NAMES:
        assert home.ask(name).answers
    # What was asked before goes to two servers, and may be seen late.
    assert {name for _, name in home.in_clear()} <= {"before.example."} and set(home.over_tls()) == set(NAMES)
    # Somebody wanted this one to go there.
    home.ask("disk.nas.example.")
    assert home.in_clear() == [(NAS, "disk.nas.example.")]


def test_nothing_leaves_while_dnproxy_is_down_or_has_been_killed(home):
    home.router.service("start")
    home.start("dnsmasq")
    assert home.ask("early.example.", timeout=2) is None or not home.ask("early.example.", timeout=2).answers
    home.start("dnproxy")
    assert home.ask("www.example.").answers
    home.end("dnproxy", signal.SIGKILL)
    for name in NAMES[:3]:
        answer = home.ask(name, timeout=1)
        assert answer is None or not answer.answers
    assert home.in_clear() == [] and home.host.counter("clear") == 0
    home.start("dnproxy")
    assert home.ask(NAMES[0]).answers and home.in_clear() == []


def test_settings_that_are_refused_let_nothing_out(home):
    home.router.uci("dnproxy.main.port=0")
    home.router.service("start", check=False)
    assert home.router.instance() is None
    home.start("dnsmasq")
    answer = home.ask("www.example.", timeout=1)
    assert (answer is None or not answer.answers) and home.in_clear() == []


def test_rebinding_protection_stays(home):
    home.router.service("start")
    home.start("dnproxy")
    home.start("dnsmasq")
    assert home.ask("www.example.").answers and not home.ask("private.example.").answers
    assert "private.example." in home.over_tls()
