# SPDX-License-Identifier: MIT
"""A cluster of one test: clients, a node that balances as kube-proxy does, instances, and an upstream.

    clients 10.54.0.2 ----- node, 10.96.0.53 is the Service's address
                             |--- 10.54.1.2 instance 0, port 5353
                             |--- 10.54.2.2 instance 1 ...
                             `--- 10.54.9.2 the DNS-over-TLS server

Each is a network namespace.  The node has no more than the kernel: nftables chooses an instance by chance for each
new flow, connection tracking remembers it for the packets that follow.  That is what kube-proxy's nftables and
iptables modes set up for a ClusterIP.
"""

import contextlib
import os
import re
import signal
import subprocess
import threading
from pathlib import Path

import servers
from hosts import SBIN, Cable, Host
from patience import PROGRAM

BENCH = Path(os.environ.get("BENCH_TOOLS", Path(PROGRAM).parent / "bench"))
SERVICE, PORT, CONTAINER_PORT = "10.96.0.53", 53, 5353
UPSTREAM_DELAY_MS = 20

EVENT = re.compile(r"\[(?P<when>[\d.]+)\s*\]\s+\[NEW\] (?P<over>\w+) .*? src=\S+ dst=" + re.escape(SERVICE)
                   + r" sport=(?P<port>\d+) dport=\d+ .*?src=10\.54\.(?P<instance>\d+)\.2 ")

RULES = """
table ip services {
    chain balance {
    }
    chain prerouting {
        type nat hook prerouting priority dstnat
        ip daddr %s meta l4proto { udp, tcp } th dport %d goto balance
    }
}
""" % (SERVICE, PORT)
CHOOSE = "flush chain ip services balance\nadd rule ip services balance meta l4proto { udp, tcp } %s\n"


def environment():
    return {**os.environ, "PATH": os.environ["PATH"] + SBIN}


class Flows(threading.Thread):
    """Which instance each new flow was given to, as the node's kernel tells."""

    def __init__(self, node):
        super().__init__(daemon=True)
        self._seen = {}  # (udp or tcp, port): [(when, instance)]
        with node.inside():
            self._process = subprocess.Popen(["conntrack", "-E", "-e", "NEW", "-o", "timestamp", "-b", "8000000"],
                                             stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
                                             env=environment(), bufsize=1)
        self.start()

    def run(self):
        for line in self._process.stdout:
            if found := EVENT.search(line):
                flows = self._seen.setdefault((found["over"], int(found["port"])), [])
                flows.append((float(found["when"]), int(found["instance"]) - 1))

    def instance(self, over, port, when, new=False):
        """Who has got what was sent over udp or tcp from this port at that time.  new: it was the first of its flow,
        of which the kernel told right behind; of others it had told before.  None: nobody knows."""
        seen = list(self._seen.get((over, port), []))
        behind = [to for began, to in seen if when - 0.01 <= began <= when + 1] if new else []
        before = [to for began, to in seen if began <= when]
        return behind[0] if behind else before[-1] if before else seen[0][1] if seen else None

    def close(self):
        self._process.terminate()
        self._process.wait()
        self.join()


class Cluster:
    def __init__(self, stage, instances=4, **settings):
        """stage: see the end-to-end tests.  settings: dnproxy's, as section__key=value."""
        self.stage, self.settings = stage, settings
        self.clients, self.node = Host("10.54.0.2"), Host()
        self.instances = [Host(f"10.54.{n}.2") for n in range(1, instances + 1)]
        self.upstream = Host("10.54.9.2")
        self.cables = []
        self.node.set("net/ipv4/ip_forward", 1)
        # One machine stands for many: ports of its are taken again before the node has forgotten their flows.
        self.clients.set("net/ipv4/ip_local_port_range", "1024 65535")
        for n, host in enumerate([self.clients, *self.instances]):
            self._connect(n, host)
        self._connect(9, self.upstream)
        self.ready = set(range(instances))
        self.node.nft(RULES + CHOOSE % self._choice())
        self.responder = self._start_upstream()
        self.programs = [self._start(n) for n in range(instances)]
        self.flows = Flows(self.node)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        try:
            for n, program in enumerate(self.programs):
                if program.process.poll() is None:
                    self.melt(n)
            self.stage.end()
        finally:
            self.flows.close()
            self.lose_upstream()
            self.responder.stdout.close()
            for each in [*self.cables, self.clients, self.node, self.upstream, *self.instances]:
                each.close()

    def _connect(self, n, host):
        self.cables.append(Cable(host, "eth0", self.node, f"net{n}"))
        self.node.ip(f"addr add 10.54.{n}.1/24 dev net{n}", f"link set net{n} up")
        host.ip(f"addr add {host.address}/24 dev eth0", "link set eth0 up", f"route add default via 10.54.{n}.1")

    def _start_upstream(self):
        leaf = self.stage.leaf
        with self.upstream.inside():
            process = subprocess.Popen([BENCH / "responder", "-a", self.upstream.address, "-p", "853",
                                        "-d", str(UPSTREAM_DELAY_MS), leaf.cert, leaf.key],
                                       stdout=subprocess.PIPE, text=True)
        assert process.stdout.readline() == "port 853\n", "the upstream does not start"
        return process

    def _start(self, n):
        with self.instances[n].inside():
            return self.stage.dnproxy({"ip": self.upstream.address, "port": 853, "hostname": servers.NAME},
                                      host=self.instances[n].address, port=CONTAINER_PORT,
                                      **self.settings)

    # -- the control plane -------------------------------------------------------------------------

    def _choice(self):
        """As kube-proxy: by chance among those that are ready; a Service without any drops here."""
        if not self.ready:
            return "drop"
        cases = ", ".join(f"{n} : {self.instances[i].address}" for n, i in enumerate(sorted(self.ready)))
        return f"dnat to numgen random mod {len(self.ready)} map {{ {cases} }} : {CONTAINER_PORT}"

    def take_out(self, n, flush=True):
        """The endpoint is no longer chosen.  flush: what connection tracking knows of its UDP flows is dropped as well,
        which kube-proxy does when it is not serving any more; before Kubernetes 1.32 in any case."""
        self.ready.discard(n)
        self.node.nft(CHOOSE % self._choice())
        if flush:
            self.forget(n)

    def put_back(self, n):
        self.ready.add(n)
        self.node.nft(CHOOSE % self._choice())

    def forget(self, n):
        """Connection tracking drops the UDP flows that were given to this instance."""
        with self.node.inside():  # status 1: there was none
            subprocess.run(["conntrack", "-D", "-p", "udp", "--orig-dst", SERVICE, "--reply-src",
                            self.instances[n].address], env=environment(), capture_output=True, check=False)

    def tracked(self):
        """How many flows the node keeps in mind."""
        with self.node.inside():
            return int(subprocess.run(["conntrack", "-C"], env=environment(), capture_output=True, text=True,
                                      check=True).stdout)

    # -- what happens to an instance ---------------------------------------------------------------

    def end(self, n):
        """SIGTERM, and the end; returns how long that took."""
        status, took = self.programs[n].stop()
        assert status == 0, self.programs[n].log
        return took

    def kill(self, n):
        """SIGKILL: its container is no more, its address still answers with port unreachable."""
        program = self.programs[n]
        program.process.kill()
        program.process.wait()
        if program in self.stage.programs:
            self.stage.programs.remove(program)

    def freeze(self, n):
        """It is there and does nothing: datagrams and connections wait in its kernel."""
        self.programs[n].process.send_signal(signal.SIGSTOP)

    def melt(self, n):
        with contextlib.suppress(ProcessLookupError):
            self.programs[n].process.send_signal(signal.SIGCONT)

    def unplug(self, n):
        """Its machine is gone: nothing comes back, not even an error."""
        self.node.ip(f"link set net{n + 1} down", f"route add blackhole {self.instances[n].address}/32")

    def lose_upstream(self):
        self.responder.terminate()
        self.responder.wait()

    def start_again(self, n):
        self.programs[n] = self._start(n)

    def probe(self, n, asks="ready", timeout=5.0):
        """Whether a probe, as the kubelet runs it inside the container, succeeds.  asks: live or ready."""
        with self.instances[n].inside():
            process = subprocess.Popen([PROGRAM, "health", f"--{asks}", "-c", self.programs[n].file],
                                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            return process.wait(timeout) == 0
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            return False
