# SPDX-License-Identifier: MIT
r"""The rendered network policy, enforced by nftables on a node of three: it is enough, and no more.

    client 10.244.1.9 ----\                       /---- upstream 192.0.2.1
                           node: Service, policy
    pod    10.244.2.7 ----/                       \---- outsider 198.51.100.9

The node does what a cluster does: it sends the Service's address and port to the pod, and lets through what the
policy names.  That network plugins do so too is theirs to say.
"""

import contextlib
import socket

import chart
import pytest
from client import Tcp, Udp
from hosts import Cable, Host
from running import Running
from wire import query

SERVICE, PODS = "10.96.0.53", "10.244.0.0/16"
PLACES = {"client": "10.244.1.9", "pod": "10.244.2.7", "upstream": "192.0.2.1", "outsider": "198.51.100.9"}
PORT = 8853
SHORT = 0.7  # seconds in which what is let through arrives by far


def _peer(peer, side):
    """A peer of the policy in the words of nftables; namespaces are those of the pods."""
    if "ipBlock" in peer:
        return f"ip {side} {peer['ipBlock']['cidr']}"
    assert peer == {"namespaceSelector": {}}, peer
    return f"ip {side} {PODS}"


def _accepted(rules, mine, other, key):
    for rule in rules:
        for peer in rule[key]:
            for port in rule["ports"]:
                yield (f"ip {mine} {PLACES['pod']} {_peer(peer, other)} "
                       f"{port['protocol'].lower()} dport {port['port']} accept")


def ruleset(objects):
    """What the node does, from the rendered Service and policy."""
    spec = chart.one(objects, "NetworkPolicy")["spec"]
    names = {p["name"]: p["containerPort"] for p in chart.container(objects)["ports"]}
    to_pod = [f"ip daddr {SERVICE} {p['protocol'].lower()} dport {p['port']} "
              f"dnat to {PLACES['pod']}:{names[p['targetPort']]}"
              for p in chart.one(objects, "Service")["spec"]["ports"]]
    accepted = [*_accepted(spec["ingress"], "daddr", "saddr", "from"),
                *_accepted(spec["egress"], "saddr", "daddr", "to")]
    newline = "\n        "
    return f"""
table ip services {{
    chain prerouting {{
        type nat hook prerouting priority -100
        {newline.join(to_pod)}
    }}
}}
table inet faults {{
    counter dropped {{ }}
    chain forward {{
        type filter hook forward priority 0
        ct state established,related accept
        {newline.join(accepted)}
        ip saddr {PLACES["pod"]} counter name dropped drop
        ip daddr {PLACES["pod"]} counter name dropped drop
    }}
}}
"""


class Cluster:
    def __init__(self):
        self.node = Host()
        self.node.set("net/ipv4/ip_forward", 1)
        self.cables = []
        for number, (name, address) in enumerate(PLACES.items()):
            host, gateway = Host(address), f"169.254.{number}.1"
            self.cables.append(Cable(host, "eth0", self.node, f"veth{number}"))
            self.node.ip(f"addr add {gateway}/32 dev veth{number}", f"link set veth{number} up",
                         f"route add {address}/32 dev veth{number}")
            host.ip(f"addr add {address}/32 dev eth0", "link set eth0 up", f"route add {gateway}/32 dev eth0",
                    f"route add default via {gateway} src {address}")
            setattr(self, name, host)

    def dropped(self):
        return self.node.counter("dropped")

    def close(self):
        for each in [*self.cables, self.node, *(getattr(self, name) for name in PLACES)]:
            each.close()


@pytest.fixture
def cluster():
    made = Cluster()
    yield made
    made.close()


@pytest.fixture
def released(cluster, stage, ca, tmp_path):
    """released(...): the chart is installed, its pod at work; returns the upstream's server."""
    with contextlib.ExitStack() as stack:

        def install(allow=(PODS,), **values):
            with open(ca.pem, encoding="utf-8") as file:
                anchors = file.read()
            with cluster.upstream.inside():
                server = stage.unkind(host=cluster.upstream.address, port=PORT)
            upstream = {"ip": server.host, "port": server.port, "hostname": server.name}
            config = {"upstream": [upstream], "dnproxy": {"allow": list(allow)}}
            objects = chart.template(values={"config": config, "trustAnchors": anchors, **values})
            cluster.node.nft(ruleset(objects))
            with cluster.pod.inside():
                running = Running(tmp_path, objects, cluster.pod.address)
                stack.callback(running.end)
                assert running.passes("readiness"), (tmp_path / "log").read_text(encoding="utf-8")
            return server

        yield install


def ask(host, over):
    """Whether the Service answers this host over UDP or TCP."""
    with host.inside():
        try:
            with (Udp if over == "udp" else Tcp)((SERVICE, 53)) as client:
                return bool(client.ask(query()).answers)
        except TimeoutError:
            return False


def reach(host, address, port, kind=socket.SOCK_STREAM):
    """Tries to reach something else from a host; a short while is enough to be dropped."""
    with host.inside(), socket.socket(socket.AF_INET, kind) as sock, contextlib.suppress(OSError):
        sock.settimeout(SHORT)
        sock.connect((address, port))
        if kind == socket.SOCK_DGRAM:
            sock.send(query())
            sock.recv(512)
        return True
    return False


def test_the_policy_is_enough_for_clients_and_upstreams(cluster, released):
    server = released()
    assert ask(cluster.client, "udp")
    assert ask(cluster.client, "tcp")
    assert server.queries
    assert cluster.dropped() == 0


def test_the_pod_reaches_nothing_but_its_upstream(cluster, released):
    released()
    upstream, outsider = cluster.upstream.address, cluster.outsider.address
    for count, (address, port, kind) in enumerate([
        (upstream, 53, socket.SOCK_DGRAM),
        (upstream, 53, socket.SOCK_STREAM),
        (upstream, 853, socket.SOCK_STREAM),
        (upstream, PORT, socket.SOCK_DGRAM),
        (outsider, PORT, socket.SOCK_STREAM),
        (cluster.client.address, PORT, socket.SOCK_STREAM),
    ], 1):
        assert not reach(cluster.pod, address, port, kind)
        assert cluster.dropped() >= count, (address, port)
    assert reach(cluster.pod, upstream, PORT)


def test_nobody_outside_the_cluster_asks_unless_named(cluster, released):
    released()
    assert not reach(cluster.outsider, SERVICE, 53)
    assert not reach(cluster.outsider, SERVICE, 53, socket.SOCK_DGRAM)
    assert not reach(cluster.client, cluster.pod.address, 9153)
    assert cluster.dropped() >= 3


def test_who_is_named_by_address_asks_and_the_others_do_not(cluster, released):
    outside = "198.51.100.0/24"
    released(allow=[outside], networkPolicy={"from": {"namespaces": [], "cidrs": [outside]}})
    assert ask(cluster.outsider, "udp")
    assert ask(cluster.outsider, "tcp")
    assert cluster.dropped() == 0
    assert not reach(cluster.client, SERVICE, 53)
    assert cluster.dropped() >= 1
