# SPDX-License-Identifier: MIT
"""A router: a directory with busybox, the files of the package, and stubs of what OpenWrt brings (stub/).

    router = Router(directory)
    router.uci("dnproxy.main.dnsmasq=1")
    router.service("start")
    router.instance()["user"]               # what procd was told
    router.log, router.events               # what logread shows, what happened

Scripts run in it by chroot, with busybox's ash and tools, and find nothing else.
"""

import os
import re
import shutil
import subprocess
from pathlib import Path

from patience import PROGRAM

HERE = Path(__file__).resolve().parent
FILES = HERE.parents[1] / "deploy" / "openwrt" / "files"
STUB = HERE / "stub"
USER = 453
AUTO = "/tmp/resolv.conf.d/resolv.conf.auto"

# As OpenWrt ships it, what has nothing to do with DNS left out.
DHCP = """
config dnsmasq
\toption domainneeded '1'
\toption localise_queries '1'
\toption rebind_protection '1'
\toption local '/lan/'
\toption domain 'lan'
\toption expandhosts '1'
\toption cachesize '1000'
\toption authoritative '1'
\toption readethers '1'
\toption leasefile '/tmp/dhcp.leases'
\toption resolvfile '/tmp/resolv.conf.d/resolv.conf.auto'
\toption nonwildcard '1'
\toption localservice '1'

config dhcp 'lan'
\toption interface 'lan'
\toption start '100'
"""

INSTALLED = {
    "etc/init.d/dnproxy": ("dnproxy.init", 0o755),
    "etc/config/dnproxy": ("dnproxy.config", 0o600),
    "etc/capabilities/dnproxy.json": ("dnproxy.json", 0o644),
    "etc/hotplug.d/ntp/30-dnproxy": ("dnproxy.ntp", 0o644),
    "lib/upgrade/keep.d/dnproxy": ("dnproxy.keep", 0o644),
}
STUBS = {
    "etc/rc.common": ("rc.common", 0o755),
    "etc/init.d/dnsmasq": ("dnsmasq.init", 0o755),
    "lib/functions.sh": ("functions.sh", 0o644),
    "lib/functions/procd.sh": ("procd.sh", 0o644),
    "lib/uci.awk": ("uci.awk", 0o644),
    "sbin/uci": ("uci", 0o755),
    "bin/logger": ("logger", 0o755),
}


def quoted(value):
    """As uci writes a value."""
    return "'" + value.replace("'", "'\\''") + "'"


class Router:
    def __init__(self, directory, package=True):
        self.root = Path(directory)
        for name in ("bin", "sbin", "dev", "etc/config", "etc/rc.d", "tmp/run", "tmp/state", "tmp/resolv.conf.d",
                     "tmp/.uci", "usr/sbin", "lib/functions"):
            (self.root / name).mkdir(parents=True)
        (self.root / "var").symlink_to("tmp")
        shutil.copy("/bin/busybox", self.root / "bin/busybox")
        self.run("/bin/busybox", "--install", "-s", "/bin")
        self._install(STUB, STUBS)
        # Not a device, which takes a right that root of a user namespace lacks.
        self.write("dev/null", "", 0o666)
        self.write("etc/passwd", f"root:x:0:0::/root:/bin/ash\ndnproxy:x:{USER}:{USER}::/:/bin/false\n")
        self.write("etc/group", f"root:x:0:\ndnproxy:x:{USER}:\n")
        self.write("etc/config/dhcp", DHCP)
        self.write(AUTO, "nameserver 192.0.2.53\n")
        (self.root / "tmp/resolv.conf").symlink_to(AUTO)
        if package:
            self._install(FILES, INSTALLED)
            shutil.copy(PROGRAM, self.root / "usr/sbin/dnproxy")
            os.chmod(self.root / "usr/sbin/dnproxy", 0o755)

    def _install(self, source, files):
        for target, (name, mode) in files.items():
            path = self.root / target
            (self.root / target).parent.mkdir(parents=True, exist_ok=True)
            if path.is_symlink():
                path.unlink()
            shutil.copy(source / name, path)
            path.chmod(mode)

    # -- running things ----------------------------------------------------------------------------

    def run(self, *command, env=None, check=True, before=()):
        """Runs something on the router to its end."""
        done = subprocess.run([*before, "chroot", str(self.root), *command], capture_output=True, text=True, errors="replace", timeout=60,
                              check=False, env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", **(env or {})},
                              stdin=subprocess.DEVNULL)
        if check:
            assert done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}{done.stderr}\n{self.log}"
            assert done.stderr == "", f"{command}: {done.stderr}"
        return done

    def service(self, action, name="dnproxy", **options):
        return self.run(f"/etc/init.d/{name}", action, **options)

    def uci(self, *settings):
        """uci("package.section.option=value", "+package.section.option=one more", "-package.section.option"),
        then commits."""
        for setting in settings:
            command = {"+": "add_list", "-": "delete"}.get(setting[0], "set")
            self.run("/sbin/uci", command, setting.lstrip("+-"))
            self.run("/sbin/uci", "commit", setting.lstrip("+-").partition(".")[0])

    def reboot(self):
        """What lies in memory is gone; then the init scripts in their order, as far as they are enabled."""
        shutil.rmtree(self.root / "tmp")
        for name in ("run", "state", "resolv.conf.d", ".uci"):
            (self.root / "tmp" / name).mkdir(parents=True)
        self.write(AUTO, "nameserver 192.0.2.53\n")
        (self.root / "tmp/resolv.conf").symlink_to(AUTO)
        for script in sorted(os.listdir(self.root / "etc/rc.d")):
            if script.startswith("S"):
                self.service("boot", script[3:], check=False)

    # -- files -------------------------------------------------------------------------------------

    def path(self, name):
        return self.root / name.lstrip("/")

    def write(self, name, text, mode=0o644):
        path = self.path(name)
        if path.is_symlink():
            path.unlink()
        path.write_text(text)
        path.chmod(mode)

    def read(self, name):
        return self.path(name).read_text(errors="surrogateescape")

    def settings(self, main, *upstreams):
        """Writes /etc/config/dnproxy; a value that is a list becomes one."""
        text = ""
        for kind, options in [("dnproxy 'main'", main), *[("upstream", u) for u in upstreams]]:
            text += f"\nconfig {kind}\n"
            for name, value in options.items():
                for one in value if isinstance(value, list) else [value]:
                    text += f"\t{'list' if isinstance(value, list) else 'option'} {name} {quoted(one)}\n"
        self.path("etc/config/dnproxy").write_bytes(text.encode("utf-8", "surrogateescape"))

    def flash(self):
        """All that would lie in flash, with the times it was written."""
        return {
            str(p): (os.lstat(p).st_mtime_ns, p.read_bytes() if p.is_file() and not p.is_symlink() else b"")
            for p in self.root.rglob("*")
            if not p.is_relative_to(self.root / "tmp") and not p.is_relative_to(self.root / "dev")
        }

    # -- what happened -----------------------------------------------------------------------------

    def _lines(self, name):
        path = self.path(name)
        return path.read_text(errors="replace").splitlines() if path.exists() else []

    @property
    def log(self):
        return self._lines("tmp/log")

    @property
    def events(self):
        """What happened since this was last asked."""
        lines = self._lines("tmp/events")
        self.path("tmp/events").unlink(missing_ok=True)
        return lines

    def notes(self, name="dnproxy"):
        return [line.split("\t") for line in self._lines(f"tmp/procd/{name}")]

    def instance(self, name="dnproxy"):
        """What procd was told about the one instance of a service, its words by their first; or None."""
        told, mounts = {}, []
        for word, *more in self.notes(name):
            if word == "mount":
                mounts += more
            elif word != "trigger":
                told[word] = more
        return {**told, "mounts": mounts} if "instance" in told else None

    def triggers(self):
        return [more for word, *more in self.notes() if word == "trigger"]

    def dnsmasq(self, section="cfg01411c"):
        """What dnsmasq's script has made of its settings."""
        return self._lines(f"tmp/etc/dnsmasq.conf.{section}")

    def servers(self, section="cfg01411c"):
        return [line.partition("=")[2] for line in self.dnsmasq(section) if line.startswith("server=")]

    def asks_only_dnproxy(self, section="cfg01411c", port=5853):
        return "no-resolv" in self.dnsmasq(section) and [
            s for s in self.servers(section) if not re.match(r"/[^#*]+/", s)] == [f"127.0.0.1#{port}"]
