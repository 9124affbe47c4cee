# SPDX-License-Identifier: MIT
"""doc/openwrt.md says what is so, and what it tells to do works."""

import re

from patience import ROOT
from test_package import make_ipk
from test_settings import MAIN, SERVER

TEXT = (ROOT / "doc" / "openwrt.md").read_text()
HERE = {"enabled", "dnsmasq", "dnsmasq_instance", "trigger", "manual", "config_file"}


def rows(heading):
    table = TEXT.partition(f"| {heading}")[2].partition("\n\n")[0]
    return {m[1]: (m[2].strip(), m[3]) for m in re.finditer(r"^\| `(\w+)`(?: \(list\))? \|(.*?)\| (.*) \|$", table, re.M)}


def test_every_option_has_its_row_and_names_its_key():
    main, upstream = rows("section `main`"), rows("sections `upstream`")
    assert set(main) == HERE | set(MAIN) and set(upstream) == {"enabled"} | set(SERVER)
    for name, (_, key, _) in [*MAIN.items(), *SERVER.items()]:
        row = main[name] if key in main.get(name, ("", ""))[1] else upstream[name]
        assert f"`{key}`" in row[1]


def test_every_option_of_the_init_script_is_known():
    script = (ROOT / "deploy/openwrt/files/dnproxy.init").read_text()
    used = set(re.findall(r"(?:^|\t|then )(?:key|keys|switch) (?:main|\"\$1\") (\w+)", script))
    used |= set(re.findall(r"config_get(?:_bool)? \w+ (?:main|\"\$1\") (\w+)", script))
    used |= set(re.findall(r"is_on (\w+)", script)) | set(re.findall(r"each main (\w+)", script))
    assert used == HERE | set(MAIN) | set(SERVER)


def test_the_table_shows_what_is_installed(router):
    for name, (installed, _) in rows("section `main`").items():
        value = router.run("/sbin/uci", "-q", "get", f"dnproxy.main.{name}", check=False).stdout.strip()
        assert installed.strip("`") == value or (value, installed) == ("", "all")


def test_packages_are_listed_as_they_are_made():
    made = (ROOT / "tests/openwrt.mk").read_text().replace("\\\n", " ")
    table = dict(re.findall(r"^\| `(\w+)` \| ((?:\w[\w.-]*_?[\w.-]*(?:, )?)+)(?: \(.*\))? \|$", TEXT, re.M))
    assert {cpu: sorted(names.split(", ")) for cpu, names in table.items()} == {
        cpu: sorted(names.split()) for cpu, names in re.findall(r"^IPK_(\w+) *= *(.*)$", made, re.M) if cpu != "DIR"}


def test_what_is_told_to_do_by_hand_works(bare_router):
    router = bare_router
    make_ipk(router.path("tmp"))
    for name in ("passwd", "group"):
        router.write("etc/" + name, "root:x:0:0::/root:/bin/ash\n")
    block = TEXT.partition("<!-- by hand -->\n")[2].partition("\n\n")[0]
    router.run("/bin/sh", "-e", "-c", block)
    assert "dnproxy:x:4853:" in router.read("/etc/passwd") and "dnproxy:x:4853:" in router.read("/etc/group")
    assert router.instance()["user"] == ["dnproxy"] and router.service("enabled").returncode == 0
    block = TEXT.partition("Without opkg:\n\n")[2]
    router.run("/bin/sh", "-e", "-c", block)
    assert router.instance() is None
    assert not [p for p in router.root.rglob("*dnproxy*") if p.is_file() and "tmp" not in p.parts]


def test_the_way_to_the_first_answer_makes_dnsmasq_ask_dnproxy(router):
    router.service("start", "dnsmasq")
    router.service("start")
    block = TEXT.partition("Then let dnsmasq ask it, and nobody else:\n\n")[2].partition("\n\n")[0]
    # What reload_config does for this package.
    router.run("/bin/sh", "-e", "-c", block.replace("reload_config", "/etc/init.d/dnproxy reload"))
    assert router.asks_only_dnproxy()
    assert router.log[-1].endswith("dnsmasq asks 127.0.0.1#5853 and nobody else")


def test_figures_of_the_page_are_so(router, tmp_path):
    kilobytes = int(re.search(r"^\| package \| (\d+) kB", TEXT, re.M)[1])
    installed = int(re.search(r"^\| installed .*\| (\d+) kB", TEXT, re.M)[1])
    package = make_ipk(tmp_path)
    assert abs(package.stat().st_size / 1000 - kilobytes) < 3
    size = sum(router.path(name).stat().st_size for name in (
        "usr/sbin/dnproxy", "etc/init.d/dnproxy", "etc/config/dnproxy", "etc/capabilities/dnproxy.json",
        "etc/hotplug.d/ntp/30-dnproxy", "lib/upgrade/keep.d/dnproxy"))
    assert abs(size / 1000 - installed) < 3
    router.service("start")
    checked = router.run("/usr/sbin/dnproxy", "--check", "-c", "/var/etc/dnproxy.yml").stdout
    taken = int(re.search(r"together +(\d+) octets", checked)[1])
    assert f"{taken / 1e6:.1f} MB" == re.search(r"^\| memory it may take.*\| ([\d.]+ MB)", TEXT, re.M)[1]
