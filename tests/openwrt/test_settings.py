# SPDX-License-Identifier: MIT
"""/etc/config/dnproxy becomes dnproxy.yml, whatever stands in it."""

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from patience import PROGRAM

UPSTREAM = {"ip": "192.0.2.1", "hostname": "dns.example"}
PINS = ["sha256/" + letter * 43 + "=" for letter in "AE"]

# UCI option: its value, the key of the program, the value there.
MAIN = {
    "host": (["127.0.0.2", "::1"], "dnproxy.host", ["127.0.0.2", "::1"]),
    "port": ("5454", "dnproxy.port", 5454),
    "allow": (["10.0.0.0/8", "fd00::/8"], "dnproxy.allow", ["10.0.0.0/8", "fd00::/8"]),
    "udp_size": ("1400", "dnproxy.udp_size", 1400),
    "max_queries": ("100", "dnproxy.max_queries", 100),
    "tcp_clients": ("40", "dnproxy.tcp_clients", 40),
    "tcp_per_address": ("20", "dnproxy.tcp_per_address", 20),
    "workers": ("2", "dnproxy.workers", 2),
    "upstream_policy": ("fastest", "dnproxy.upstream_policy", "fastest"),
    "trust_anchors": ("/etc/ssl/one root.pem", "tls.trust_anchors", "/etc/ssl/one root.pem"),
    "clock": ("strict", "tls.clock", "strict"),
    "cache_size": ("64", "cache.size", 64),
    "cache_min_ttl": ("5", "cache.min_ttl", 5),
    "cache_max_ttl": ("600", "cache.max_ttl", 600),
    "cache_stale": ("60", "cache.stale", 60),
    "cache_prefetch": ("0", "cache.prefetch", False),
    "log_level": ("debug", "log.level", "debug"),
    "log_queries": ("1", "log.queries", True),
}
SERVER = {
    "ip": ("192.0.2.1", "upstream.ip", "192.0.2.1"),
    "port": ("8853", "upstream.port", 8853),
    "hostname": ("dns.example", "upstream.hostname", "dns.example"),
    "pin": (PINS, "upstream.pins", PINS),
    "keep_warm": ("yes", "upstream.keep_warm", True),
}

# Values that a file made without care would not survive.
ODD = [
    'a"b', "a'b", "it's \"both\"", "back\\slash", "\\", "\\n", 'ends in "', "key: value", "a #comment", "- item", "a:",
    "  spaces  ", "tab\there", "two\nlines", "ends in a line end\n", "x\"\nlog:\n  queries: true\nx: \"", "{a: b}", "[a]",
    "&a", "*", "$(reboot)", "`reboot`", "$HOME", "!", "%41", "ü.example", "日本", "\u2028", "null", "~", "0x10", "-n", "x" * 3000,
]


def force(router):
    """What the program makes of the settings of this router."""
    router.write("tmp/out.yml", router.service("render").stdout)
    done = router.run("/usr/sbin/dnproxy", "--check", "-c", "/tmp/out.yml", check=False)
    assert done.returncode == 0, done.stderr
    return yaml.safe_load(done.stdout)


def keys(tree):
    found = {}
    for section, values in tree.items():
        for one in values if isinstance(values, list) else [values]:
            found.update({f"{section}.{name}": value for name, value in one.items()})
    return found


def test_every_key_of_the_program_can_be_set(router, ca):
    router.settings({name: value for name, (value, _, _) in MAIN.items()},
                    {name: value for name, (value, _, _) in SERVER.items()})
    wanted = {key: value for _, key, value in [*MAIN.values(), *SERVER.values()]}
    known = subprocess.run([PROGRAM, "--help"], capture_output=True, text=True, check=True).stdout
    router.path("etc/ssl").mkdir()
    router.write("etc/ssl/one root.pem", Path(ca.pem).read_text())
    found = keys(force(router))
    assert found == wanted
    assert set(found) == set(re.findall(r"^  ([a-z]+\.[a-z_]+)$", known, re.MULTILINE))


def test_the_settings_that_are_installed_are_in_force_as_they_stand(router):
    tree = force(router)
    assert tree["dnproxy"]["host"] == "127.0.0.1" and tree["dnproxy"]["port"] == 5853
    assert [(u["ip"], u["hostname"]) for u in tree["upstream"]] == [
        ("1.1.1.1", "cloudflare-dns.com"), ("9.9.9.9", "dns.quad9.net")]
    assert tree["cache"]["size"] == 0 and tree["dnproxy"]["max_queries"] == 256


def test_an_odd_value_stays_one_value(router):
    """As another reader of YAML has it."""
    for value in ODD:
        router.settings({"trust_anchors": value, "log_level": value, "host": [value]},
                        {"ip": value, "hostname": value, "pin": [value], "keep_warm": value})
        tree = yaml.safe_load(router.service("render").stdout)
        assert tree == {
            "dnproxy": {"host": [value], "port": "5853"},
            "upstream": [{"ip": value, "hostname": value, "pins": [value], "keep_warm": value}],
            "tls": {"trust_anchors": value}, "cache": None, "log": {"level": value},
        }


def test_the_program_takes_an_odd_value_as_it_is_or_says_in_a_line_what_is_wrong(router, ca):
    taken = 0
    for value in ODD:
        router.settings({"trust_anchors": "/" + value}, UPSTREAM)
        router.write("tmp/out.yml", router.service("render").stdout)
        if len(value) < 200 and "/" not in value:
            router.write("/" + value, Path(ca.pem).read_text())
        done = router.run("/usr/sbin/dnproxy", "--check", "-c", "/tmp/out.yml", check=False)
        if done.returncode == 0:
            assert yaml.safe_load(done.stdout)["tls"]["trust_anchors"] == "/" + value
            taken += 1
        else:
            lines = done.stderr.splitlines()
            assert done.returncode == 2 and len(lines) == 1 and lines[0].startswith("/tmp/out.yml:"), value
    assert taken > len(ODD) / 2


def test_octets_that_are_no_text_are_refused_in_one_line(router):
    router.settings({"trust_anchors": "/\udcff\udcfe", "log_level": "\x01\x7f"}, UPSTREAM)
    assert router.service("start", check=False).returncode == 1
    assert router.instance() is None
    assert len(router.log) == 1 and "settings refused: /var/etc/dnproxy.yml.new:" in router.log[0]


def test_a_value_longer_than_any_file_is_refused_in_one_line(router):
    router.settings({}, {**UPSTREAM, "hostname": "x" * 100_000})
    router.service("start", check=False)
    assert router.instance() is None
    assert len(router.log) == 1 and len(router.log[0]) < 600


@pytest.mark.parametrize(("written", "read"), [("1", True), ("on", True), ("enabled", True), ("true", True),
                                               ("0", False), ("off", False), ("disabled", False), ("false", False)])
def test_a_switch_is_written_as_uci_knows_it(router, written, read):
    router.settings({"log_queries": written, "cache_prefetch": written}, {**UPSTREAM, "keep_warm": written})
    tree = force(router)
    assert tree["log"]["queries"] is tree["cache"]["prefetch"] is tree["upstream"][0]["keep_warm"] is read


def test_a_list_may_be_written_as_one_option(router):
    router.settings({"host": "127.0.0.1 ::1", "allow": "127.0.0.0/8"}, {**UPSTREAM, "pin": " ".join(PINS)})
    tree = force(router)
    assert tree["dnproxy"]["host"] == ["127.0.0.1", "::1"] and tree["dnproxy"]["allow"] == "127.0.0.0/8"
    assert tree["upstream"][0]["pins"] == PINS


def test_a_star_in_an_option_names_no_files(router):
    router.settings({"host": "*"}, UPSTREAM)
    assert yaml.safe_load(router.service("render").stdout)["dnproxy"]["host"] == ["*"]


def test_an_upstream_can_be_switched_off(router):
    router.settings({}, {**UPSTREAM, "enabled": "0"}, {"ip": "192.0.2.2", "hostname": "other.example"})
    assert [u["ip"] for u in force(router)["upstream"]] == ["192.0.2.2"]


def test_a_mistake_is_one_line_in_the_log_and_starts_nothing(router):
    router.uci("dnproxy.main.port=70000")
    done = router.service("start", check=False)
    assert done.returncode == 1 and router.instance() is None
    assert router.log == [
        "err dnproxy: settings refused: /var/etc/dnproxy.yml.new:4:9: dnproxy.port: 70000 is outside 1..65535"]


def test_in_manual_mode_the_file_of_the_user_is_used(router):
    own = "upstream:\n  ip: 192.0.2.9\n  hostname: mine.example\ndnproxy:\n  port: 5999\n"
    router.write("etc/dnproxy.yml", own)
    router.uci("dnproxy.main.manual=1", "dnproxy.main.max_queries=1")
    router.service("start")
    assert router.instance()["command"] == ["/usr/sbin/dnproxy", "-c", "/var/etc/dnproxy.yml"]
    assert router.read("/tmp/etc/dnproxy.yml") == own


def test_in_manual_mode_a_mistake_is_shown_with_the_name_of_that_file(router):
    router.write("etc/mine.yml", "upstream:\n  ip: nowhere\n")
    router.uci("dnproxy.main.manual=1", "dnproxy.main.config_file=/etc/mine.yml")
    router.service("start", check=False)
    assert router.instance() is None
    assert len(router.log) == 1 and "settings refused: /etc/mine.yml:2:7: upstream.ip:" in router.log[0]


def test_in_manual_mode_a_file_that_is_missing_is_told(router):
    router.uci("dnproxy.main.manual=1")
    router.service("start", check=False)
    assert router.instance() is None
    assert len(router.log) == 1 and "/etc/dnproxy.yml" in router.log[0]


def test_the_file_is_for_root_and_the_program_alone(router):
    router.service("start")
    status = router.path("/tmp/etc/dnproxy.yml").stat()
    # Without the right to give files away, as root of a user namespace, it is for all to read.
    assert (status.st_mode & 0o777, status.st_gid) in [(0o640, 453), (0o644, 0)]
