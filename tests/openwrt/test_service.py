# SPDX-License-Identifier: MIT
"""What procd is told, and when."""

import json
import subprocess

import pytest

import servers
from program import free_port

NETWORKS = ["/etc/init.d/dnproxy", "networks"]


def test_it_runs_jailed_as_a_user_of_its_own_with_no_right_at_all(router):
    router.service("start")
    instance = router.instance()
    assert instance["jail"] == ["dnproxy", "ronly"] and instance["mounts"] == ["/var/etc/dnproxy.yml"]
    assert instance["user"] == instance["group"] == ["dnproxy"]
    assert instance["no_new_privs"] == instance["stderr"] == ["1"]
    assert "capabilities" not in instance


@pytest.mark.parametrize("file", ["passwd", "group"])
def test_without_its_user_it_does_not_run_as_root_instead(router, file):
    router.write(f"etc/{file}", "root:x:0:\n")
    assert router.service("start", check=False).returncode == 1
    assert router.instance() is None
    assert router.log == ["err dnproxy: there is no user or no group dnproxy: install the package again"]


@pytest.mark.parametrize(("release", "static", "jailed"), [
    ("21.02.7", True, False), ("22.03.5", True, False), ("22.03.5", False, True), ("23.05.0", True, True),
    ("24.10.1", True, True), ("SNAPSHOT", True, True)])
def test_a_jail_that_takes_no_static_program_does_not_keep_it_from_starting(router, release, static, jailed):
    router.write("etc/openwrt_release", f"DISTRIB_ID='OpenWrt'\nDISTRIB_RELEASE='{release}'\n")
    if not static:  # the name of its loader stands in one that is dynamic
        with router.path("usr/sbin/dnproxy").open("ab") as program:
            program.write(b"\0/lib/ld-musl-mips-sf.so.1\0")
    router.service("start")
    instance = router.instance()
    assert instance["user"] == ["dnproxy"] and instance["no_new_privs"] == ["1"]
    assert ("jail" in instance, bool(instance["mounts"])) == (jailed, jailed)
    assert bool(router.log) != jailed


def test_it_is_started_again_without_end(router):
    router.service("start")
    assert router.instance()["respawn"] == ["3600", "2", "0"]


def test_a_port_below_1024_comes_with_the_one_right_it_takes(router):
    router.uci("dnproxy.main.port=53")
    router.service("start")
    assert router.instance()["capabilities"] == ["/etc/capabilities/dnproxy.json"]
    rights = json.loads(router.read("/etc/capabilities/dnproxy.json"))
    assert {right for each in rights.values() for right in each} == {"CAP_NET_BIND_SERVICE"}
    assert set(rights) == {"bounding", "effective", "ambient", "permitted", "inheritable"}


def test_trust_anchors_of_the_user_are_seen_in_the_jail(router, ca):
    router.write("etc/anchors.pem", open(ca.pem).read())
    router.uci("dnproxy.main.trust_anchors=/etc/anchors.pem")
    router.service("start")
    assert router.instance()["mounts"] == ["/var/etc/dnproxy.yml", "/etc/anchors.pem"]


def test_switched_off_it_does_not_run(router):
    router.uci("dnproxy.main.enabled=0")
    router.service("start")
    assert router.instance() is None and router.triggers()


def test_the_wan_sends_a_signal_and_restarts_nothing(router):
    router.service("start")
    assert ["interface.*.up", "wan", "1000", *NETWORKS] in router.triggers()
    router.events
    router.run(*NETWORKS)
    assert router.events == ["dnproxy: signal 12"]  # SIGUSR2, but on MIPS


def test_several_interfaces_may_send_it(router):
    router.uci("+dnproxy.main.trigger=wanb")
    router.service("start")
    assert [t[1] for t in router.triggers() if t[0] == "interface.*.up"] == ["wan", "wanb"]


def test_the_clock_that_is_set_sends_it_and_its_drift_does_not(router):
    hook = ". /etc/hotplug.d/ntp/30-dnproxy"
    router.service("start")
    router.events
    for action in ("stratum", "periodic", "unsync"):
        router.run("/bin/sh", "-c", hook, env={"ACTION": action})
    assert router.events == []
    router.run("/bin/sh", "-c", hook, env={"ACTION": "step"})
    assert router.events == ["dnproxy: signal 12"]


def test_changed_settings_start_it_anew_and_others_do_not(router):
    router.service("start")
    assert ["config.change", "dnproxy", "1000", "/etc/init.d/dnproxy", "reload"] in router.triggers()
    router.events
    router.service("reload")
    assert router.events == []
    router.uci("dnproxy.main.cache_size=64")
    router.service("reload")
    assert router.events == ["dnproxy: started"]


def test_what_runs_goes_on_when_new_settings_are_wrong(router):
    router.service("start")
    before = router.notes(), router.read("/tmp/etc/dnproxy.yml")
    router.events
    router.uci("dnproxy.main.upstream_policy=quickest")
    assert router.service("reload", check=False).returncode == 1
    assert router.events == [] and (router.notes(), router.read("/tmp/etc/dnproxy.yml")) == before
    assert len(router.log) == 1 and "dnproxy.upstream_policy: \"quickest\" is none of order|fastest" in router.log[0]
    router.uci("dnproxy.main.upstream_policy=fastest")
    router.service("reload")
    assert router.events == ["dnproxy: started"]


def test_at_boot_it_comes_before_dnsmasq(router):
    router.service("enable")
    router.service("enable", "dnsmasq")
    router.reboot()
    assert router.events == ["dnproxy: started", "dnsmasq: started"]


def test_at_boot_there_is_a_127_0_0_1_before_the_network(router):
    done = router.run("/bin/sh", "-c", "ip addr show lo; /etc/init.d/dnproxy boot; ip addr show lo",
                      before=["unshare", "--net"])
    before, _, after = done.stdout.partition("1: lo:")[2].partition("1: lo:")
    assert "127.0.0.1" not in before and "127.0.0.1" in after


def test_nothing_is_written_to_flash_while_it_runs(router):
    router.uci("dnproxy.main.dnsmasq=1")
    router.service("start", "dnsmasq")
    before = router.flash()
    for action in ("start", "reload", "networks", "verify", "restart", "stop", "start", "stop"):
        router.service(action)
    assert router.flash() == before


def test_settings_of_the_user_survive_an_upgrade_of_the_system(router):
    assert router.read("/lib/upgrade/keep.d/dnproxy") == "/etc/dnproxy.yml\n"


def test_what_was_written_is_read_and_answers(router, needs, ca, leaf, tmp_path):
    """The command that procd was given, run as the user it was given, in front of unbound."""
    (tmp_path / "unbound").mkdir()
    unbound = servers.Unbound(tmp_path / "unbound", leaf, needs)
    port = free_port(["127.0.0.1"])
    router.write("etc/anchors.pem", open(ca.pem).read())
    router.settings({"host": ["127.0.0.1"], "port": str(port), "trust_anchors": "/etc/anchors.pem",
                     "cache_size": "0"},
                    {"ip": unbound.host, "port": str(unbound.port), "hostname": unbound.name})
    router.service("start")
    user = router.path("/tmp/etc/dnproxy.yml").stat().st_gid or None
    process = subprocess.Popen(
        ["chroot", *([f"--userspec={user}:{user}"] if user else []), str(router.root), *router.instance()["command"]],
        stderr=subprocess.PIPE, text=True)
    try:
        while "listening on" not in (line := process.stderr.readline()):
            assert line, "it ended"
        asked = subprocess.run([needs("kdig"), "@127.0.0.1", "-p", str(port), "+short", "www.example.test", "A"],
                               capture_output=True, text=True, timeout=30, check=True)
        assert asked.stdout.split() == [servers.ADDRESS]
    finally:
        process.terminate()
        process.communicate(timeout=10)
        unbound.stop()
