# SPDX-License-Identifier: MIT
"""dnproxy probe: tells what an upstream can do and what is wrong with it, and says nothing to who is nobody."""

import base64
import contextlib
import json
import re
import select
import ssl
import subprocess
import time
from ipaddress import ip_address
from pathlib import Path

import certs
import pytest
import yaml

import servers
import unkind_dot
from patience import PROGRAM, SLOW, WRAP
from program import free_port, upstream
from test_clock import DYNAMIC, FAKETIME, WARNING
from test_pins import OTHER_PIN
from test_upstream import assert_only_tls
from wire import KEEPALIVE, PADDING, opt_record, question, usual_answer

NAME = "dns.test"
FORWARDED, NOT_FORWARDED, USAGE = 0, 1, 2
KEYS = {"address", "hostname", "forwarded", "trouble", "rcode", "cipher", "alpn", "tcp_ms", "tls_ms", "query_ms",
        "name_holds", "anchor_holds", "dates_hold", "pin_holds", "resumption", "keepalive_s", "padding",
        "out_of_order", "idle_s", "chain"}
CHECKS = ["name_holds", "anchor_holds", "dates_hold", "pin_holds"]


@pytest.fixture
def probe(run, ca, tmp_path):
    """probe(server, "--idle", pins=[...]) is the exit status and what --json tells of the one upstream."""

    def of(server, *args, expect=None, anchors=True, **changes):
        (tmp_path / "dnproxy.yml").write_text(yaml.safe_dump({
            "upstream": [upstream(server, **changes)],
            "tls": {"trust_anchors": ca.pem if anchors is True else anchors or ""},
        }))
        done = run("probe", "--json", *args, timeout=20)
        assert done.stderr == "", done.stderr
        told = json.loads(done.stdout)
        assert list(told) == ["upstreams"] and len(told["upstreams"]) == 1
        assert set(told["upstreams"][0]) == KEYS
        assert done.returncode == (FORWARDED if expect is None else expect), done.stdout
        return told["upstreams"][0]

    return of


def checks(told):
    return [told[key] for key in CHECKS]


def openssl(*args, given):
    done = subprocess.run(["openssl", *args], input=given, capture_output=True, check=True, timeout=20 * SLOW)
    return done.stdout


def pin_by_openssl(pem):
    """As the README says how to get one."""
    key = openssl("x509", "-pubkey", "-noout", given=pem)
    der = openssl("pkey", "-pubin", "-outform", "der", given=key)
    return "sha256/" + base64.b64encode(openssl("dgst", "-sha256", "-binary", given=der)).decode()


def expiry_by_openssl(pem):
    out = openssl("x509", "-enddate", "-noout", "-dateopt", "iso_8601", given=pem).decode()
    return re.fullmatch(r"notAfter=(\S+) \S+\n", out)[1]


def pem_parts(path):
    return re.findall(rb"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----\n", Path(path).read_bytes(), re.S)


# -- what is told ------------------------------------------------------------------------------------


@pytest.mark.valgrind
def test_a_good_server_is_told_of_in_full(unkind, probe):
    server = unkind()
    told = probe(server)
    assert told["address"] == f"{server.host}@{server.port}" and told["hostname"] == NAME
    assert (told["forwarded"], told["trouble"], told["rcode"]) == (True, None, "NOERROR")
    assert told["cipher"].startswith("TLS 1.2 ECDHE-ECDSA ") and told["alpn"] == "dot"
    for key in ("tcp_ms", "tls_ms", "query_ms"):
        assert 0 <= told[key] < 2000 * SLOW, key
    assert checks(told) == [True, True, True, None]
    assert (told["keepalive_s"], told["padding"], told["idle_s"]) == (None, None, None)


def test_what_is_asked_is_what_would_be_forwarded(unkind, probe):
    """EDNS, padding and all (RFC 8467), RD, and nothing but the name."""
    server = unkind()
    probe(server, "--name", "www.example.net.")
    names = [q.name for q in server.queries]
    assert names.count("www.example.net.") == len(names) - 1
    assert len([n for n in names if n.endswith(".www.example.net.")]) == 1, "the one nobody has asked for before"
    for query in server.queries:
        assert query.type == 1 and query.flags == 0x0100 and len(query.wire) % 128 == 0
        assert query.option(KEEPALIVE) == b"" and query.opt.rdclass == 1232
    assert len({q.id for q in server.queries}) > 1


def test_the_name_is_example_com_by_default(unkind, probe):
    server = unkind()
    probe(server)
    assert {q.name for q in server.queries} >= {"example.com."}


@pytest.mark.parametrize("key, words", [("p256", "P-256"), ("p384", "P-384"), ("rsa2048", "RSA 2048"),
                                        ("rsa3072", "RSA 3072")])
def test_pins_and_dates_are_those_of_openssl(unkind, probe, ca, key, words):
    issuer = certs.Authority(ca.directory, "Test Intermediate", issuer=ca, key="rsa2048", days=(-5, 1700))
    leaf = issuer.leaf(NAME, cn=NAME, key=key, days=(-1, 77))
    told = probe(unkind(certificate=leaf))
    parts = pem_parts(leaf.cert)
    assert len(told["chain"]) == len(parts) == 2
    for certificate, pem in zip(told["chain"], parts):
        assert certificate["pin"] == pin_by_openssl(pem)
        assert certificate["expires"] == expiry_by_openssl(pem)
    first, second = told["chain"]
    assert (first["subject"], first["issuer"], first["key"]) == (NAME, "Test Intermediate", words)
    assert (second["subject"], second["issuer"], second["key"]) == ("Test Intermediate", "Test Root", "RSA 2048")
    assert first["days_left"] in (76, 77) and second["days_left"] in (1699, 1700)


@pytest.mark.parametrize("days", [1, 29, 60, 366, 800, 1461, 5000, 12000, 30000])
def test_every_kind_of_date_is_that_of_openssl(unkind, probe, ca, days):
    leaf = ca.leaf(NAME, days=(-1, days))
    (certificate,) = probe(unkind(certificate=leaf))["chain"]
    assert certificate["expires"] == expiry_by_openssl(pem_parts(leaf.cert)[0])
    assert certificate["days_left"] in (days - 1, days)


def test_what_is_told_can_be_pasted_as_pins(unkind, probe, ca):
    issuer = certs.Authority(ca.directory, "Test Intermediate", issuer=ca)
    server = unkind(certificate=issuer.leaf(NAME))
    pins = [c["pin"] for c in probe(server)["chain"]]
    for pin in pins:
        told = probe(server, pins=[pin])
        assert checks(told) == [True, True, True, True]
        assert [c["pinned"] for c in told["chain"]] == [c["pin"] == pin for c in told["chain"]]


def test_odd_names_in_a_certificate_are_still_json(unkind, probe, ca):
    leaf = ca.leaf(NAME, cn='a "quoted" \\ back\nslash')
    assert probe(unkind(certificate=leaf))["chain"][0]["subject"] == 'a "quoted" \\ back?slash'


# -- for people --------------------------------------------------------------------------------------


def test_people_get_one_fact_a_line(unkind, run, ca, leaf, tmp_path):
    server = unkind()
    (tmp_path / "dnproxy.yml").write_text(yaml.safe_dump({"upstream": [upstream(server)],
                                                          "tls": {"trust_anchors": ca.pem}}))
    done = run("probe")
    assert (done.returncode, done.stderr) == (FORWARDED, "")
    facts = dict(re.fullmatch(r"(.{13}) (\S.*)", line).groups() for line in done.stdout.splitlines() if line)
    facts = {key.strip(): value for key, value in facts.items()}
    assert facts["address"] == f"{server.host}@{server.port}" and facts["hostname"] == NAME
    assert facts["forwarded"] == facts["name holds"] == facts["dates hold"] == "yes"
    assert facts["pin"] == pin_by_openssl(pem_parts(leaf.cert)[0])
    assert facts["keepalive s"] == facts["padding"] == "none"
    assert facts["out of order"] == "not seen" and int(facts["days left"]) in (29, 30)
    assert re.fullmatch(r"\d+", facts["tls ms"])
    assert "trouble" not in facts and "pin holds" not in facts and "idle s" not in facts


@pytest.mark.parametrize("days", [-1, -2, -3])
def test_people_see_how_long_a_certificate_has_expired(unkind, run, ca, tmp_path, days):
    (tmp_path / "dnproxy.yml").write_text(yaml.safe_dump({
        "upstream": [upstream(unkind(certificate=ca.leaf(NAME, days=(-30, days))))],
        "tls": {"trust_anchors": ca.pem},
    }))
    done = run("probe")
    assert done.returncode == NOT_FORWARDED
    assert f"has expired ({-days} days ago)" in done.stdout and f"\ndays left     {days}\n" in done.stdout


def test_a_long_keepalive_is_not_taken_for_a_long_wait(unkind, run, ca, tmp_path):
    server = unkind(answering(options=[(KEEPALIVE, b"\xff\xff")]))
    (tmp_path / "dnproxy.yml").write_text(yaml.safe_dump({"upstream": [upstream(server)],
                                                          "tls": {"trust_anchors": ca.pem}}))
    assert "\nkeepalive s   6553.5\n" in run("probe").stdout


# -- what goes beyond the answer ---------------------------------------------------------------------


def answering(**options):
    """A server whose OPT record holds these options; padded=N pads its answers to a multiple of that."""

    def handler(connection):
        while query := connection.query():
            wire = usual_answer(query.wire, opt=opt_record(options=list(options.get("options", ()))))
            if "padded" in options:
                room = -(len(wire) + 4) % options["padded"]
                more = [*options.get("options", ()), (PADDING, bytes(room))]
                wire = usual_answer(query.wire, opt=opt_record(options=more))
            connection.send_message(wire)

    return handler


@pytest.mark.parametrize("tenths, seconds", [(300, 30.0), (15, 1.5), (0, 0.0), (65535, 6553.5)])
def test_keepalive_is_told_in_seconds(unkind, probe, tenths, seconds):
    """RFC 7828."""
    server = unkind(answering(options=[(KEEPALIVE, tenths.to_bytes(2, "big"))]))
    assert probe(server)["keepalive_s"] == seconds


@pytest.mark.parametrize("block, told", [(468, 468), (128, 128), (100, 1)])
def test_padding_is_told(unkind, probe, block, told):
    """RFC 8467 section 4.1; 1 is padding to a multiple of nothing known."""
    assert probe(unkind(answering(padded=block)))["padding"] == told


def test_answers_out_of_order_are_seen(unkind, probe):
    def quick_first(connection):
        held = []
        while query := connection.query():
            if query.name != "example.com.":
                held.append(query)
                continue
            connection.answer(query)
            while held:
                connection.answer(held.pop())

    assert probe(unkind(quick_first))["out_of_order"] is True


def test_answers_out_of_order_in_one_piece_are_seen(unkind, probe):
    def backwards(connection):
        while query := connection.query():
            if query.name == "example.com.":
                connection.answer(query)
                continue
            second = connection.query()
            connection.hold()
            connection.answer(second)
            connection.answer(query)
            connection._held = False
            connection.flush()

    assert probe(unkind(backwards))["out_of_order"] is True


def test_answers_in_order_are_not_called_otherwise(unkind, probe):
    assert probe(unkind())["out_of_order"] is False


def test_a_query_without_an_answer_says_nothing_of_order(unkind, probe):
    def only_example_com(connection):
        while query := connection.query():
            if not [q for q in connection.server.queries if q.name != "example.com."]:
                connection.answer(query)

    assert probe(unkind(only_example_com))["out_of_order"] is None


@pytest.mark.parametrize("tickets", [True, False])
def test_resumption_is_told(unkind, probe, leaf, tickets):
    context = unkind_dot.server_context(leaf)
    if not tickets:
        context.options |= ssl.OP_NO_TICKET
    assert probe(unkind(context=context))["resumption"] is True


def test_a_server_that_does_not_resume_is_told_of(unkind, probe, leaf):
    def forgets(connection):
        connection.server.context = unkind_dot.server_context(leaf)
        connection.handshake()
        connection.serve()

    told = probe(unkind(forgets, raw=True))
    assert told["forwarded"] is True and told["resumption"] is False


def closing_after(seconds):
    def handler(connection):
        with contextlib.suppress(TimeoutError):
            while query := connection.query(timeout=seconds):
                connection.answer(query)
        connection.close_notify()

    return handler


def test_the_idle_time_is_told(unkind, probe):
    told = probe(unkind(closing_after(1.5)), "--idle")
    assert 1.4 <= told["idle_s"] <= 1.5 + 1.0 * SLOW


def test_after_65_seconds_it_is_told_that_it_may_be_longer(unkind, ca, tmp_path):
    """The clock leaps, and what nobody asked for wakes the probe to see it."""
    clock = tmp_path / "clock"
    clock.write_text("+0")

    def leaps(connection):
        query = connection.query()
        connection.answer(query)
        if connection.number == 0:
            connection.serve()
            return
        for offset in range(80, 8000, 80):
            if select.select([connection.sock], [], [], 0.1)[0]:
                break
            clock.with_suffix(".new").write_text(f"+{offset}")
            clock.with_suffix(".new").rename(clock)
            connection.answer(query)

    (tmp_path / "dnproxy.yml").write_text(yaml.safe_dump({"upstream": [upstream(unkind(leaps))],
                                                          "tls": {"trust_anchors": ca.pem}}))
    env = {"LD_PRELOAD": str(faketime()), "FAKETIME_TIMESTAMP_FILE": str(clock), "FAKETIME_NO_CACHE": "1", "PATH": ""}
    done = subprocess.run([DYNAMIC, "probe", "--idle"], cwd=tmp_path, env=env, capture_output=True, text=True,
                          timeout=30 * SLOW, check=False)
    assert re.search(r"^idle s        longer than \d+\.\d$", done.stdout, re.M), done.stdout + done.stderr


def test_without_idle_nobody_waits(unkind, probe):
    began = time.monotonic()
    assert probe(unkind())["idle_s"] is None
    assert time.monotonic() - began < 5 * SLOW


# -- without a clock ---------------------------------------------------------------------------------


def faketime():
    (found,) = Path("/usr/lib").glob(f"*/faketime/{FAKETIME}")
    return found


def test_without_a_clock_the_dates_are_not_said_to_hold(unkind, ca, tmp_path):
    (tmp_path / "dnproxy.yml").write_text(yaml.safe_dump({"upstream": [upstream(unkind())],
                                                          "tls": {"trust_anchors": ca.pem}}))
    env = {"LD_PRELOAD": str(faketime()), "FAKETIME": "@1970-01-01 00:10:00", "PATH": ""}
    done = subprocess.run([DYNAMIC, "probe", "--json"], cwd=tmp_path, env=env, capture_output=True, text=True,
                          timeout=30 * SLOW, check=False)
    (told,) = json.loads(done.stdout)["upstreams"]
    assert told["forwarded"] is True and checks(told) == [True, True, None, None]
    assert WARNING in done.stderr


# -- what is wrong -----------------------------------------------------------------------------------


BAD = {
    "wrong name": (lambda ca: ca.leaf("other.test"), "does not name dns.test", [False, True, True, None]),
    "unknown anchor": (lambda ca: certs.Authority(ca.directory, "Other Root").leaf(NAME),
                       "not signed by a trust anchor", [True, False, None, None]),
    "self-signed": (lambda ca: certs.self_signed(ca.directory, NAME), "not signed by a trust anchor",
                    [True, False, None, None]),
    "expired": (lambda ca: ca.leaf(NAME, days=(-30, -1)), "has expired", [True, True, False, None]),
    "not yet valid": (lambda ca: ca.leaf(NAME, days=(1, 30)), "not yet valid", [True, True, False, None]),
    "expired issuer": (lambda ca: certs.Authority(ca.directory, "I", issuer=ca, days=(-30, -1)).leaf(NAME),
                       "has expired", [True, True, False, None]),
    "expired and of another name": (lambda ca: ca.leaf("other.test", days=(-30, -1)), "certificate",
                                    [False, True, False, None]),
    "wrong in all": (lambda ca: certs.self_signed(ca.directory, "other.test", days=(-30, -1)), "certificate",
                     [False, False, None, None]),
    "no server": (lambda ca: ca.leaf(NAME, usage=[certs.CLIENT_AUTH]), "not for servers",
                  [True, False, None, None]),
    # No connection says whether the name holds, for none can be made at all.
    "unknown critical extension": (lambda ca: ca.leaf(NAME, unknown_critical=True), "certificate",
                                   [None, False, None, None]),
}


@pytest.mark.parametrize("make, reason, told", BAD.values(), ids=BAD.keys())
def test_each_check_is_told_by_itself_and_no_octet_of_dns_leaves(unkind, probe, ca, make, reason, told):
    leaf = make(ca)
    server = unkind(certificate=leaf)
    found = probe(server, expect=NOT_FORWARDED)
    assert reason in found["trouble"] and found["forwarded"] is False
    assert checks(found) == told
    assert found["chain"][0]["pin"] == leaf.pin
    assert (found["rcode"], found["query_ms"], found["resumption"]) == (None, None, None)
    assert_nothing_said(server)


def assert_nothing_said(server):
    """Also on connections that other rules than the upstream's have opened, to tell the checks apart."""
    assert server.queries == [] and len(server.connections) > 0
    for connection in server.connections:
        assert connection.closed.wait(5 * SLOW)
        assert b"example" not in connection.raw
        assert_only_tls(connection.raw, application_data=False)


@pytest.mark.parametrize("clock", ["auto", "strict"])
def test_dates_that_never_hold_together_are_only_dates(unkind, run, ca, tmp_path, clock):
    issuer = certs.Authority(ca.directory, "Test Intermediate", issuer=ca, days=(-30, -10))
    server = unkind(certificate=issuer.leaf(NAME))
    (tmp_path / "dnproxy.yml").write_text(yaml.safe_dump({
        "upstream": [upstream(server)], "tls": {"trust_anchors": ca.pem, "clock": clock},
    }))
    (told,) = json.loads(run("probe", "--json").stdout)["upstreams"]
    assert checks(told) == [True, True, False, None]
    assert_nothing_said(server)


PINS = {
    "wrong pin": (lambda ca, leaf: dict(pins=[OTHER_PIN]), True, [True, True, True, False]),
    "wrong pin, no anchors": (lambda ca, leaf: dict(pins=[OTHER_PIN]), False, [True, False, None, False]),
    "right pin, wrong name": (lambda ca, leaf: dict(pins=[leaf.pin], hostname="other.test"), True,
                              [False, True, True, True]),
    "right pin, wrong anchor": (lambda ca, leaf: dict(pins=[leaf.pin]), "other", [True, False, None, True]),
    "root's pin, wrong name": (lambda ca, leaf: dict(pins=[ca.pin], hostname="other.test"), True,
                               [False, True, True, None]),
}


@pytest.mark.parametrize("keys, anchors, told", PINS.values(), ids=PINS.keys())
def test_a_pin_that_does_not_help_is_told_apart(unkind, probe, ca, leaf, keys, anchors, told):
    server = unkind()
    if anchors == "other":
        anchors = certs.Authority(ca.directory, "Other Root").pem
    found = probe(server, expect=NOT_FORWARDED, anchors=anchors, **keys(ca, leaf))
    assert checks(found) == told
    assert_nothing_said(server)


def test_a_pin_behind_the_anchor_is_not_said_to_hold(unkind, probe, ca):
    """What nobody has verified does not count, though it is there to be seen."""
    pinned = certs.Authority(ca.directory, "Pinned")
    server = unkind(certificate=ca.leaf(NAME, chain=[pinned.certificate]))
    found = probe(server, expect=NOT_FORWARDED, pins=[pinned.pin])
    assert checks(found) == [True, True, True, False]
    assert [c["pinned"] for c in found["chain"]] == [False, True]
    assert_nothing_said(server)


def test_a_pin_alone_forwards_and_the_rest_is_still_told(unkind, probe, ca):
    leaf = certs.self_signed(ca.directory, NAME, days=(-30, -1))
    found = probe(unkind(certificate=leaf), anchors=False, pins=[leaf.pin])
    assert checks(found) == [True, False, None, True]


def test_pins_keep_what_is_not_asked_for_apart(unkind, probe, ca, leaf):
    """Connections by other rules carry no query, where the upstream's own do."""
    server = unkind()
    probe(server, pins=[leaf.pin])
    talking = {query.connection.number for query in server.queries}
    assert talking == {0} and len(server.connections) > 3


def test_a_certificate_for_the_address_needs_no_hostname(unkind, run, ca, tmp_path):
    server = unkind(certificate=ca.leaf(ip_address("127.0.0.1")))
    (tmp_path / "dnproxy.yml").write_text(yaml.safe_dump({"upstream": [{"ip": "192.0.2.1"}],
                                                          "tls": {"trust_anchors": ca.pem}}))
    done = run("probe", "--json", f"{server.host}@{server.port}")
    told = json.loads(done.stdout)["upstreams"][0]
    assert done.returncode == FORWARDED and told["hostname"] is None and told["name_holds"] is True
    other = unkind()
    done = run("probe", "--json", f"{other.host}@{other.port}")
    told = json.loads(done.stdout)["upstreams"][0]
    assert done.returncode == NOT_FORWARDED and checks(told) == [False, True, True, None]
    assert_nothing_said(other)


def test_tls_1_3_only_is_said(unkind, probe, leaf):
    server = unkind(context=unkind_dot.server_context(leaf, minimum=ssl.TLSVersion.TLSv1_3))
    found = probe(server, expect=NOT_FORWARDED)
    assert found["trouble"] == "server requires TLS 1.3"
    assert found["tcp_ms"] is not None and found["tls_ms"] is None
    assert checks(found) == [None] * 4 and found["chain"] == []
    assert_nothing_said(server)


def test_nobody_listens(probe):
    class Nobody:
        host, port, name = "127.0.0.1", free_port(["127.0.0.1"]), NAME

    found = probe(Nobody, expect=NOT_FORWARDED)
    assert (found["trouble"], found["tcp_ms"]) == ("connection refused", None)


def says(octets):
    def handler(connection):
        if octets:
            connection.sock.sendall(octets)
        while connection.receive_raw():
            pass

    return handler


@pytest.mark.parametrize("octets, reason", [(b"", "no TLS handshake within 2000 ms"),
                                            (b"SSH-2.0-nobody\r\n", "not a TLS server")],
                         ids=["silence", "garbage"])
def test_who_is_no_tls_server(unkind, probe, octets, reason):
    server = unkind(says(octets), raw=True)
    began = time.monotonic()
    assert probe(server, expect=NOT_FORWARDED)["trouble"] == reason
    assert time.monotonic() - began < 10 * SLOW
    for connection in server.connections:
        assert b"example" not in connection.raw


def test_who_never_answers(unkind, probe):
    """A query would be forwarded, and to no avail; it is no reason to wait for ever."""
    server = unkind(lambda connection: connection.idle())
    began = time.monotonic()
    found = probe(server, expect=NOT_FORWARDED)
    assert time.monotonic() - began < 12 * SLOW
    assert (found["forwarded"], found["trouble"], found["query_ms"]) == (True, "does not answer", None)
    assert found["resumption"] is True


def test_who_is_slow_is_not_looked_at_for_ever(unkind, probe):
    """After ten seconds what is not known yet stays so."""

    def slow(connection):
        while query := connection.query():
            time.sleep(1.75)
            connection.answer(query)

    found = probe(unkind(slow))
    assert found["query_ms"] >= 1750 and found["resumption"] is None


def test_the_time_of_a_query_is_the_median(unkind, probe):
    def uneven(connection):
        for wait in (0, 0.4, 0.4, 0.4, 0):
            query = connection.query()
            time.sleep(wait)
            if query:
                connection.answer(query)
        connection.serve()

    assert 400 <= probe(unkind(uneven))["query_ms"] < 400 + 1500 * SLOW


def test_who_closes_instead_of_answering(unkind, probe):
    def closes(connection):
        connection.query()
        connection.close_notify()

    found = probe(unkind(closes), expect=NOT_FORWARDED)
    assert (found["forwarded"], found["trouble"]) == (True, "closed by the server")


def test_who_sends_garbage_instead_of_answering(unkind, probe):
    def babbles(connection):
        connection.query()
        connection.send(b"\0\1x")

    found = probe(unkind(babbles), expect=NOT_FORWARDED)
    assert (found["forwarded"], found["trouble"]) == (True, "sends what is no DNS over TLS")


def test_an_answer_to_another_question_is_none(unkind, probe):
    def lies(connection):
        while query := connection.query():
            connection.answer(query, asked=question("example.net.", "A"))

    found = probe(unkind(lies), expect=NOT_FORWARDED)
    assert (found["forwarded"], found["trouble"], found["rcode"]) == (True, "does not answer", None)


def test_an_answer_of_an_error_is_told_with_its_code(unkind, probe):
    def refuses(connection):
        while query := connection.query():
            connection.answer(query, rcode=5, records=())

    assert probe(unkind(refuses))["rcode"] == "REFUSED"


def test_one_answer_a_connection_is_enough(unkind, probe):
    def answers_one(connection):
        if query := connection.query():
            connection.answer(query)
        connection.close_notify()

    found = probe(unkind(answers_one))
    assert found["rcode"] == "NOERROR" and found["out_of_order"] is None and found["trouble"] is None


# -- which upstreams ---------------------------------------------------------------------------------


def two_upstreams(tmp_path, ca, *entries):
    (tmp_path / "dnproxy.yml").write_text(yaml.safe_dump({"upstream": list(entries), "tls": {"trust_anchors": ca.pem}}))


def test_all_of_the_settings_must_be_well(unkind, run, ca, tmp_path):
    good, bad, other = unkind(), unkind(certificate=ca.leaf("other.test")), unkind()
    two_upstreams(tmp_path, ca, upstream(good), upstream(bad), upstream(other))
    done = run("probe", "--json")
    told = json.loads(done.stdout)["upstreams"]
    assert done.returncode == NOT_FORWARDED
    assert [u["forwarded"] for u in told] == [True, False, True]
    assert [u["address"] for u in told] == [f"{s.host}@{s.port}" for s in (good, bad, other)]
    for_people = run("probe")
    assert for_people.returncode == NOT_FORWARDED
    assert re.findall(r"^forwarded +(.*)$", for_people.stdout, re.M) == ["yes", "no", "yes"]
    two_upstreams(tmp_path, ca, upstream(good), upstream(other))
    assert run("probe").returncode == FORWARDED
    assert_nothing_said(bad)


def test_one_can_be_named_and_keeps_its_settings(unkind, run, ca, tmp_path):
    first, second = unkind(), unkind()
    two_upstreams(tmp_path, ca, upstream(first), upstream(second, pins=[OTHER_PIN]))
    done = run("probe", "--json", f"{first.host}@{first.port}")
    (told,) = json.loads(done.stdout)["upstreams"]
    assert done.returncode == FORWARDED and told["hostname"] == NAME and second.connections == []
    done = run("probe", "--json", f"{second.host}@{second.port}#{NAME}")
    (told,) = json.loads(done.stdout)["upstreams"]
    assert done.returncode == NOT_FORWARDED and told["pin_holds"] is False, "its pins bind whatever its name"
    assert second.queries == []


@pytest.mark.parametrize("spell", ["{0}@{1}#dns.test", "[{0}]@{1}#dns.test.", "{0}@{1}#DNS.test"])
def test_a_server_outside_the_settings(unkind, run, ca, tmp_path, spell):
    server = unkind(host="::1" if "[" in spell else "127.0.0.1")
    (tmp_path / "dnproxy.yml").write_text(yaml.safe_dump({"upstream": [{"ip": "192.0.2.1", "hostname": "x.test"}],
                                                          "tls": {"trust_anchors": ca.pem}}))
    done = run("probe", "--json", spell.format(server.host, server.port))
    assert done.returncode == FORWARDED, done.stdout
    assert json.loads(done.stdout)["upstreams"][0]["hostname"].lower() == NAME


def test_the_file_may_be_named_before_and_behind(unkind, run, ca, tmp_path):
    two_upstreams(tmp_path, ca, upstream(unkind()))
    (tmp_path / "dnproxy.yml").rename(tmp_path / "other.yml")
    assert run("probe", "-c", "other.yml").returncode == FORWARDED
    assert run("probe", "--json", "--config=other.yml").returncode == FORWARDED


USAGES = {
    "no address": ["dns.test"], "no port": ["127.0.0.1@x"], "port too large": ["127.0.0.1@65536"],
    "no name": ["127.0.0.1#a b"], "an address as a name": ["127.0.0.1#192.0.2.1"], "two": ["127.0.0.1", "127.0.0.2"],
    "unknown option": ["--fast"], "check": ["--check"], "no file": ["-c"], "file not there": ["-c", "nowhere.yml"],
    "no --name": ["--name"], "empty label": ["--name", "a..b"], "long label": ["--name", "a" * 64],
    "long name": ["--name", ".".join(["a" * 63] * 3 + ["b" * 62])],
    "empty name": ["--name", ""], "all addresses": ["0.0.0.0"],
}


@pytest.mark.parametrize("args", USAGES.values(), ids=USAGES.keys())
def test_a_mistake_is_told_in_one_line_and_ends_with_2(run, args):
    done = run("probe", "--json", *args)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (USAGE, "", 1), done.stderr


def test_the_longest_names_are_asked_for(unkind, probe):
    server = unkind()
    longest = ".".join(["a" * 63] * 3 + ["b" * 61])
    assert probe(server, "--name", longest)["out_of_order"] is None, "no room for another label"
    assert {q.name for q in server.queries} == {longest + "."}


def test_help_is_given_for_probe_too(run):
    done = run("probe", "--help")
    assert done.returncode == 0 and "dnproxy probe" in done.stdout


def test_without_standard_streams_nothing_is_said_to_a_socket(unkind, ca, tmp_path):
    server, bad = unkind(), unkind(certificate=ca.leaf("other.test"))
    two_upstreams(tmp_path, ca, upstream(server), upstream(bad))
    command = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", *WRAP, PROGRAM, "probe"]
    assert subprocess.run(command, cwd=tmp_path, timeout=20 * SLOW, check=False).returncode == NOT_FORWARDED
    for connection in server.connections:
        assert connection.closed.wait(5 * SLOW)
        assert b"forwarded" not in connection.raw
        assert_only_tls(connection.raw)
    assert_nothing_said(bad)


# -- the servers people run --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def named(ca):
    """kdig shows nothing of a certificate without a subject."""
    return ca.leaf(NAME, cn=NAME)


@pytest.fixture(scope="module")
def unbound(named, needs, tmp_path_factory):
    server = servers.Unbound(tmp_path_factory.mktemp("backend"), named, needs)
    yield server
    server.stop()


ASKED = ["--name", "www.example.test"]
KINDS = {"unbound": servers.Unbound, "nsd": servers.Nsd, "dnsdist": servers.Dnsdist, "nginx": servers.NginxStream}
@pytest.fixture(scope="module", params=KINDS)
def server(request, named, needs, tmp_path_factory, unbound):
    backend = unbound if request.param in ("dnsdist", "nginx") else None
    server = KINDS[request.param](tmp_path_factory.mktemp(request.param), named, needs, backend)
    server.kind = request.param
    yield server
    server.stop()


def test_real_servers(server, probe):
    told = probe(server, *ASKED)
    assert (told["forwarded"], told["trouble"], told["rcode"]) == (True, None, "NOERROR")
    assert checks(told) == [True, True, True, None]
    # nginx keeps no sessions for its streams unless told to; unbound alone pads.
    assert told["resumption"] is (server.kind != "nginx")
    assert told["padding"] == (468 if server.kind == "unbound" else None)
    assert told["alpn"] == ("dot" if server.kind == "dnsdist" else None)


def test_kdig_shows_the_same_pin(server, probe, needs):
    said = subprocess.run([needs("kdig"), "-d", "@127.0.0.1", "-p", str(server.port), "+tls", "www.example.test"],
                          capture_output=True, text=True, timeout=30 * SLOW, check=True)
    (pin,) = re.findall(r"SHA-256 PIN: (\S+)", said.stdout + said.stderr)
    assert [c["pin"] for c in probe(server, *ASKED)["chain"]] == ["sha256/" + pin]
