# SPDX-License-Identifier: MIT
"""Packages: what mkipk.sh makes for opkg, and what the Makefile of the feed makes with a toolchain that stands in."""

import io
import os
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

from patience import PROGRAM, ROOT
from router import FILES, INSTALLED

OPENWRT = ROOT / "deploy" / "openwrt"
FEED = {"usr/sbin/dnproxy": 0o755, **{name: mode for name, (_, mode) in INSTALLED.items()}}


def make_ipk(directory, architecture="x86_64", umask=0o022, **env):
    done = subprocess.run([OPENWRT / "mkipk.sh", PROGRAM, architecture, directory], capture_output=True, text=True,
                          check=True, umask=umask, env={**os.environ, "SOURCE_DATE_EPOCH": "1700000000", **env})
    return Path(done.stdout.strip())


def members(data):
    """The entries of a compressed tar, and what is in them, by name."""
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:gz") as tar:
        return {m.name: (m, tar.extractfile(m).read() if m.isfile() else None) for m in tar.getmembers()}


@pytest.fixture(scope="module")
def ipk(tmp_path_factory):
    path = make_ipk(tmp_path_factory.mktemp("ipk"))
    outer = members(path.read_bytes())
    return path, outer, members(outer["./control.tar.gz"][1]), members(outer["./data.tar.gz"][1])


def test_an_ipk_has_the_parts_that_opkg_wants(ipk):
    path, outer, control, _ = ipk
    assert path.name.startswith("dnproxy_0.") and path.name.endswith("_x86_64.ipk")
    assert list(outer) == ["./debian-binary", "./data.tar.gz", "./control.tar.gz"]
    assert outer["./debian-binary"][1] == b"2.0\n"
    assert {n for n, (m, _) in control.items() if m.isfile()} == {
        "./control", "./conffiles", "./postinst", "./prerm"}
    assert control["./conffiles"][1] == b"/etc/config/dnproxy\n"
    assert all(control[name][0].mode == 0o755 for name in ("./postinst", "./prerm"))


def test_its_control_file_says_what_it_is(ipk):
    _, _, control, data = ipk
    fields = dict(line.split(": ", 1) for line in control["./control"][1].decode().splitlines() if line[0] != " ")
    size = sum(m.size for m, _ in data.values() if m.isfile())
    assert fields["Package"] == "dnproxy" and fields["License"] == "MIT" and fields["Architecture"] == "x86_64"
    assert fields["Installed-Size"] == str(size) and "Depends" not in fields
    # Without a number: the system gives one that is free (453, which suggests itself, is dnsmasq's).
    assert fields["Require-User"] == "dnproxy:dnproxy"
    version = next(line.split("=")[1].strip() for line in (ROOT / "Makefile").open() if line.startswith("VERSION"))
    assert fields["Version"] == version + "-r1"


def test_its_files_are_those_of_root_in_their_places(ipk):
    _, _, _, data = ipk
    assert {name[2:]: m.mode for name, (m, _) in data.items() if m.isfile()} == FEED
    assert {(m.uid, m.gid, m.mtime) for m, _ in data.values()} == {(0, 0, 1700000000)}
    assert data["./usr/sbin/dnproxy"][1] == Path(PROGRAM).read_bytes()
    assert all(m.mode == 0o755 for m, _ in data.values() if m.isdir())


def test_two_that_are_made_alike_are_alike(tmp_path):
    one = make_ipk(tmp_path / "a")
    other = make_ipk(tmp_path / "somewhere" / "else", umask=0o077, TZ="Asia/Kathmandu", LC_ALL="C.UTF-8")
    assert one.read_bytes() == other.read_bytes()


class Opkg:
    """What opkg does with a package, as far as the package can tell."""

    def __init__(self, router, ipk):
        self.router, (_, _, self.control, self.data) = router, ipk
        self.info = "/usr/lib/opkg/info/dnproxy"
        router.path("usr/lib/opkg/info").mkdir(parents=True)

    def install(self, **env):
        for name, (member, content) in self.data.items():
            path = self.router.path(name[2:])
            if member.isfile() and not (name == "./etc/config/dnproxy" and path.exists()):
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
                path.chmod(member.mode)
        files = [name[1:] for name, (m, _) in self.data.items() if m.isfile()]
        self.router.write(self.info + ".list", "\n".join(files) + "\n")
        for script in ("postinst", "prerm"):
            self.router.write(f"{self.info}.{script}", self.control["./" + script][1].decode(), 0o755)
        self.router.run(self.info + ".postinst", "configure", env=env)

    def remove(self, **env):
        self.router.run(self.info + ".prerm", env=env)
        for name in self.router.read(self.info + ".list").split():
            self.router.path(name).unlink()
        for script in ("list", "postinst", "prerm"):
            self.router.path(f"{self.info}.{script}").unlink()


def test_installed_it_runs_and_leaves_dnsmasq_alone(bare_router, ipk):
    router = bare_router
    router.service("start", "dnsmasq")
    before = router.dnsmasq()
    Opkg(router, ipk).install()
    assert router.instance()["user"] == ["dnproxy"] and router.service("enabled").returncode == 0
    assert router.dnsmasq() == before
    assert str(router.path("etc/rc.d/S18dnproxy").readlink()) == "../init.d/dnproxy"
    assert not list(router.path("etc/rc.d").glob("K*"))


def test_removed_it_leaves_nothing_behind_and_dnsmasq_as_it_was(bare_router, ipk):
    router = bare_router
    router.service("start", "dnsmasq")
    before = {name for name in router.flash() if "usr/lib/opkg" not in name}, router.dnsmasq(), router.read(
        "/etc/config/dhcp")
    opkg = Opkg(router, ipk)
    opkg.install()
    router.uci("dnproxy.main.dnsmasq=1")
    router.service("reload")
    assert router.asks_only_dnproxy()
    opkg.remove()
    assert router.instance() is None and router.dnsmasq() == before[1] and router.read("/etc/config/dhcp") == before[2]
    left = {name for name in router.flash() if "usr/lib/opkg" not in name} - before[0]
    assert not [name for name in left if Path(name).is_file()]


def test_while_a_new_version_is_installed_dnsmasq_still_asks_nobody_else(bare_router, ipk):
    router = bare_router
    router.service("start", "dnsmasq")
    opkg = Opkg(router, ipk)
    opkg.install()
    router.uci("dnproxy.main.dnsmasq=1")
    router.service("reload")
    settings = router.read("/etc/config/dnproxy")
    router.events
    router.run(opkg.info + ".prerm", env={"PKG_UPGRADE": "1"})
    assert router.asks_only_dnproxy() and router.instance() is None
    opkg.install(PKG_UPGRADE="1")
    assert router.asks_only_dnproxy() and router.instance() and router.read("/etc/config/dnproxy") == settings
    assert "dnsmasq: started" not in router.events


# -- the Makefile of the feed --------------------------------------------------------------------------


@pytest.fixture
def sdk(tmp_path):
    """A build system that stands in (sdk/), with musl's gcc for a toolchain; its programs are dynamic, as OpenWrt's."""
    top = tmp_path / "sdk"
    shutil.copytree(Path(__file__).parent / "sdk", top)
    (top / "dl").mkdir()
    certificates = top / "staging_dir/root/etc/ssl"
    certificates.mkdir(parents=True)
    (certificates / "certs").symlink_to("/usr/share/ca-certificates/mozilla")
    source = os.environ.get("BEARSSL", str(ROOT / "build" / "bearssl-src"))
    with tarfile.open(top / "dl/bearssl-0.6.tar.gz", "w:gz", compresslevel=1) as tar:
        tar.add(source, "bearssl-0.6")

    def run(*targets):
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS"))}
        return subprocess.run(
            # Nobody looks at its speed here, and this way it takes a third of the time.
            ["make", "-s", "-C", OPENWRT, f"TOPDIR={top}", "TARGET_CC=musl-gcc", "TARGET_AR=gcc-ar", "TARGET_CROSS=",
             "TARGET_CFLAGS=-O0", "TARGET_LDFLAGS=-Wl,-z,now", *targets],
            capture_output=True, text=True, check=False, timeout=900, env=clean)

    run.top = top
    return run


@pytest.mark.sdk
def test_the_makefile_of_the_feed_builds_the_package(sdk, bare_router):
    done = sdk()
    assert done.returncode == 0, done.stdout + done.stderr
    made = sdk.top / "ipkg/dnproxy"
    assert {str(p.relative_to(made)): p.stat().st_mode & 0o777 for p in made.rglob("*") if p.is_file()} == FEED
    for target, (name, _) in INSTALLED.items():
        assert (made / target).read_bytes() == (FILES / name).read_bytes()
    program = made / "usr/sbin/dnproxy"
    headers = subprocess.run(["readelf", "-lW", program], capture_output=True, text=True, check=True).stdout
    assert "ld-musl" in headers
    bare_router.write("tmp/dnproxy.yml", "upstream:\n  ip: 192.0.2.1\n")
    checked = subprocess.run([program, "--check", "-c", bare_router.path("tmp/dnproxy.yml")], capture_output=True,
                             text=True, check=True).stdout
    assert "(9 anchors)" in checked or "(10 anchors)" in checked


def test_the_makefile_of_the_feed_says_where_bearssl_is_from(sdk):
    lines = sdk("show").stdout.splitlines()
    assert lines[0].split()[0] == "dnproxy" and lines[0].split()[2:] == ["1", "MIT"]
    assert lines[1].split() == ["6705bba1714961b41a728dfc5debbe348d2966c117649392f8c8139efc83ff14",
                                "bearssl-0.6.tar.gz", "https://bearssl.org/"]
    assert lines[2] == "/etc/config/dnproxy"
