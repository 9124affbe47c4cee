# SPDX-License-Identifier: MIT
"""A machine to install packages on: this one's files, a network of its own, and systemd as its first process.

    with Machine(directory) as machine:
        machine.run("dpkg", "-i", "/tmp/dnproxy.deb")

What is written in there is gone afterwards.  It takes root's rights.
"""

import os
import signal
import subprocess
import time
from pathlib import Path

from patience import SLOW

SCRIPT = str(Path(__file__).with_name("machine.sh"))
SYSTEMD = ["/lib/systemd/systemd", "--system", "--unit=basic.target", "--log-target=console", "--show-status=0"]
# It ends with this process, whatever becomes of that.
UNSHARE = ["setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--net", "--uts", "--ipc", "--pid", "--cgroup",
           "--kill-child=KILL"]


def cgroup_roots():
    """Where systemd's hierarchies are: version 2, or beside version 1."""
    roots = [Path("/sys/fs/cgroup/systemd"), Path("/sys/fs/cgroup/unified")]
    return [r for r in roots if r.is_dir()] or [Path("/sys/fs/cgroup")]


class Machine:
    """first: the command that is its first process; without one systemd, which has come up when this returns."""

    def __init__(self, directory, first=None):
        assert os.geteuid() == 0, "these tests make a machine of their own: run them as root"
        self.base = Path(directory)
        self.cgroups = [root / f"dnproxy-{os.getpid()}-{self.base.name}" for root in cgroup_roots()]
        for group in self.cgroups:
            group.mkdir()
        self.log = open(self.base.parent / f"{self.base.name}.log", "w+b")
        enter = "".join(f"echo $$ >{group}/cgroup.procs; " for group in self.cgroups)
        self.outside = subprocess.Popen(
            ["sh", "-c", enter + 'exec "$@"', "sh", *UNSHARE, SCRIPT, str(self.base), *(first or SYSTEMD)],
            stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        try:
            self.pid = self._wait(self._first_process, "no first process")
            self._wait(lambda: self.run("test", "-e", "/run/machine", check=False).returncode == 0, "no files")
            if first is None:
                self._wait(self._is_up, "systemd does not come up")
        except BaseException:
            self.end()
            raise

    def _wait(self, condition, otherwise, seconds=30):
        deadline = time.monotonic() + seconds * SLOW
        while time.monotonic() < deadline and self.outside.poll() is None:
            found = condition()
            if found:
                return found
            time.sleep(0.05)
        self.log.seek(0)
        raise AssertionError(f"{otherwise}:\n{self.log.read().decode(errors='replace')}")

    def _first_process(self):
        children = Path(f"/proc/{self.outside.pid}/task/{self.outside.pid}/children").read_text().split()
        return int(children[0]) if children else None

    def _is_up(self):
        state = self.run("systemctl", "is-system-running", check=False).stdout.strip()
        return state in ("running", "degraded")

    def inside(self, *command):
        """The command that runs a command in there."""
        return ["nsenter", f"--target={self.pid}", "--all", "--root", "--wd", "env", "-i",
                "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8",
                "DEBIAN_FRONTEND=noninteractive", *map(str, command)]

    def in_its_network(self, *command):
        """The command that runs a command out here, but in its network."""
        return ["nsenter", f"--target={self.pid}", "--net", *map(str, command)]

    def run(self, *command, check=True, text=None, timeout=60):
        done = subprocess.run(self.inside(*command), capture_output=True, text=True, input=text or "", check=False,
                              timeout=timeout * SLOW)
        assert not check or done.returncode == 0, (
            f"{' '.join(map(str, command))}: exit status {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    def read(self, path):
        return self.run("cat", path).stdout

    def write(self, path, text, mode="644"):
        self.run("install", "-D", "-m", mode, "/dev/stdin", path, text=text)

    def take(self, file, path):
        """Copies a file of this machine into that one."""
        with open(file, "rb") as source:
            subprocess.run(self.inside("sh", "-c", f'cat >"{path}"'), stdin=source, check=True)

    def end(self):
        """Its first process ends, and all others with it."""
        try:
            os.kill(getattr(self, "pid", None) or self.outside.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        try:
            self.outside.wait(10 * SLOW)
        finally:
            self.outside.kill()
            self.outside.wait()
            self.log.close()
        for group in self.cgroups:
            self._remove(group)

    @staticmethod
    def _remove(group):
        deadline = time.monotonic() + 10 * SLOW
        while group.exists() and time.monotonic() < deadline:
            for path, _, _ in os.walk(group, topdown=False):
                try:
                    os.rmdir(path)
                except OSError:
                    time.sleep(0.02)
                    break

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()
