# SPDX-License-Identifier: MIT
"""Fixtures for the Debian package, the systemd unit and the pages about them."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(TOP / "tests" / "e2e"), str(TOP / "tests" / "data")]

import certs  # noqa: E402
from machine import Machine  # noqa: E402
from patience import PROGRAM, SLOW  # noqa: E402

NAME = "dns.test"
PORT = 853
EPOCH = int(os.environ.get("SOURCE_DATE_EPOCH", "1790000000"))
UNIT = "dnproxy.service"
DROP_INS = f"/etc/systemd/system/{UNIT}.d"
SETTINGS = """\
dnproxy:
  host: 127.0.8.53
  workers: {workers}
upstream:
  ip: 127.0.0.1
  port: 853
  hostname: dns.test
tls:
  trust_anchors: /etc/dnproxy/anchors.pem
cache:
  size: 0
"""


def pack(directory, version="0.1.0-1", program=PROGRAM, **environment):
    """Makes a package as `make deb` does; returns its file."""
    values = {"DEB_MAINTAINER": "The dnproxy authors <dnproxy@users.noreply.dnproxy.example>",
              "SOURCE_DATE_EPOCH": str(EPOCH),
              "BUILT_USING": "bearssl (= 0.6+dfsg.1-3), musl (= 1.2.3-1)"}
    made = subprocess.run([TOP / "deploy/debian/build.sh", program, version, directory], capture_output=True, text=True,
                          check=False, timeout=60 * SLOW, env={**os.environ, **values, **environment})
    assert made.returncode == 0, made.stderr
    return Path(made.stdout.strip())


@pytest.fixture(scope="session")
def package(tmp_path_factory):
    return pack(tmp_path_factory.mktemp("deb"))


@pytest.fixture(scope="session")
def next_package(tmp_path_factory):
    """What an upgrade brings."""
    return pack(tmp_path_factory.mktemp("deb"), version="0.1.0-2")


@pytest.fixture(scope="session")
def ca(tmp_path_factory):
    return certs.Authority(tmp_path_factory.mktemp("ca"), "Test Root")


class Host:
    """A machine with systemd, and a DNS-over-TLS server on its loopback interface."""

    def __init__(self, machine, package, ca):
        self.machine, self.package, self.ca = machine, package, ca
        self.run, self.write, self.read = machine.run, machine.write, machine.read
        # The package stands alone: dpkg need not read what else this machine has.
        self.run("mount", "-t", "tmpfs", "tmpfs", "/var/lib/dpkg")
        self.run("sh", "-c", "cd /var/lib/dpkg && mkdir info updates triggers && : >status && : >available")

    def install(self, package):
        self.machine.take(package, "/tmp/dnproxy.deb")
        return self.run("dpkg", "--force-confdef", "--force-confold", "-i", "/tmp/dnproxy.deb")

    def systemctl(self, *words, check=True):
        return self.run("systemctl", *words, check=check).stdout.strip()

    def shown(self, name):
        return self.systemctl("show", "--value", "-p", name, UNIT)

    def drop_in(self, text):
        self.write(f"{DROP_INS}/test.conf", text)
        self.systemctl("daemon-reload")

    def serve(self, workers=1):
        """Settings that ask the server in there; the service begins anew."""
        self.write("/etc/dnproxy/anchors.pem", Path(self.ca.pem).read_text())
        self.write("/etc/dnproxy.yml", SETTINGS.format(workers=workers))
        self.systemctl("daemon-reload")
        self.systemctl("reset-failed", UNIT)
        self.systemctl("restart", UNIT)

    def ask(self, *words):
        """What kdig says, in short."""
        return self.run("kdig", "@127.0.8.53", "+short", "+timeout=8", "+retry=0", *words).stdout.strip()

    def journal(self):
        self.run("journalctl", "--sync")
        return self.run("journalctl", "-o", "cat", "--no-pager", "-u", UNIT).stdout

    def status(self, *names):
        """What the kernel says of the process at work."""
        text = self.read(f"/proc/{self.shown('MainPID')}/status")
        return [re.search(rf"^{name}:\t(.*)", text, re.M)[1] for name in names]


@pytest.fixture(scope="module")
def host(tmp_path_factory, package, ca):
    leaf = ca.leaf(NAME)
    with Machine(tmp_path_factory.mktemp("machine")) as machine:
        command = machine.in_its_network(sys.executable, Path(__file__).with_name("upstream.py"), leaf.cert, leaf.key,
                                         PORT)
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
            assert server.stdout.readline() == "listening\n"
            yield Host(machine, package, ca)
            server.terminate()


@pytest.fixture(scope="module")
def installed(host):
    """The package as it comes, on a machine that has never seen it."""
    host.run("touch", "/run/before")
    host.install(host.package)
    return host


@pytest.fixture
def serving(installed):
    """The service as the package has it, answering from the server in there."""
    installed.run("rm", "-rf", DROP_INS)
    installed.write("/etc/resolv.conf", "# as it was installed\n")
    installed.serve()
    return installed
