# SPDX-License-Identifier: MIT
"""Whom the program talks to: nobody whose certificate is not beyond doubt (RFC 8310 section 8.1)."""

import ssl
import time
from pathlib import Path

import certs
import pytest
import yaml
from cryptography.hazmat.primitives import hashes

import unkind_dot
from patience import SLOW
from test_upstream import ASK, assert_only_tls, assert_servfail
from wire import query

NAME = "dns.test"
UNTRUSTED = "certificate is not signed by a trust anchor"
EXPIRED, TOO_EARLY = "certificate has expired", "certificate is not yet valid"
NAMELESS = f"certificate does not name {NAME}"
ANY_REASON = "certificate|signature|chain"


def intermediate(ca, **options):
    return certs.Authority(ca.directory, "Test Intermediate", issuer=ca, **options)


def other_root(ca):
    """Another root of the same name: only the key tells them apart."""
    return certs.Authority(ca.directory, "Test Root")


def path_too_long(ca):
    return intermediate(intermediate(ca, path_length=0))


BAD = {
    "expired": (lambda ca: ca.leaf(NAME, days=(-30, -1)), EXPIRED),
    "not yet valid": (lambda ca: ca.leaf(NAME, days=(10, 40)), TOO_EARLY),
    "wrong name": (lambda ca: ca.leaf("other.test"), NAMELESS),
    "longer name": (lambda ca: ca.leaf("dns.test.example"), NAMELESS),
    "prefix of the name": (lambda ca: ca.leaf("dns.tes"), NAMELESS),
    "wildcard too deep": (lambda ca: ca.leaf("*.dns.test"), NAMELESS),
    "wildcard for all": (lambda ca: ca.leaf("*"), NAMELESS),
    "wildcard in a label": (lambda ca: ca.leaf("d*.test"), NAMELESS),
    "wrong name, right CN": (lambda ca: ca.leaf("other.test", cn=NAME), NAMELESS),
    "CN only": (lambda ca: ca.leaf(cn=NAME), "certificate has no subjectAltName"),
    "self-signed": (lambda ca: certs.self_signed(ca.directory, NAME), UNTRUSTED),
    "unknown root": (lambda ca: certs.Authority(ca.directory, "Other Root").leaf(NAME), UNTRUSTED),
    "root of the same name": (lambda ca: other_root(ca).leaf(NAME), ANY_REASON),
    "missing intermediate": (lambda ca: intermediate(ca).leaf(NAME, with_chain=False), UNTRUSTED),
    "for clients only": (lambda ca: ca.leaf(NAME, usage=[certs.CLIENT_AUTH]), "certificate is not for servers"),
    "SHA-1": (lambda ca: ca.leaf(NAME, hash=hashes.SHA1()), ANY_REASON),
    "SHA-1 in the chain": (lambda ca: intermediate(ca, hash=hashes.SHA1()).leaf(NAME), ANY_REASON),
    "RSA of 1,024 bits": (lambda ca: ca.leaf(NAME, key="rsa1024"), "certificate key is too small|signature"),
    "RSA of 1,024 bits in the chain": (lambda ca: intermediate(ca, key="rsa1024").leaf(NAME), ANY_REASON),
    "expired in the chain": (lambda ca: intermediate(ca, days=(-30, -1)).leaf(NAME), EXPIRED),
    "issuer is no authority": (lambda ca: intermediate(ca, is_ca=False).leaf(NAME), ANY_REASON),
    "path too long": (lambda ca: path_too_long(ca).leaf(NAME), ANY_REASON),
    "authority for mail alone": (lambda ca: intermediate(ca, usage=[certs.EMAIL]).leaf(NAME),
                                 "certificate is not for servers"),
    "authority for other names": (lambda ca: intermediate(ca, names="corp.example").leaf(NAME),
                                  "name constraints"),
    "unknown critical extension": (lambda ca: ca.leaf(NAME, unknown_critical=True), ANY_REASON),
}


@pytest.mark.filterwarnings("ignore:SHA1 signatures are deprecated")
@pytest.mark.parametrize("make, reason", BAD.values(), ids=BAD.keys())
def test_a_bad_certificate_gets_no_octet_of_dns(unkind, dnproxy, ca, make, reason):
    """RFC 8310 sections 5 and 8.1, RFC 5280, RFC 6125 section 6.4.3, RFC 9325 section 4.4."""
    server = unkind(certificate=make(ca))
    program = dnproxy(server)
    with program.tcp() as client:
        client.send(ASK)
        line = program.wait_log(rf"dot {server.host}@{server.port} \({NAME}\): .*(?:{reason})")[0].string
        time.sleep(0.02)
    assert "resting" in line
    assert server.queries == []
    for connection in server.connections:
        assert_only_tls(connection.raw, application_data=False)


@pytest.mark.valgrind
def test_a_bad_certificate_makes_the_next_upstream_answer(unkind, dnproxy, ca):
    first, second = unkind(certificate=ca.leaf("other.test")), unkind()
    program = dnproxy(first, second)
    assert program.udp(ASK).rcode == 0
    assert first.queries == [] and len(second.queries) == 1


def test_a_bad_certificate_is_still_bad_the_second_time(unkind, dnproxy, ca):
    """No session that was never verified is resumed, and no patience wears out; then SERVFAIL."""
    server = unkind(certificate=ca.leaf(NAME, days=(-30, -1)))
    program = dnproxy(server)
    began = time.monotonic()
    assert_servfail(program.udp(ASK))
    assert time.monotonic() - began < 4.0 * SLOW
    assert len(server.connections) >= 2 and server.queries == []


GOOD = {
    "P-256": lambda ca: ca.leaf(NAME),
    "P-384": lambda ca: ca.leaf(NAME, key="p384"),
    "RSA of 2,048 bits": lambda ca: ca.leaf(NAME, key="rsa2048"),
    "RSA of 3,072 bits": lambda ca: ca.leaf(NAME, key="rsa3072"),
    "SHA-384": lambda ca: ca.leaf(NAME, hash=hashes.SHA384()),
    "SHA-512": lambda ca: ca.leaf(NAME, hash=hashes.SHA512()),
    "intermediate": lambda ca: intermediate(ca).leaf(NAME),
    "RSA intermediate": lambda ca: intermediate(ca, key="rsa2048").leaf(NAME),
    "intermediate for servers": lambda ca: intermediate(ca, usage=[certs.SERVER_AUTH]).leaf(NAME),
    "two intermediates": lambda ca: intermediate(intermediate(ca)).leaf(NAME),
    "wildcard": lambda ca: ca.leaf("*.test"),
    "other letter case": lambda ca: ca.leaf("DNS.Test"),
    "one of many names": lambda ca: ca.leaf(*[f"n{n}.test" for n in range(100)], NAME),
    "another CN": lambda ca: ca.leaf(NAME, cn="Somebody else"),
    "no key usage": lambda ca: ca.leaf(NAME, usage=()),
    "for servers and clients": lambda ca: ca.leaf(NAME, usage=[certs.CLIENT_AUTH, certs.SERVER_AUTH]),
}


@pytest.mark.parametrize("make", GOOD.values(), ids=GOOD.keys())
def test_a_good_certificate_is_accepted(unkind, dnproxy, ca, make):
    server = unkind(certificate=make(ca))
    assert dnproxy(server).udp(query()).rcode == 0


@pytest.mark.parametrize("hostname", ["DNS.test", "dns.test."])
def test_the_hostname_may_be_spelled_differently(unkind, dnproxy, hostname):
    server = unkind()
    entry = {"ip": server.host, "port": server.port, "hostname": hostname}
    assert dnproxy(entry).udp(query()).rcode == 0


TLS13, TLS11 = ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.TLSv1_1
PROTOCOLS = {
    "TLS 1.3 only": (dict(minimum=TLS13), "requires TLS 1.3"),
    "TLS 1.1 only": (dict(minimum=ssl.TLSVersion.TLSv1, maximum=TLS11), "does not speak TLS 1.2|no common cipher"),
    "CBC only": (dict(ciphers="ECDHE-ECDSA-AES256-SHA384@SECLEVEL=0"), "no common cipher suite"),
    "no forward secrecy": (dict(ciphers="AES128-GCM-SHA256@SECLEVEL=0"), "no common cipher suite"),
    "DHE only": (dict(ciphers="DHE-RSA-AES128-GCM-SHA256@SECLEVEL=0"), "no common cipher suite"),
}


@pytest.mark.filterwarnings("ignore:.*TLSv1.*:DeprecationWarning")
@pytest.mark.parametrize("options, reason", PROTOCOLS.values(), ids=PROTOCOLS.keys())
def test_a_server_without_good_tls_1_2_gets_no_octet_of_dns(unkind, dnproxy, ca, leaf, options, reason):
    """RFC 8310 section 9, RFC 8996, RFC 9325 sections 4.1 and 4.2."""
    rsa = "ECDSA" not in options.get("ciphers", "ECDSA")
    certificate = ca.leaf(NAME, key="rsa2048") if rsa else leaf
    if "ciphers" not in options:
        options = dict(options, ciphers="ALL:@SECLEVEL=0")
    if options.get("maximum", TLS13) == TLS13 and "minimum" not in options:
        options = dict(options, maximum=ssl.TLSVersion.TLSv1_2)
    server = unkind(context=unkind_dot.server_context(certificate, **options))
    program = dnproxy(server)
    with program.tcp() as client:
        client.send(ASK)
        program.wait_log(rf"dot {server.host}@{server.port} \({NAME}\): .*(?:{reason})")
        time.sleep(0.02)
    assert server.queries == []
    for connection in server.connections:
        assert_only_tls(connection.raw, application_data=False)


def answers_in_tls_1_1(connection):
    """A ServerHello of the version before, as a server says it that ignores what was offered."""
    connection.receive_raw()
    hello = b"\x03\x02" + bytes(32) + b"\0" + b"\xc0\x2b" + b"\0"
    handshake = b"\x02" + len(hello).to_bytes(3, "big") + hello
    connection.sock.sendall(b"\x16\x03\x02" + len(handshake).to_bytes(2, "big") + handshake)


def test_a_server_that_answers_in_tls_1_1_is_told_from_others(unkind, dnproxy):
    """RFC 8996."""
    server = unkind(answers_in_tls_1_1, raw=True)
    program = dnproxy(server)
    with program.tcp() as client:
        client.send(ASK)
        program.wait_log(r"does not speak TLS 1\.2")
        time.sleep(0.02)
    for connection in server.connections:
        assert_only_tls(connection.raw, application_data=False)


# -- trust anchors -----------------------------------------------------------------------------------


SPELLINGS = {
    "as it is": lambda pem: pem,
    "CRLF": lambda pem: pem.replace(b"\n", b"\r\n"),
    "BOM": lambda pem: b"\xef\xbb\xbf" + pem,
    "no final newline": lambda pem: pem.rstrip(b"\n"),
    "CRLF, BOM and no final newline": lambda pem: b"\xef\xbb\xbf" + pem.replace(b"\n", b"\r\n").rstrip(b"\r\n"),
    "text around": lambda pem: b"# Test Root\nsubject=CN = Test Root\n\n" + pem + b"\nthe end\n",
}


@pytest.mark.parametrize("spell", SPELLINGS.values(), ids=SPELLINGS.keys())
def test_an_anchor_file_may_be_spelled_in_many_ways(unkind, dnproxy, ca, tmp_path, spell):
    path = tmp_path / "anchors.pem"
    path.write_bytes(spell(Path(ca.pem).read_bytes()))
    assert dnproxy(unkind(), tls__trust_anchors=str(path)).udp(query()).rcode == 0


@pytest.mark.parametrize("spell", SPELLINGS.values(), ids=SPELLINGS.keys())
def test_the_last_of_many_anchors_counts(unkind, dnproxy, ca, tmp_path, spell):
    others = [certs.Authority(tmp_path, f"Other Root {n}").pem for n in range(20)]
    path = tmp_path / "anchors.pem"
    path.write_bytes(spell(b"".join(Path(p).read_bytes() for p in [*others, ca.pem])))
    assert dnproxy(unkind(), tls__trust_anchors=str(path)).udp(query()).rcode == 0


def test_the_anchors_of_the_system_load(unkind, dnproxy, tmp_path, ca):
    """Some 150 of them, and ours."""
    path = tmp_path / "anchors.pem"
    system = Path("/etc/ssl/certs/ca-certificates.crt")
    assert system.exists(), "ca-certificates is missing: run `make deps`"
    path.write_bytes(system.read_bytes() + Path(ca.pem).read_bytes())
    assert dnproxy(unkind(), tls__trust_anchors=str(path)).udp(query()).rcode == 0


NO_ANCHORS = {
    "empty": b"",
    "no certificate": b"This file intentionally left blank.\n",
    "only a key": b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
    "not base64": b"-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n",
    "not a certificate": b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    "cut off": b"-----BEGIN CERTIFICATE-----\nMIIB\n",
}


@pytest.mark.parametrize("octets", [*NO_ANCHORS.values(), None], ids=[*NO_ANCHORS.keys(), "not there"])
def test_without_an_anchor_nothing_starts(run, settings, tmp_path, octets):
    """Rather than a program that trusts nobody, or everybody: exit status 2."""
    path = tmp_path / "anchors.pem"
    if octets is not None:
        path.write_bytes(octets)
    tree = settings({"ip": "192.0.2.1", "hostname": NAME}, tls__trust_anchors=str(path))
    (tmp_path / "dnproxy.yml").write_text(yaml.safe_dump(tree))
    done = run("-c", "dnproxy.yml")
    assert done.returncode == 2
    assert str(path) in done.stderr and "listening" not in done.stderr


def test_anchors_that_are_set_replace_the_built_in_ones(unkind, dnproxy, settings):
    """And without the setting our test root is a stranger."""
    server = unkind()
    tree = settings(server)
    del tree["tls"]
    program = dnproxy(text=yaml.safe_dump(tree))
    with program.tcp() as client:
        client.send(ASK)
        program.wait_log(UNTRUSTED)
    assert server.queries == []
