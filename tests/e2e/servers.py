# SPDX-License-Identifier: MIT
"""DNS-over-TLS servers from Debian, on loopback, each in a directory of its own, never as a service.

All of them know the zone example.test: www has an A and an AAAA record, any other name has an A
record, big has 30 TXT records.
"""

import socket
import subprocess
import time
from pathlib import Path

from patience import SLOW
from program import free_port

NAME = "dns.test"
ADDRESS = "192.0.2.80"
ADDRESS6 = "2001:db8::80"
BIG = [f"row {n} " + "x" * 90 for n in range(30)]

UNBOUND = """
server:
    directory: "{directory}"
    username: ""
    chroot: ""
    pidfile: ""
    use-syslog: no
    do-daemonize: no
    verbosity: 1
    num-threads: 1
    interface: 127.0.0.1@{tls}
    interface: 127.0.0.1@{plain}
    tls-port: {tls}
    tls-service-key: "{key}"
    tls-service-pem: "{cert}"
    module-config: "iterator"
    local-zone: "example.test." redirect
    local-data: "example.test. A {address}"
    local-zone: "www.example.test." static
    local-data: "www.example.test. A {address}"
    local-data: "www.example.test. AAAA {address6}"
    local-zone: "big.example.test." static
{big}
remote-control:
    control-enable: no
"""

NSD = """
server:
    zonesdir: "{directory}"
    database: ""
    username: ""
    pidfile: ""
    zonelistfile: "{directory}/zone.list"
    xfrdfile: ""
    server-count: 1
    ip-address: 127.0.0.1@{tls}
    ip-address: 127.0.0.1@{plain}
    tls-port: {tls}
    tls-service-key: "{key}"
    tls-service-pem: "{cert}"
remote-control:
    control-enable: no
zone:
    name: example.test
    zonefile: "{directory}/example.test.zone"
"""

DNSDIST = """
setACL({{"127.0.0.0/8"}})
setSecurityPollSuffix("")
addTLSLocal("127.0.0.1:{tls}", "{cert}", "{key}", {{provider="openssl"}})
newServer({{address="127.0.0.1:{backend}", checkType="A", checkName="www.example.test.", mustResolve=true}})
"""

NGINX = """
load_module /usr/lib/nginx/modules/ngx_stream_module.so;
daemon off;
master_process off;
pid {directory}/nginx.pid;
error_log stderr;
events {{ worker_connections 512; }}
stream {{
    server {{
        listen 127.0.0.1:{tls} ssl;
        ssl_certificate {cert};
        ssl_certificate_key {key};
        ssl_protocols TLSv1.2 TLSv1.3;
        proxy_pass 127.0.0.1:{backend};
    }}
}}
"""


def zone_file():
    txt = "".join(f'big TXT "{row}"\n' for row in BIG)
    return (
        "$ORIGIN example.test.\n$TTL 300\n@ SOA ns hostmaster 1 3600 900 86400 300\n@ NS ns\n"
        f"ns A 127.0.0.1\n* A {ADDRESS}\nwww A {ADDRESS}\nwww AAAA {ADDRESS6}\n{txt}"
    )


class Server:
    """A running server: host, port (TLS) and name are what an upstream setting needs."""

    host, name = "127.0.0.1", NAME

    def __init__(self, directory, leaf, needs, backend=None):
        self.directory = Path(directory)
        self.port, self.plain_port = free_port(["127.0.0.1"]), free_port(["127.0.0.1"])
        values = {
            "directory": self.directory, "tls": self.port, "plain": self.plain_port, "cert": leaf.cert,
            "key": leaf.key, "address": ADDRESS, "address6": ADDRESS6,
            "big": "".join(f"    local-data: 'big.example.test. TXT \"{row}\"'\n" for row in BIG),
            "backend": backend.plain_port if backend else 0,
        }
        self.config = self.directory / "server.conf"
        self.config.write_text(self.template.format(**values))
        (self.directory / "example.test.zone").write_text(zone_file())
        self.log = open(self.directory / "server.log", "wb")
        command = [needs(self.program), *(a.format(config=self.config, directory=self.directory) for a in self.args)]
        self.process = subprocess.Popen(command, cwd=self.directory, stdin=subprocess.DEVNULL,
                                        stdout=self.log, stderr=self.log)
        self._wait()

    def _wait(self):
        deadline = time.monotonic() + 15 * SLOW
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                socket.create_connection((self.host, self.port), 1).close()
                return
            except OSError:
                time.sleep(0.02)
        self.stop()
        raise AssertionError(f"{self.program} does not start:\n" + (self.directory / "server.log").read_text())

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()


class Unbound(Server):
    program, template, args = "unbound", UNBOUND, ["-d", "-p", "-c", "{config}"]


class Nsd(Server):
    program, template, args = "nsd", NSD, ["-d", "-c", "{config}"]


class Dnsdist(Server):
    program, template, args = "dnsdist", DNSDIST, ["--supervised", "--disable-syslog", "-C", "{config}"]


class NginxStream(Server):
    program, template, args = "nginx", NGINX, ["-p", "{directory}", "-e", "stderr", "-c", "{config}"]
