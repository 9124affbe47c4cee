# SPDX-License-Identifier: MIT
"""Starts the program under test and keeps an eye on it."""

import contextlib
import os
import random
import re
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

import yaml

import client
from patience import PROGRAM, SLOW, WRAP

SANITIZER = re.compile(r"ERROR: (Address|Leak)Sanitizer|runtime error:")


def free_port(hosts=("127.0.0.1", "::1")):
    """A port that is free for TCP and UDP on all hosts, below those the kernel gives away."""
    for _ in range(200):
        port = random.randint(10000, 30000)
        with contextlib.ExitStack() as stack:
            try:
                for host in hosts:
                    family = socket.AF_INET6 if ":" in host else socket.AF_INET
                    for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
                        sock = stack.enter_context(socket.socket(family, kind))
                        if kind == socket.SOCK_STREAM:
                            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                        if family == socket.AF_INET6:
                            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                        sock.bind((host, port))
            except OSError:
                continue
            return port
    raise RuntimeError("no free port between 10000 and 30000")


def upstream(server, **changes):
    """The settings of one upstream; server is anything with host, port and name."""
    return {"ip": server.host, "port": server.port, "hostname": server.name, **changes}


def _environment(changes):
    kept = {k: v for k, v in os.environ.items() if not k.startswith("DNPROXY")}
    return {**kept, **(changes or {})}


def run(*args, cwd, env=None, timeout=10):
    """Runs the program to its end, for options that make it end by itself."""
    done = subprocess.run([*WRAP, PROGRAM, *args], cwd=cwd, env=_environment(env), capture_output=True,
                          text=True, errors="replace", timeout=timeout * SLOW, check=False,
                          stdin=subprocess.DEVNULL)
    assert not SANITIZER.search(done.stderr), done.stderr
    return done


class Dnproxy:
    """The program at work.  .host and .port are where it listens first, .pid is its own."""

    def __init__(self, directory, settings, args=None, env=None, limit=None, wait=True):
        """settings: text of the file, or a tree to write as YAML.  limit: descriptors it may have."""
        self.directory = Path(directory)
        text = settings if isinstance(settings, str) else yaml.safe_dump(settings, sort_keys=False)
        tree = yaml.safe_load(text)["dnproxy"]
        self.file = self.directory / "dnproxy.yml"
        self.file.write_text(text)
        hosts = tree["host"] if isinstance(tree["host"], list) else [tree["host"]]
        self.host, self.port = hosts[0], tree["port"]
        command = [*WRAP, PROGRAM, *(["-c", str(self.file)] if args is None else args)]
        if limit:
            command = ["sh", "-c", f'ulimit -n {limit}; exec "$@"', "sh", *command]
        self._lines = []
        self._changed = threading.Condition()
        self.process = subprocess.Popen(command, cwd=self.directory, env=_environment(env),
                                        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                        stderr=subprocess.PIPE)
        self.pid = self.process.pid
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        if wait:
            self.wait_listening()

    # -- the log -----------------------------------------------------------------------------------

    def _read(self):
        for line in self.process.stderr:
            with self._changed:
                self._lines.append(line.decode("utf-8", "backslashreplace").rstrip("\n"))
                self._changed.notify_all()
        with self._changed:
            self._changed.notify_all()

    @property
    def lines(self):
        with self._changed:
            return list(self._lines)

    @property
    def log(self):
        return "\n".join(self.lines)

    def wait_log(self, pattern, timeout=8.0, count=1):
        """Waits until count lines match; returns the matches."""

        def found():
            return [m for m in (re.search(pattern, line) for line in self._lines) if m]

        with self._changed:
            if not self._changed.wait_for(lambda: len(found()) >= count, timeout * SLOW):
                raise AssertionError(f"no line in the log matches {pattern!r}:\n" + "\n".join(self._lines))
            return found()

    def wait_listening(self):
        deadline = time.monotonic() + 10 * SLOW
        while time.monotonic() < deadline:
            if any("listening on" in line for line in self.lines):
                return
            if self.process.poll() is not None:
                self._reader.join(5)
                raise AssertionError(f"exit status {self.process.returncode} at start:\n{self.log}")
            time.sleep(0.005)
        raise AssertionError(f"does not listen:\n{self.log}")

    # -- asking ------------------------------------------------------------------------------------

    @property
    def address(self):
        return (self.host, self.port)

    def udp(self, message, host=None, source=None, timeout=6.0):
        """Sends one datagram and returns the answer, parsed."""
        with client.Udp((host or self.host, self.port), source) as socket_:
            return socket_.ask(message, timeout)

    def tcp(self, host=None, source=None):
        return client.Tcp((host or self.host, self.port), source)

    def ask(self, message, over="udp", timeout=6.0):
        """One query over a transport of its own, "udp" or "tcp"."""
        if over == "udp":
            return self.udp(message, timeout=timeout)
        with self.tcp() as connection:
            return connection.ask(message, timeout)

    # -- looking at the process --------------------------------------------------------------------

    def cpu_seconds(self):
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def resident(self):
        """Octets of memory in use."""
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    # -- the end -----------------------------------------------------------------------------------

    def stop(self, signal_number=signal.SIGTERM, timeout=None):
        """Ends it; returns the exit status and the seconds it took."""
        began = time.monotonic()
        if self.process.poll() is None:
            self.process.send_signal(signal_number)
        try:
            status = self.process.wait(timeout or 5 * SLOW)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"does not end after signal {signal_number}:\n{self.log}") from None
        took = time.monotonic() - began
        self._reader.join(5)
        return status, took

    def finish(self):
        """What holds at the end of every test: it was alive, ends when told to, and is unharmed."""
        status, _ = self.stop()
        assert not SANITIZER.search(self.log), self.log
        assert status == 0, f"exit status {status}:\n{self.log}"
