# SPDX-License-Identifier: MIT
"""podman, buildah and runc with storage of their own, which ends with the tests.

What a machine's administrator has set up is neither read nor touched: settings, storage, locks and networks lie in
one directory, which the environment names.  The commands themselves are those of the documentation.
"""

import json
import os
import shutil
import subprocess
import time
from pathlib import Path

from patience import ROOT, SLOW

MEMORY = 8 << 20
NOBODY = 65534
PATIENCE = 60 * SLOW  # seconds for a command that takes tenths of one on a quiet machine

# runc, since crun refuses cgroups that are of both versions; limits that need no CAP_SYS_RESOURCE.
CONTAINERS = """
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
lock_type = "file"
tmp_dir = "{at}/tmp"
static_dir = "{at}/static"
volume_path = "{at}/volumes"
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
[network]
network_config_dir = "{at}/networks"
"""
STORAGE = """
[storage]
driver = "overlay"
graphroot = "{at}/storage"
runroot = "{at}/run"
"""


class Failed(AssertionError):
    """A command ended with another status than 0."""

    def __init__(self, done):
        super().__init__(f"{' '.join(done.args)}: status {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-4000:]}")
        self.done = done


class Engine:
    """Its run("podman", ...) is what a user types; what it prints is returned."""

    def __init__(self, directory):
        self.at = Path(directory)
        self.at.mkdir(exist_ok=True)
        for name, text in (("containers.conf", CONTAINERS), ("storage.conf", STORAGE)):
            (self.at / name).write_text(text.format(at=self.at))
        (self.at / "unpacked").mkdir(exist_ok=True)
        self.environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("DNPROXY", "MAKE", "MFLAGS"))},
            "CONTAINERS_CONF": str(self.at / "containers.conf"),
            "CONTAINERS_STORAGE_CONF": str(self.at / "storage.conf"),
            "BUILDAH_ISOLATION": "chroot",
            "TMPDIR": str(self.at / "unpacked"),
            "PATH": os.environ["PATH"] + ":/usr/sbin:/sbin",
        }

    def start(self, *command, cwd=ROOT, output=subprocess.PIPE):
        return subprocess.Popen(command, cwd=cwd, env=self.environment, stdin=subprocess.DEVNULL, stdout=output,
                                stderr=output, text=True)

    def run(self, *command, cwd=ROOT, timeout=PATIENCE):
        done = subprocess.run(command, cwd=cwd, env=self.environment, stdin=subprocess.DEVNULL, capture_output=True,
                              text=True, timeout=timeout, check=False)
        if done.returncode != 0:
            raise Failed(done)
        return done.stdout.strip()

    def podman(self, *arguments, **more):
        return self.run("podman", *arguments, **more)

    def inspect(self, name, kind="image"):
        return json.loads(self.podman("inspect", "--type", kind, name))[0]

    def end(self):
        """Nothing may be left: neither containers nor what is mounted for them."""
        subprocess.run(["podman", "rm", "--all", "--force", "--time", "0"], env=self.environment, timeout=PATIENCE,
                       capture_output=True, check=False)
        subprocess.run(["podman", "image", "umount", "--all"], env=self.environment, timeout=PATIENCE,
                       capture_output=True, check=False)
        with open("/proc/self/mounts", encoding="ascii") as mounts:
            mounted = [line.split()[1] for line in mounts if line.split()[1].startswith(str(self.at))]
        for path in reversed(mounted):
            subprocess.run(["umount", "--lazy", path], check=False)
        shutil.rmtree(self.at, ignore_errors=True)


def until(condition, what, timeout=30.0):
    """Waits until condition() is true; returns what it returned."""
    deadline = time.monotonic() + timeout * SLOW
    while not (found := condition()):
        assert time.monotonic() < deadline, f"waited {timeout} s in vain for: {what}"
        time.sleep(0.02)
    return found


class Process:
    """A process in a container, seen from outside."""

    def __init__(self, pid):
        self.pid, self.proc = pid, Path(f"/proc/{pid}")

    def status(self):
        lines = (self.proc / "status").read_text(encoding="ascii").splitlines()
        return {key: value.split() for key, _, value in (line.partition(":") for line in lines)}

    def alive(self):
        """A process that has ended and waits for its parent is not."""
        try:
            return self.status()["State"][0] != "Z"
        except (FileNotFoundError, ProcessLookupError):
            return False

    def companions(self):
        """All processes of its PID namespace, zombies too."""
        mine = os.readlink(self.proc / "ns/pid")
        found = []
        for other in Path("/proc").iterdir():
            try:
                if other.name.isdigit() and os.readlink(other / "ns/pid") == mine:
                    found.append(int(other.name))
            except OSError:
                continue
        return found

    def memory_limit(self):
        """That of its control group, of version 1 or 2."""
        for line in (self.proc / "cgroup").read_text(encoding="ascii").splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers == "memory":
                return int(Path(f"/sys/fs/cgroup/memory{path}/memory.limit_in_bytes").read_text(encoding="ascii"))
        return int(Path(f"/sys/fs/cgroup{path}/memory.max").read_text(encoding="ascii"))

    def written(self):
        """Files that it has open for writing, but for its log, sockets, pipes and the like."""
        found = []
        for descriptor in (self.proc / "fd").iterdir():
            if int(descriptor.name) <= 2:
                continue
            path = os.readlink(descriptor)
            flags = (self.proc / "fdinfo" / descriptor.name).read_text(encoding="ascii").split("flags:")[1].split()[0]
            if path.startswith("/") and int(flags, 8) & os.O_ACCMODE:
                found.append(path)
        return found


HARD = ("--read-only", "--cap-drop=all", "--security-opt", "no-new-privileges", "--memory", "8m", "--memory-swap", "8m")


class Container(Process):
    """dnproxy under podman, as hard as it can be unless a test says otherwise."""

    def __init__(self, engine, network, *options, hard=HARD, image="dnproxy", command=()):
        self.engine = engine
        self.id = engine.podman("run", "-d", "--network", f"ns:{network.path}", *hard, *options, image, *command)
        super().__init__(engine.inspect(self.id, "container")["State"]["Pid"])

    def log(self):
        done = subprocess.run(["podman", "logs", self.id], env=self.engine.environment, capture_output=True, text=True,
                              timeout=PATIENCE, check=True)
        return done.stderr + done.stdout

    def state(self):
        return self.engine.inspect(self.id, "container")["State"]

    def exit_status(self):
        """Waits for its end.  Here `podman wait`, and `podman run` without -d, go on for 20 s more."""
        until(lambda: self.state()["Status"] in ("exited", "stopped"), "its end")
        return self.state()["ExitCode"]

    def wait_listening(self):
        until(lambda: "listening on" in self.log() or not self.alive(), "listening")
        assert self.alive(), self.log()
        return self

    def health(self, *options):
        """The sub-command, as (status, what it says)."""
        try:
            return 0, self.engine.podman("exec", self.id, "/dnproxy", "health", *options)
        except Failed as failed:
            return failed.done.returncode, (failed.done.stdout + failed.done.stderr).strip()

    def healthcheck(self):
        """What the image's HEALTHCHECK says."""
        try:
            self.engine.podman("healthcheck", "run", self.id)
            return True
        except Failed as failed:
            late = "exceeded timeout" in failed.done.stderr  # on a busy machine, and unhealthy as well
            assert failed.done.returncode == 1 or late, failed
            return False

    def wait_unhealthy(self):
        """Checks as often as the image says it takes, and more where podman was too busy to count."""
        until(lambda: not self.healthcheck() and self.state()["Health"]["Status"] == "unhealthy", "unhealthy")

    def end(self):
        subprocess.run(["podman", "kill", "-s", "KILL", self.id], env=self.engine.environment, timeout=PATIENCE,
                       capture_output=True, check=False)
        self.engine.podman("rm", "--force", "--time", "0", self.id)
        assert not self.alive(), f"process {self.pid} outlived its container"


class Bundle(Process):
    """dnproxy under runc alone: a root of the image's two files, and a config.json that grants nothing."""

    def __init__(self, engine, files, network, directory, settings, anchors, environment=(), ipv6=True):
        self.engine, self.at = engine, Path(directory)
        self.id = f"dnproxy-{os.getpid()}-{self.at.name}"
        shutil.copytree(files, self.at / "rootfs")
        engine.run("runc", "spec", cwd=self.at)
        spec = json.loads((self.at / "config.json").read_text(encoding="utf-8"))
        nothing = {kind: [] for kind in ("bounding", "effective", "inheritable", "permitted", "ambient")}
        spec["process"].update({
            "terminal": False, "args": ["/dnproxy"], "cwd": "/", "user": {"uid": NOBODY, "gid": NOBODY},
            "env": list(environment), "capabilities": nothing, "noNewPrivileges": True,
        })
        spec["root"] = {"path": "rootfs", "readonly": True}
        spec["mounts"] += [{"type": "bind", "source": str(source), "destination": to, "options": ["bind", "ro"]}
                           for source, to in ((settings, "/etc/dnproxy.yml"), (anchors, "/anchors.pem"))]
        linux = spec["linux"]
        linux["resources"]["memory"] = {"limit": MEMORY, "swap": MEMORY}
        linux["sysctl"] = {"net.ipv4.ip_unprivileged_port_start": "53"}
        linux["cgroupsPath"] = f"/{self.id}"
        linux["namespaces"] = [{"type": "network", "path": network.path} if n["type"] == "network" else n
                               for n in linux["namespaces"]]
        if not ipv6:  # as on a kernel without: EAFNOSUPPORT for AF_INET6
            linux["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
                {"names": ["socket"], "action": "SCMP_ACT_ERRNO", "errnoRet": 97,
                 "args": [{"index": 0, "value": 10, "op": "SCMP_CMP_EQ"}]}]}
        (self.at / "config.json").write_text(json.dumps(spec))
        self.log_file = self.at / "log"
        with open(self.log_file, "w", encoding="utf-8") as log:
            subprocess.run(["runc", "--root", str(self.at / "state"), "run", "--detach", "--pid-file",
                            str(self.at / "pid"), "--bundle", str(self.at), self.id], stdin=subprocess.DEVNULL,
                           env=engine.environment, stdout=log, stderr=log, timeout=PATIENCE, check=True)
        super().__init__(int((self.at / "pid").read_text(encoding="ascii")))

    def runc(self, *arguments):
        return self.engine.run("runc", "--root", str(self.at / "state"), *arguments)

    def log(self):
        return self.log_file.read_text(encoding="utf-8")

    def wait_listening(self):
        until(lambda: "listening on" in self.log() or not self.alive(), "listening")
        assert self.alive(), self.log()
        return self

    def end(self):
        self.runc("delete", "--force", self.id)
        assert not self.alive(), f"process {self.pid} outlived its container"
