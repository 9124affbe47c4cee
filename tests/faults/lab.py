# SPDX-License-Identifier: MIT
"""The internet of one test: the program at home, a router, and upstreams behind it.

    home 10.53.0.2 ----- 10.53.0.1 router 10.53.1.1 ----- 10.53.1.2 host 0
                                          10.53.2.1 ----- 10.53.2.2 host 1

Each Lab has namespaces of its own, so that any number of them can be at work at once; the thread that
enters a Lab is at home.  The router is where packets get lost.
"""

import os
import re
import signal
import subprocess
import threading

import servers
import unkind_dot
from hosts import Cable, Host
from patience import ROOT, SLOW

PORT = 853
HOME, NEW_HOME, GATEWAY = "10.53.0.2", "10.53.0.77", "10.53.0.1"
SYN = "tcp flags & (syn | ack) == syn"

unkind_dot.PATIENCE = 3600.0  # a fault may last; the program is the one that has to notice

# What is promised stands in the program's sources, in ms; here in seconds.
_PROMISED = dict(re.findall(r"#define PROMISE_(\w+)_MS (\d+)u", (ROOT / "include" / "bounds.h").read_text()))
OTHER, BACK = int(_PROMISED["OTHER"]) / 1000, int(_PROMISED["BACK"]) / 1000
HANDSHAKE = 0.1  # who refuses connections is tried each second; what comes behind that is the handshake

LONG = bool(os.environ.get("LONG"))  # faults as long as they are in life

TABLE = """
table inet faults {
%s
    chain counted {
        type filter hook forward priority -10
%s
    }
    chain lost {
        type filter hook forward priority 0
    }
}
"""


def serve(connection):
    """The polite handler, however long nothing comes."""
    while asked := connection.query(unkind_dot.PATIENCE):
        connection.answer(asked)


def hoard(connection):
    """Takes all questions and answers none."""
    while connection.query(unkind_dot.PATIENCE):
        pass


class Resolver(servers.Unbound):
    """unbound at a host; .forward is where it forwards example.net to, or None."""

    def __init__(self, directory, leaf, needs, host, forward=None):
        self.where, self.host = host, host.address
        self.template = servers.UNBOUND.replace("127.0.0.1", host.address).replace(
            "verbosity: 1", "verbosity: 1\n    access-control: 0.0.0.0/0 allow\n    do-not-query-localhost: no\n"
            "    num-queries-per-thread: 2048\n    outgoing-range: 4096"
        )
        if forward:
            self.template += f'forward-zone:\n    name: "example.net."\n    forward-addr: {forward}\n'
        with host.inside():
            super().__init__(directory, leaf, needs)

    def pause(self):
        """Its kernel still takes and acknowledges what comes."""
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self):
        self.process.send_signal(signal.SIGCONT)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def start_again(self):
        with self.where.inside():
            self.process = subprocess.Popen(self.process.args, cwd=self.directory, stdin=subprocess.DEVNULL,
                                            stdout=self.log, stderr=self.log)
            self._wait()

    def stop(self):
        self.go_on()
        super().stop()

    failures = ()


class Lab:
    """stage: what ends servers and programs.  hosts: how many upstreams there are.  delay: seconds that
    each packet takes between home and router."""

    def __init__(self, stage, hosts=1, delay=0.0):
        self.stage = stage
        self.home, self.router = Host(HOME), Host()
        self.hosts = [Host(f"10.53.{n}.2") for n in range(1, hosts + 1)]
        self.cables = [Cable(self.home, "wan", self.router, "lan", delay)]
        self.router.set("net/ipv4/ip_forward", 1)
        self.router.ip(f"addr add {GATEWAY}/24 dev lan", "link set lan up")
        for n, host in enumerate(self.hosts, 1):
            self.cables.append(Cable(host, "eth0", self.router, f"dmz{n}"))
            self.router.ip(f"addr add 10.53.{n}.1/24 dev dmz{n}", f"link set dmz{n} up")
            host.ip(f"addr add {host.address}/24 dev eth0", "link set eth0 up", f"route add default via 10.53.{n}.1")
        self.connect_home()
        counters = "".join(f"    counter syn_{n} {{ }}\n" for n in range(hosts))
        rules = "".join(
            f"        ip daddr {h.address} {SYN} counter name syn_{n}\n" for n, h in enumerate(self.hosts)
        )
        self.router.nft(TABLE % (counters, rules))

    def __enter__(self):
        self._inside = self.home.inside()
        self._inside.__enter__()
        return self

    def __exit__(self, *_):
        try:
            self.stage.end()
        finally:
            self._inside.__exit__(None, None, None)
            for each in [*self.cables, self.home, self.router, *self.hosts]:
                each.close()

    # -- what is there -----------------------------------------------------------------------------

    def server(self, host=0, handler=serve, port=PORT, **options):
        """A scripted server; started again at the same host it takes over its port."""
        with self.hosts[host].inside():
            return self.stage.unkind(handler, host=self.hosts[host].address, port=port, **options)

    def resolver(self, needs, host=0, forward=None):
        made = Resolver(self.stage.directories.mktemp("unbound"), self.stage.leaf, needs, self.hosts[host], forward)
        self.stage.servers.append(made)
        return made

    def upstream(self, host=0, **changes):
        """The settings of an upstream that need not be there (yet)."""
        return {"ip": self.hosts[host].address, "port": PORT, "hostname": servers.NAME, **changes}

    def dnproxy(self, *upstreams, **more):
        return self.stage.dnproxy(*(upstreams or map(self.upstream, range(len(self.hosts)))), **more)

    def syns(self, host=0):
        """SYNs that were sent towards a host so far, lost ones too."""
        return self.router.counter(f"syn_{host}")

    # -- faults at the router ----------------------------------------------------------------------

    def silence(self, *hosts):
        """Nothing gets through to these hosts (to all unless given) nor from them; nobody is told."""
        for host in hosts or range(len(self.hosts)):
            address = self.hosts[host].address
            self.router.nft(f"add rule inet faults lost ip daddr {address} drop\n"
                            f"add rule inet faults lost ip saddr {address} drop\n")

    def forget(self, server):
        """The connections that are open now are lost without a word, as when a NAT has forgotten them."""
        for connection in server.connections:
            if not connection.closed.is_set():
                port = connection.sock.getpeername()[1]
                self.router.nft(f"add rule inet faults lost ip daddr {server.host} tcp sport {port} drop\n"
                                f"add rule inet faults lost ip saddr {server.host} tcp dport {port} drop\n")

    def heal(self):
        self.router.nft("flush chain inet faults lost\n")

    # -- faults at home ----------------------------------------------------------------------------

    def connect_home(self, address=HOME):
        self.home.ip(f"addr add {address}/24 dev wan", "link set wan up", f"route add default via {GATEWAY}")

    def lose_route(self):
        self.home.ip("route del default")

    def find_route(self):
        self.home.ip(f"route add default via {GATEWAY}")

    def lose_link(self):
        self.home.ip("addr flush dev wan", "link set wan down")

    def change_address(self):
        self.home.ip("addr flush dev wan")
        self.connect_home(NEW_HOME)


def at_once(count, work):
    """Calls work(0..count-1) in threads of their own; returns what they returned."""
    results, errors = [None] * count, []

    def run(number):
        try:
            results[number] = work(number)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(n,)) for n in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return results


def normal(seconds=0.05):
    """What counts as normal speed: no waiting for anything but scheduling on a busy machine."""
    return seconds * SLOW
