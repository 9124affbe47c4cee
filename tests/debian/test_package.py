# SPDX-License-Identifier: MIT
"""The Debian package before it is installed, and what systemd's tools say of the unit without running it."""

import gzip
import hashlib
import os
import re
import struct
import subprocess
import time

import pytest

import program
from conftest import EPOCH, TOP, pack
from patience import PROGRAM, SLOW

UNIT = TOP / "deploy/systemd/dnproxy.service"
CONTENTS = """\
-rw-r--r-- ./etc/dnproxy.yml
-rw-r--r-- ./lib/systemd/system/dnproxy.service
-rwxr-xr-x ./usr/sbin/dnproxy
-rw-r--r-- ./usr/share/doc/dnproxy/README.Debian
-rw-r--r-- ./usr/share/doc/dnproxy/changelog.Debian.gz
-rw-r--r-- ./usr/share/doc/dnproxy/copyright
-rw-r--r-- ./usr/share/doc/dnproxy/examples/dnproxy.yml
-rwxr-xr-x ./usr/share/doc/dnproxy/examples/network-changed
-rw-r--r-- ./usr/share/doc/dnproxy/examples/unprivileged.conf
-rw-r--r-- ./usr/share/doc/dnproxy/migrating.md
-rw-r--r-- ./usr/share/lintian/overrides/dnproxy
-rw-r--r-- ./usr/share/man/man8/dnproxy.8.gz
"""


def run(*command, check=True, **more):
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False, timeout=120 * SLOW,
                          **more)
    assert not check or done.returncode == 0, done.stdout + done.stderr
    return done


def field(package, name):
    return run("dpkg-deb", "-f", package, name).stdout.strip()


@pytest.fixture(scope="module")
def unpacked(package, tmp_path_factory):
    directory = tmp_path_factory.mktemp("unpacked")
    run("dpkg-deb", "-R", package, directory)
    return directory


def test_lintian_has_nothing_to_complain_about(package):
    told = run("lintian", "--allow-root", "--fail-on", "error,warning", "--pedantic", package)
    assert not re.findall("^[EWP]: .*", told.stdout, re.M)


def test_two_builds_are_the_same_octet_for_octet(package, tmp_path):
    wide = tmp_path / "another" / "place"
    old = os.umask(0o077)
    try:
        again = pack(wide, LC_ALL="C.UTF-8", TZ="Asia/Kathmandu")
    finally:
        os.umask(old)
    assert again.read_bytes() == package.read_bytes()


def test_it_holds_these_files_owned_by_root_and_of_one_date(package):
    listed = run("dpkg-deb", "-c", package, env={**os.environ, "TZ": "UTC"}).stdout
    lines = [line.split() for line in listed.splitlines()]
    files = "".join(f"{mode} {path}\n" for mode, *_, path in lines if not path.endswith("/"))
    assert files == CONTENTS
    assert {(mode, owner) for mode, owner, *_, path in lines if path.endswith("/")} == {("drwxr-xr-x", "root/root")}
    dated = time.strftime("%Y-%m-%d", time.gmtime(EPOCH))
    assert {(owner, date) for _, owner, _, date, *_ in lines} == {("root/root", dated)}


def test_it_says_what_it_is(package):
    assert package.name == f"dnproxy_0.1.0-1_{field(package, 'Architecture')}.deb"
    assert field(package, "Depends") == ""
    assert re.fullmatch(r"bearssl \(= \S+\), musl \(= \S+\)", field(package, "Built-Using"))
    size = os.path.getsize(PROGRAM) // 1024
    assert size <= int(field(package, "Installed-Size")) < size + 150


def test_what_is_not_of_debian_is_not_named_as_its_source(tmp_path):
    assert field(pack(tmp_path, BUILT_USING=", musl (= 1.2.3-1)"), "Built-Using") == "musl (= 1.2.3-1)"
    assert field(pack(tmp_path, BUILT_USING=""), "Built-Using") == ""


def test_make_names_the_sources_that_are_in_the_program(tmp_path):
    made = run("make", "-s", "-n", "deb", cwd=TOP).stdout
    assert re.search(r"BUILT_USING='bearssl \(= 0\.6\+dfsg[^)]*\), musl \(= 1\.[^)]*\)'", made), made


def test_it_knows_the_files_it_holds(unpacked):
    lines = (unpacked / "DEBIAN/md5sums").read_text().splitlines()
    assert len(lines) == CONTENTS.count("\n") - 1
    for line in lines:
        digest, path = line.split("  ")
        assert hashlib.md5((unpacked / path).read_bytes()).hexdigest() == digest, path
    assert (unpacked / "DEBIAN/conffiles").read_text() == "/etc/dnproxy.yml\n"


def test_every_file_its_pages_name_is_there(unpacked):
    pages = [gzip.decompress((unpacked / "usr/share/man/man8/dnproxy.8.gz").read_bytes()).decode()]
    pages += [(unpacked / path).read_text() for path in ("etc/dnproxy.yml", "usr/share/doc/dnproxy/README.Debian")]
    named = {path.rstrip(".") for page in pages for path in re.findall(r"/usr/(?:local/)?share/doc/[\w./-]+", page)}
    assert len(named) >= 3
    for path in named:
        assert (unpacked / path.lstrip("/")).is_file(), path


def test_its_manual_page_is_sound(unpacked):
    page = gzip.decompress((unpacked / "usr/share/man/man8/dnproxy.8.gz").read_bytes()).decode()
    assert run("mandoc", "-T", "lint", "-W", "warning", input=page).stdout == ""


def test_its_settings_are_accepted_and_listen_where_nobody_else_does(unpacked, tmp_path):
    shown = program.run("--check", "-c", str(unpacked / "etc/dnproxy.yml"), cwd=tmp_path).stdout
    assert 'host: "127.0.8.53"\n' in shown and "port: 53\n" in shown and 'hostname: "cloudflare-dns.com"\n' in shown


def test_scripts_of_the_package_say_nothing_without_systemd_s_tools(unpacked, tmp_path):
    """As in a root that is being made: no deb-systemd-helper, no systemctl, and not at work."""
    if os.path.isdir("/run/systemd/system"):
        pytest.skip("systemd is at work here: the scripts would do what they are for")
    for name, *words in (["postinst", "configure", ""], ["postinst", "configure", "0.1.0-1"], ["prerm", "remove"],
                         ["prerm", "upgrade", "0.1.0-2"], ["postrm", "remove"], ["postrm", "purge"]):
        done = run("/bin/sh", unpacked / "DEBIAN" / name, *words, env={"PATH": str(tmp_path)})
        assert done.stdout + done.stderr == ""


def elf(machine, flags, wide, little=True):
    """The header that an architecture is known by."""
    order = "<" if little else ">"
    ident = b"\x7fELF" + bytes([2 if wide else 1, 1 if little else 2, 1]) + bytes(9)
    sizes = (64, 56, 0, 64, 0, 0) if wide else (52, 32, 0, 40, 0, 0)
    return (ident + struct.pack(order + "HHI", 2, machine, 1) + struct.pack(order + ("QQQ" if wide else "III"), 0, 0, 0)
            + struct.pack(order + "IHHHHHH", flags, *sizes))


@pytest.mark.parametrize("machine, flags, wide, name", [
    (62, 0, True, "amd64"), (183, 0, True, "arm64"), (40, 0x05000400, False, "armhf"),
    (40, 0x05000200, False, "armel"), (3, 0, False, "i386"), (243, 5, True, "riscv64"),
    (8, 0x70001001, False, "mipsel")])
def test_the_architecture_is_that_of_the_program(tmp_path, machine, flags, wide, name):
    (tmp_path / "dnproxy").write_bytes(elf(machine, flags, wide))
    assert field(pack(tmp_path, program=tmp_path / "dnproxy"), "Architecture") == name


def test_what_debian_has_no_architecture_for_is_not_packed(tmp_path):
    (tmp_path / "dnproxy").write_bytes(elf(8, 0x70001001, wide=False, little=False))  # big-endian MIPS
    done = run(TOP / "deploy/debian/build.sh", tmp_path / "dnproxy", "1-1", tmp_path, check=False,
               env={**os.environ, "DEB_MAINTAINER": "x", "SOURCE_DATE_EPOCH": "1"})
    assert done.returncode == 1 and "no architecture" in done.stderr
    assert not list(tmp_path.glob("*.deb"))


# ---- The unit ---------------------------------------------------------------------------------------


def test_the_unit_leaves_little_open():
    """1.6 is what was asked for, 1.4 what it has; lower is better."""
    told = run("systemd-analyze", "security", "--offline=true", "--threshold=14", UNIT, check=False)
    assert told.returncode == 0, told.stdout[-200:]


def test_systemd_finds_no_fault_with_the_unit(tmp_path):
    """But that its program is not there before it is installed."""
    told = run("systemd-analyze", "verify", "--man=no", UNIT, check=False)
    lines = (told.stdout + told.stderr).splitlines()
    assert [line for line in lines if "/usr/sbin/dnproxy is not executable" not in line] == []


def test_the_unit_for_a_program_by_make_install_differs_in_its_path_alone():
    command = re.search(r"sed '([^']+)' deploy/systemd/dnproxy.service", (TOP / "doc/debian.md").read_text())[1]
    changed = run("sed", command, UNIT).stdout.splitlines()
    pairs = [(a, b) for a, b in zip(UNIT.read_text().splitlines(), changed) if a != b]
    assert [a.split("=")[0] for a, _ in pairs] == ["ExecStart", "ExecPaths"]
    assert all(b == a.replace("/usr/sbin/", "/usr/local/sbin/") for a, b in pairs)
