# SPDX-License-Identifier: MIT
"""Hosts of a small internet: network namespaces, and the cables between them.

A namespace has no name.  It lives as long as a descriptor of it or a process in it, so nothing is left
behind, whatever ends a test.  A thread goes into a host, and what it starts there is there:

    with host.inside():
        server = socket.create_server((host.address, 853))
        subprocess.Popen(["unbound", ...])
"""

import contextlib
import ctypes
import os
import subprocess
import sys
import threading
from pathlib import Path

CLONE_NEWNET = 0x40000000
SBIN = ":/usr/sbin:/sbin"

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result, what):
    if result != 0:
        raise OSError(ctypes.get_errno(), f"{what}: {os.strerror(ctypes.get_errno())}")


def _here():
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


def new_namespace():
    """A descriptor of a new namespace.  Made in a thread of its own, since whoever makes it is in it."""
    made = []

    def make():
        try:
            _check(_libc.unshare(CLONE_NEWNET), "unshare")
            made.append(_here())
        except OSError as error:
            made.append(error)

    thread = threading.Thread(target=make)
    thread.start()
    thread.join()
    if isinstance(made[0], OSError):
        raise made[0]
    return made[0]


def can_make_namespaces():
    try:
        os.close(new_namespace())
        return True
    except PermissionError:
        return False


def _run(command, text):
    done = subprocess.run(command, input=text, text=True, capture_output=True, check=False,
                          env={**os.environ, "PATH": os.environ["PATH"] + SBIN})
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}\n{text}"
    return done.stdout


class Host:
    """One network namespace.  .address is what others reach it by."""

    def __init__(self, address=None):
        self.address = address
        self._descriptor = new_namespace()
        self.path = f"/proc/{os.getpid()}/fd/{self._descriptor}"  # what `ip link ... netns` takes
        self.ip("link set lo up")

    @contextlib.contextmanager
    def inside(self):
        """The calling thread is in this host, with all it starts, until the end of the block."""
        back = _here()
        try:
            _check(_libc.setns(self._descriptor, CLONE_NEWNET), "setns")
            yield self
        finally:
            _check(_libc.setns(back, CLONE_NEWNET), "setns")
            os.close(back)

    def ip(self, *commands):
        with self.inside():
            _run(["ip", "-batch", "-"], "\n".join(commands) + "\n")

    def nft(self, text):
        with self.inside():
            return _run(["nft", "-f", "-"], text)

    def rules(self, chain):
        """The rules of a chain of the table "faults", as text."""
        with self.inside():
            lines = _run(["nft", "list", "chain", "inet", "faults", chain], None).splitlines()
        return [line.strip() for line in lines if line.startswith("\t\t") and "hook" not in line]

    def counter(self, name):
        """The packets that a named counter of the table "faults" has seen."""
        with self.inside():
            words = _run(["nft", "list", "counter", "inet", "faults", name], None).split()
        return int(words[words.index("packets") + 1])

    def set(self, key, value):
        """A kernel setting of this host, as net/ipv4/ip_forward."""
        with self.inside():
            Path("/proc/sys", key).write_text(str(value))

    def close(self):
        os.close(self._descriptor)


class Cable:
    """Connects two hosts; with a delay each frame takes so many seconds."""

    def __init__(self, one, its_interface, two, other_interface, delay=0.0):
        self._between = self._process = None
        if not delay:
            one.ip(f"link add {its_interface} type veth peer name {other_interface} netns {two.path}")
            return
        self._between = Host()
        one.ip(f"link add {its_interface} type veth peer name left netns {self._between.path}")
        two.ip(f"link add {other_interface} type veth peer name right netns {self._between.path}")
        self._between.ip("link set left up", "link set right up")
        with self._between.inside():
            self._process = subprocess.Popen(
                [sys.executable, str(Path(__file__).with_name("cable.py")), "left", "right", str(delay)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            )
        assert self._process.stdout.readline() == b"ready\n"

    def close(self):
        if self._process:
            self._process.communicate()
            self._between.close()
