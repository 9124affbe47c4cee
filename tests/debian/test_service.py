# SPDX-License-Identifier: MIT
"""The unit under systemd, and the package from its installation to its end, on a machine of their own."""

import re
import subprocess
import sys
import time

import pytest

from conftest import DROP_INS, PORT, SETTINGS, TOP, UNIT
from machine import Machine
from patience import SLOW


def wait(condition, what, seconds=15):
    deadline = time.monotonic() + seconds * SLOW
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.1)


# ---- After the installation -------------------------------------------------------------------------


def test_installing_starts_the_service_now_and_at_each_boot(installed):
    assert installed.systemctl("is-active", UNIT) == "active"
    assert installed.systemctl("is-enabled", UNIT) == "enabled"
    listening = installed.run("ss", "-Hlntup").stdout
    assert [line.split()[4] for line in listening.splitlines() if "dnproxy" in line] == ["127.0.8.53:53"] * 2


def test_installing_changes_nothing_else_of_the_machine(installed):
    written = installed.run("find", "/etc", "-cnewer", "/run/before", "!", "-type", "d").stdout.split()
    assert sorted(written) == ["/etc/dnproxy.yml", f"/etc/systemd/system/multi-user.target.wants/{UNIT}"]


def test_what_is_installed_is_what_was_packed(installed):
    assert installed.run("dpkg", "--verify", "dnproxy").stdout == ""


# ---- The service ----------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [1, 2])
def test_it_answers_as_soon_as_it_counts_as_started(serving, workers):
    serving.serve(workers=workers)
    udp = serving.run("kdig", "@127.0.8.53", "+short", "+timeout=8", "+retry=0", "www.example.test").stdout
    assert udp.strip() != ""
    assert serving.ask("+tcp", "www.example.test") == udp.strip()


def test_no_system_call_is_missing_from_its_list(serving):
    """One that is would end the program here, instead of being refused."""
    serving.drop_in("[Service]\nSystemCallErrorNumber=kill\n")
    serving.serve(workers=2)
    pid = serving.shown("MainPID")
    for _ in range(4):
        assert serving.ask("www.example.test") != ""
        assert serving.ask("+tcp", "www.example.test") != ""
    for signal in ("USR1", "USR2"):
        serving.systemctl("kill", f"--signal={signal}", "--kill-whom=main", UNIT)
    wait(lambda: "made anew" in serving.journal() and "counters: dropped" in serving.journal(), serving.journal())
    assert serving.ask("www.example.test") != ""
    assert serving.shown("MainPID") == pid
    serving.run("sh", "-c", f"kill -KILL $(pgrep -P {pid} | head -n1)")
    wait(lambda: "starting it again" in serving.journal(), serving.journal())
    wait(lambda: serving.run("pgrep", "-c", "-P", pid).stdout.strip() == "2", serving.journal())
    serving.systemctl("stop", UNIT)
    assert serving.shown("Result") == "success", serving.journal()


def test_it_has_one_right_and_no_more(serving):
    net_bind_service = f"{1 << 10:016x}"
    assert serving.status("CapEff", "CapPrm", "CapBnd", "NoNewPrivs", "Seccomp") == [net_bind_service] * 3 + ["1", "2"]
    assert serving.status("Uid")[0].split()[0] != "0"


def test_it_can_run_no_other_program_and_write_nowhere(serving):
    enter = ["nsenter", "-t", serving.shown("MainPID"), "-m"]
    refused = serving.run(*enter, "/bin/true", check=False)
    assert refused.returncode == 126 and "Permission denied" in refused.stderr
    mounts = serving.read(f"/proc/{serving.shown('MainPID')}/mounts").splitlines()
    assert next(line for line in mounts if line.split()[1] == "/").split()[3].startswith("ro,")


def test_it_stops_within_a_second_and_cleanly(serving):
    began = time.monotonic()
    serving.systemctl("stop", UNIT)
    assert time.monotonic() - began < 2 * SLOW
    assert serving.shown("Result") == "success"


def test_wrong_settings_are_told_and_tried_once(serving):
    serving.write("/etc/dnproxy.yml", "dnproxy:\n  port: 70000\nupstream:\n  ip: 127.0.0.1\n")
    assert serving.run("systemctl", "restart", UNIT, check=False).returncode != 0
    assert serving.systemctl("is-failed", UNIT) == "failed"
    assert serving.shown("ExecMainStatus") == "2"
    assert serving.shown("NRestarts") == "0"
    assert "/etc/dnproxy.yml:2:9: dnproxy.port: 70000 is outside 1..65535" in serving.journal()


def test_it_is_started_again_when_it_dies(serving):
    before = serving.shown("MainPID")
    serving.run("kill", "-KILL", before)
    wait(lambda: serving.shown("MainPID") not in ("0", before), serving.journal())
    wait(lambda: serving.systemctl("is-active", UNIT, check=False) == "active", serving.journal())
    assert serving.ask("www.example.test") != ""


def test_it_waits_for_an_address_that_comes_late(serving):
    text = SETTINGS.format(workers=1).replace("127.0.8.53", "[127.0.8.53, 10.53.0.53]")
    serving.write("/etc/dnproxy.yml", text)
    serving.run("systemctl", "restart", UNIT, check=False)
    assert "no interface has this address" in serving.journal()
    serving.run("ip", "address", "add", "10.53.0.53/32", "dev", "lo")
    try:
        wait(lambda: serving.systemctl("is-active", UNIT, check=False) == "active", serving.journal())
        assert serving.run("kdig", "@10.53.0.53", "+short", "www.example.test").stdout.strip() != ""
    finally:
        serving.run("ip", "address", "del", "10.53.0.53/32", "dev", "lo")


def test_a_port_that_is_taken_is_told_and_had_once_it_is_free(serving):
    """As by a program that listens on port 53 of all addresses."""
    serving.systemctl("stop", UNIT)
    take = "import socket, sys; s = socket.socket(type=2); s.bind(('', 53)); print('taken', flush=True); sys.stdin.read()"
    with subprocess.Popen(serving.machine.in_its_network(sys.executable, "-c", take), stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "taken\n"
        serving.run("systemctl", "start", UNIT, check=False)
        told = serving.journal()
        assert "cannot listen on 127.0.8.53@53 (udp): address in use" in told
        holder.stdin.close()
    wait(lambda: serving.systemctl("is-active", UNIT, check=False) == "active", told)


def test_above_port_1023_it_needs_no_right_at_all(serving):
    serving.write("/etc/dnproxy.yml", SETTINGS.format(workers=1).replace("127.0.8.53", "127.0.8.53\n  port: 5300"))
    serving.run("install", "-D", "-m", "644", "-t", DROP_INS, "/usr/share/doc/dnproxy/examples/unprivileged.conf")
    serving.systemctl("daemon-reload")
    serving.systemctl("restart", UNIT)
    assert serving.ask("-p", "5300", "www.example.test") != ""
    assert serving.status("CapEff", "CapBnd") == ["0" * 16] * 2


@pytest.mark.parametrize("words, told", [
    (["wlan0", "up"], True), (["tun0", "vpn-up"], True), (["eth0", "dhcp4-change"], True), (["eth0", "down"], False),
    (["lo", "up"], False)])
def test_the_hook_tells_it_of_a_changed_network(serving, words, told):
    before = serving.journal().count("SIGUSR2")
    serving.run("/usr/share/doc/dnproxy/examples/network-changed", *words)
    if told:
        wait(lambda: serving.journal().count("SIGUSR2") == before + 1, serving.journal())
    else:
        assert serving.ask("www.example.test") != ""  # a turn of its loop later
        assert serving.journal().count("SIGUSR2") == before


def test_the_hook_is_content_where_the_service_is_off(serving):
    serving.systemctl("stop", UNIT)
    serving.run("/usr/share/doc/dnproxy/examples/network-changed", "wlan0", "up")
    serving.run("env", "IFACE=eth0", "/usr/share/doc/dnproxy/examples/network-changed")


# ---- As the resolver of the machine -----------------------------------------------------------------


def test_programs_ask_it_once_resolv_conf_names_it(serving):
    serving.write("/etc/resolv.conf", "nameserver 127.0.8.53\n")
    assert serving.run("getent", "ahosts", "www.example.test").stdout != ""
    serving.systemctl("stop", UNIT)
    assert serving.run("getent", "ahosts", "www.example.test", check=False).returncode == 2


def test_nothing_in_clear_leaves_the_machine(serving):
    """Port 53 is asked on 127.0.8.53 alone, and what leaves for the upstream is TLS."""
    serving.write("/etc/resolv.conf", "nameserver 127.0.8.53\n")
    serving.run("nft", "add table inet watch; add chain inet watch out { type filter hook output priority 0; };"
                "add rule inet watch out ip daddr != 127.0.8.53 th dport 53 counter;"
                f"add rule inet watch out tcp dport {PORT} counter")
    try:
        serving.run("getent", "ahosts", "www.example.test")
        clear, tls = [int(line.split("packets")[1].split()[0])
                      for line in serving.run("nft", "list", "table", "inet", "watch").stdout.splitlines()
                      if "packets" in line]
        assert clear == 0 and tls > 0
    finally:
        serving.run("nft", "delete", "table", "inet", "watch")


def test_unbound_in_front_asks_it(serving):
    page = (TOP / "doc/migrating.md").read_text(encoding="utf-8")
    settings = re.search(r"^```unbound\n(.*?)^```$", page, re.M | re.S)[1]
    serving.write("/tmp/unbound.conf", settings + "server:\n    port: 5335\n    username: ''\n    chroot: ''\n"
                  "    pidfile: ''\n    module-config: iterator\nremote-control:\n    control-enable: no\n")
    serving.run("systemd-run", "--unit=front", "unbound", "-d", "-c", "/tmp/unbound.conf")
    try:
        ask = ["kdig", "@127.0.0.1", "-p", "5335", "+short", "www.example.com"]
        wait(lambda: serving.run(*ask, check=False).stdout.strip() == "192.0.2.1", "unbound has no answer")
    finally:
        serving.systemctl("stop", "front.service")


# ---- From one version to the next, and to the end: in this order ---------------------------------------


def version(host):
    return host.run("dpkg-query", "-W", "-f", "${db:Status-Status} ${Version}", "dnproxy").stdout


def test_an_upgrade_keeps_settings_and_runs_the_new_program(serving, next_package):
    before = serving.shown("MainPID")
    serving.install(next_package)
    assert version(serving) == "installed 0.1.0-2"
    assert serving.read("/etc/dnproxy.yml") == SETTINGS.format(workers=1)
    assert serving.systemctl("is-active", UNIT) == "active"
    assert serving.shown("MainPID") not in ("0", before)
    assert serving.ask("www.example.test") != ""


def test_an_upgrade_leaves_a_service_off_that_was_switched_off(serving, next_package):
    serving.systemctl("disable", "--now", UNIT)
    try:
        serving.install(next_package)
        assert serving.systemctl("is-enabled", UNIT, check=False) == "disabled"
        assert serving.systemctl("is-active", UNIT, check=False) == "inactive"
    finally:
        serving.systemctl("enable", UNIT)


def test_an_upgrade_succeeds_where_the_service_cannot_start(serving, next_package):
    serving.write("/etc/dnproxy.yml", "upstream:\n  ip: here\n")
    serving.install(next_package)
    assert version(serving) == "installed 0.1.0-2"
    assert serving.systemctl("is-failed", UNIT) == "failed"


def test_removing_stops_it_and_keeps_the_settings_for_another_time(serving, next_package):
    serving.run("dpkg", "-r", "dnproxy")
    assert serving.systemctl("is-active", UNIT, check=False) == "inactive"
    assert "dnproxy" not in serving.run("ss", "-Hlntup").stdout
    assert serving.read("/etc/dnproxy.yml") == SETTINGS.format(workers=1)
    serving.install(next_package)
    assert serving.systemctl("is-enabled", UNIT) == "enabled"
    assert serving.ask("www.example.test") != ""


def test_purging_leaves_nothing(serving):
    serving.run("dpkg", "-P", "dnproxy")
    assert "dnproxy" not in serving.run("ss", "-Hlntup").stdout
    left = serving.run("find", "/etc", "/lib/systemd", "/usr/sbin", "/usr/share/doc", "/usr/share/man", "/var/lib",
                       "/run/systemd", "-name", "*dnproxy*", "!", "-path", "/etc/dnproxy").stdout
    assert left == ""


def test_without_systemd_it_installs_runs_by_hand_and_goes(tmp_path, package):
    with Machine(tmp_path, first=["sleep", "infinity"]) as machine:
        machine.run("sh", "-c", "mount -t tmpfs tmpfs /var/lib/dpkg && cd /var/lib/dpkg && "
                    "mkdir info updates triggers && : >status && : >available")
        machine.take(package, "/tmp/dnproxy.deb")
        machine.run("dpkg", "-i", "/tmp/dnproxy.deb")
        assert "127.0.8.53" in machine.run("dnproxy", "--check", "-c", "/etc/dnproxy.yml").stdout
        machine.run("dpkg", "-P", "dnproxy")
        assert machine.run("test", "-e", "/usr/sbin/dnproxy", check=False).returncode == 1
