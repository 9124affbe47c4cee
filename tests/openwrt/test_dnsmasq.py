# SPDX-License-Identifier: MIT
"""dnsmasq asks dnproxy and nobody else while that is wanted, and has its settings back afterwards, as they were."""

import pytest

from router import AUTO, DHCP

TWO = DHCP + """
config dnsmasq 'guest'
\toption port '5300'
\tlist server '198.51.100.7'
\tlist server '/nas.example/10.1.1.1'
\toption resolvfile '/tmp/resolv.guest'
"""


@pytest.fixture
def wanting(router):
    """A router whose dnsmasq runs, and is wanted."""
    router.uci("dnproxy.main.dnsmasq=1")
    router.service("enable")
    router.service("enable", "dnsmasq")
    router.service("start", "dnsmasq")
    router.events
    return router


def resolver(router):
    """Whom the router's own programs ask."""
    path = router.path("tmp/resolv.conf")
    return str(path.readlink()) if path.is_symlink() else path.read_text()


def everything(router, *sections):
    """What dnsmasq has to do with settings, and what became of them."""
    return (router.read("/etc/config/dhcp"), resolver(router), [router.dnsmasq(s) for s in ("cfg01411c", *sections)],
            router.notes("dnsmasq"))


def test_it_is_left_alone_unless_that_is_wanted(router):
    router.service("start", "dnsmasq")
    before = everything(router)
    router.events
    router.service("start")
    assert everything(router) == before and router.events == ["dnproxy: started"]
    router.service("stop")
    assert everything(router) == before and router.events == ["dnproxy: ended"]


def test_it_asks_dnproxy_alone_and_is_given_back_exactly(wanting):
    before = everything(wanting)
    assert f"resolv-file={AUTO}" in before[2][0]
    wanting.service("start")
    assert wanting.asks_only_dnproxy() and not any(line.startswith("resolv-file") for line in wanting.dnsmasq())
    assert set(before[2][0]) - set(wanting.dnsmasq()) == {f"resolv-file={AUTO}"}
    # First dnproxy, then who asks it.
    assert wanting.events == ["dnproxy: started", "dnsmasq: started", "dnsmasq: signal 1"]
    assert wanting.log == [
        "notice dnproxy: /var/etc/dnsmasq.conf.cfg01411c: dnsmasq asks 127.0.0.1#5853 and nobody else"]
    wanting.service("stop")
    assert everything(wanting) == before
    # First who asks it, then dnproxy.
    assert wanting.events == ["dnsmasq: ended", "dnsmasq: started", "dnproxy: ended"]


def test_its_settings_are_not_touched_at_any_time(wanting):
    file = wanting.path("etc/config/dhcp")
    before = file.read_bytes(), file.stat().st_mtime_ns, file.stat().st_ino
    for action in ("start", "reload", "restart", "stop"):
        wanting.service(action)
        assert (file.read_bytes(), file.stat().st_mtime_ns, file.stat().st_ino) == before
        assert not wanting.path("tmp/.uci/dhcp").exists()


def test_the_routers_own_programs_ask_it_too(router):
    router.uci("dnproxy.main.dnsmasq=1", "dhcp.@dnsmasq[0].resolvfile=/tmp/own.conf")
    router.service("start", "dnsmasq")
    assert resolver(router) == AUTO
    router.service("start")
    assert resolver(router).startswith("nameserver 127.0.0.1\n")
    router.service("stop")
    assert resolver(router) == AUTO


def before_24_10(router):
    """dnsmasq's script of these releases: without the provider's servers it is not for the router itself either."""
    script = router.read("/etc/init.d/dnsmasq").replace("localuse=1", "localuse=0")
    script = script.replace('.conf.auto ] || localuse=0', '.conf.auto ] && localuse=1')
    script = script.replace('[ "$noresolv" = 1 ] || [ "$resolvfile"', '[ "$noresolv" = 0 ] && [ "$resolvfile"')
    router.write("etc/init.d/dnsmasq", script, 0o755)


def test_the_routers_own_programs_ask_it_in_older_releases_too(wanting):
    before_24_10(wanting)
    wanting.service("restart", "dnsmasq")
    before = everything(wanting)
    wanting.service("start")
    assert resolver(wanting).startswith("nameserver 127.0.0.1\n")
    wanting.service("stop")
    assert everything(wanting) == before
    wanting.reboot()
    assert wanting.asks_only_dnproxy() and resolver(wanting).startswith("nameserver 127.0.0.1\n")


def test_an_instance_that_is_not_the_routers_does_not_become_it(wanting):
    before_24_10(wanting)
    wanting.write("etc/config/dhcp", TWO)
    wanting.uci("+dnproxy.main.dnsmasq_instance=guest", "dhcp.@dnsmasq[0].resolvfile=/tmp/own.conf")
    wanting.path("tmp/resolv.conf").unlink()
    wanting.path("tmp/resolv.conf").symlink_to(AUTO)
    wanting.service("restart", "dnsmasq")
    wanting.service("start")
    assert wanting.asks_only_dnproxy("guest") and resolver(wanting) == AUTO


def test_every_instance_asks_dnproxy(wanting):
    wanting.write("etc/config/dhcp", TWO)
    wanting.service("restart", "dnsmasq")
    before = everything(wanting, "guest")
    wanting.service("start")
    assert wanting.asks_only_dnproxy() and wanting.asks_only_dnproxy("guest")
    wanting.service("stop")
    assert everything(wanting, "guest") == before


@pytest.mark.parametrize("name", ["guest", "1"])
def test_one_instance_of_several_can_be_chosen_by_name_or_number(wanting, name):
    wanting.write("etc/config/dhcp", TWO)
    wanting.uci(f"+dnproxy.main.dnsmasq_instance={name}")
    wanting.service("restart", "dnsmasq")
    first = wanting.dnsmasq()
    wanting.service("start")
    assert wanting.dnsmasq() == first and wanting.asks_only_dnproxy("guest")


def test_servers_for_all_names_are_taken_out_and_those_for_certain_names_stay(wanting):
    wanting.uci(*[f"+dhcp.@dnsmasq[0].server={server}" for server in (
        "8.8.8.8", "2001:4860:4860::8888#53", "/#/8.8.4.4", "/a.example/#/9.9.9.9", "/*/9.9.9.10", "192.0.2.1@eth1",
        "/nas.example/10.1.1.1", "/b.example/c.example/10.1.1.2#54", "/d.example/", "/e.example/#", "//10.1.1.3")])
    wanting.service("start")
    assert wanting.servers() == ["127.0.0.1#5853", "/nas.example/10.1.1.1", "/b.example/c.example/10.1.1.2#54",
                                 "/d.example/", "/e.example/#", "//10.1.1.3"]
    assert len(wanting.log) == 1
    for words in ("10.1.1.1 for /nas.example/", "10.1.1.2#54 for /b.example/c.example/", "10.1.1.3 for //"):
        assert words in wanting.log[0]
    assert "d.example/," not in wanting.log[0] and "e.example" not in wanting.log[0]


def test_starting_twice_is_starting_once(wanting):
    before = everything(wanting)
    wanting.service("start")
    once = everything(wanting), wanting.read("/tmp/state/dhcp")
    wanting.events
    wanting.service("start")
    assert (everything(wanting), wanting.read("/tmp/state/dhcp")) == once and wanting.events == []
    wanting.service("stop")
    assert everything(wanting) == before


def test_stopping_twice_is_stopping_once(wanting):
    wanting.service("start")
    wanting.service("stop")
    before = everything(wanting)
    wanting.events
    wanting.service("stop")
    assert everything(wanting) == before and wanting.events == []


def test_restarting_gives_nothing_back_in_between(wanting):
    wanting.service("start")
    wanting.events
    wanting.service("restart")
    assert wanting.events == ["dnproxy: ended", "dnproxy: started"] and wanting.asks_only_dnproxy()


def test_at_boot_it_never_asks_anybody_else(wanting):
    wanting.reboot()
    assert wanting.events == ["dnproxy: started", "dnsmasq: started"]
    assert wanting.asks_only_dnproxy()


def test_a_power_cut_leaves_nothing_behind(wanting):
    before = wanting.read("/etc/config/dhcp"), wanting.dnsmasq()
    wanting.service("start")
    wanting.service("disable")
    wanting.reboot()
    assert (wanting.read("/etc/config/dhcp"), wanting.dnsmasq()) == before and resolver(wanting) != AUTO


def test_changes_of_the_user_meanwhile_are_in_force_and_kept(wanting):
    wanting.service("start")
    assert ["config.change", "dhcp", "100", "/etc/init.d/dnproxy", "reload"] in wanting.triggers()
    wanting.uci("+dhcp.@dnsmasq[0].server=8.8.8.8", "+dhcp.@dnsmasq[0].server=/nas.example/10.1.1.1",
                "dhcp.@dnsmasq[0].cachesize=50")
    changed = wanting.read("/etc/config/dhcp")
    # In the order of the triggers' delays.
    wanting.service("reload")
    wanting.service("reload", "dnsmasq")
    assert wanting.asks_only_dnproxy() and "/nas.example/10.1.1.1" in wanting.servers()
    assert "cache-size=50" in wanting.dnsmasq()
    wanting.service("stop")
    assert wanting.read("/etc/config/dhcp") == changed
    assert wanting.servers() == ["8.8.8.8", "/nas.example/10.1.1.1"]


def test_an_instance_that_comes_meanwhile_asks_dnproxy_before_it_starts(wanting):
    wanting.service("start")
    wanting.write("etc/config/dhcp", TWO.replace("config dnsmasq\n", "config host\n\toption name 'first'\n\nconfig dnsmasq\n", 1))
    wanting.service("reload")  # dnproxy's comes first
    assert wanting.asks_only_dnproxy("cfg02411c") and wanting.asks_only_dnproxy("guest")
    wanting.service("stop")
    assert "198.51.100.7" in wanting.servers("guest") and "no-resolv" not in wanting.dnsmasq("cfg02411c")


def test_what_others_have_noted_in_the_same_place_stays(wanting):
    note = "dhcp.lan.up='1'\n"
    wanting.write("tmp/state/dhcp", note)
    wanting.service("start")
    assert wanting.read("/tmp/state/dhcp").startswith(note) and wanting.asks_only_dnproxy()
    wanting.service("stop")
    assert wanting.read("/tmp/state/dhcp") == note


def test_another_port_is_followed(wanting):
    wanting.service("start")
    wanting.uci("dnproxy.main.port=5900")
    wanting.service("reload")
    assert wanting.asks_only_dnproxy(port=5900)


@pytest.mark.parametrize(("hosts", "target"), [
    (["0.0.0.0"], "127.0.0.1"), (["::1"], "::1"), (["192.0.2.1", "127.0.0.53"], "127.0.0.53"),
    (["192.0.2.1"], "192.0.2.1"), (["::"], "::1")])
def test_it_asks_where_dnproxy_listens(wanting, hosts, target):
    wanting.uci("-dnproxy.main.host", *[f"+dnproxy.main.host={h}" for h in hosts])
    wanting.service("start")
    assert wanting.servers() == [f"{target}#5853"]


def test_wrong_settings_do_not_turn_into_clear_text(wanting):
    wanting.service("start")
    wanting.uci("dnproxy.main.port=0")
    for action in ("reload", "restart"):
        wanting.service(action, check=False)
        assert wanting.asks_only_dnproxy()
    wanting.reboot()
    assert wanting.asks_only_dnproxy() and wanting.instance() is None


def test_switching_it_off_gives_back(wanting):
    before = everything(wanting)
    wanting.service("start")
    wanting.uci("dnproxy.main.enabled=0")
    wanting.service("reload")
    assert wanting.instance() is None and everything(wanting) == before


def test_no_longer_wanting_it_gives_back_and_dnproxy_stays(wanting):
    before = everything(wanting)
    wanting.service("start")
    wanting.uci("dnproxy.main.dnsmasq=0")
    wanting.service("reload")
    assert wanting.instance() and everything(wanting) == before


def test_a_dnsmasq_that_was_stopped_is_not_started(wanting):
    wanting.service("start")
    wanting.service("stop", "dnsmasq")
    wanting.events
    wanting.service("stop")
    assert wanting.events == ["dnproxy: ended"]
    wanting.service("start", "dnsmasq")
    assert "no-resolv" not in wanting.dnsmasq()


def test_without_dnsmasq_it_runs_by_itself(router):
    router.path("etc/init.d/dnsmasq").unlink()
    router.uci("dnproxy.main.dnsmasq=1")
    router.service("start")
    assert router.instance()
    router.service("stop")


# -- verify: other ways by which queries may leave -----------------------------------------------------

WAYS_OUT = {
    "a file beside the settings": lambda r: r.write("etc/dnsmasq.conf", "server=8.8.8.8\n"),
    "a file in its directory": lambda r: r.uci("dhcp.@dnsmasq[0].extraconftext=server=8.8.8.8"),
    "a list of servers": lambda r: (r.write("etc/servers", "server=/ads.example/\nserver=8.8.8.8\n"),
                                    r.uci("dhcp.@dnsmasq[0].serversfile=/etc/servers")),
    "blanks in a file": lambda r: r.write("etc/dnsmasq.conf", "\t server  =  8.8.8.8\n"),
    "an option for local names": lambda r: r.uci("dhcp.@dnsmasq[0].local=8.8.8.8"),
}


@pytest.mark.parametrize("way", WAYS_OUT)
def test_another_way_out_is_told(wanting, way):
    WAYS_OUT[way](wanting)
    wanting.service("start")
    line = "err dnproxy: /var/etc/dnsmasq.conf.cfg01411c: dnsmasq also asks 8.8.8.8, in clear text"
    assert line in wanting.log
    assert wanting.service("verify", check=False).returncode == 1


def test_a_router_whose_own_programs_ask_the_provider_is_told(wanting):
    wanting.uci("dhcp.@dnsmasq[0].localuse=0")
    wanting.path("tmp/resolv.conf").unlink()
    wanting.path("tmp/resolv.conf").symlink_to(AUTO)
    wanting.service("start")
    assert "err dnproxy: /tmp/resolv.conf: the router's own programs ask 192.0.2.53, in clear text" in wanting.log
    assert wanting.service("verify", check=False).returncode == 1


def test_a_server_for_the_names_of_a_network_is_named(wanting):
    wanting.write("etc/dnsmasq.conf", "rev-server=10.1.0.0/16,10.1.1.1\n")
    wanting.service("start")
    assert len(wanting.log) == 1 and "and nobody else but 10.1.1.1 for /10.1.0.0/16/, in clear text" in wanting.log[0]


def test_verify_has_nothing_to_say_against_a_usual_router(wanting):
    wanting.write("etc/dnsmasq.conf", "# server=8.8.8.8\n")
    assert wanting.service("verify").returncode == 0
    assert wanting.log[-1] == "notice dnproxy: dnsmasq is not told to ask dnproxy"
    wanting.service("start")
    assert wanting.service("verify").returncode == 0


def test_a_dnsmasq_that_does_not_listen_to_us_is_told(wanting):
    """Should a release of OpenWrt ever stop reading what lies in /var/state."""
    functions = wanting.read("/lib/functions.sh")
    wanting.write("lib/functions.sh", functions.replace("LOAD_STATE=1\n", "LOAD_STATE=\n"))
    wanting.service("start")
    assert "err dnproxy: /var/etc/dnsmasq.conf.cfg01411c: dnsmasq also asks the servers of the provider, in clear text" in wanting.log
