# SPDX-License-Identifier: MIT
"""Whom the program talks to: nobody whose certificate is not beyond doubt (RFC 8310 section 8.1).

Whose handshake is not beyond doubt: see test_handshakes.py."""

import time
from pathlib import Path

import certs
import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

import raw_tls
from patience import SLOW
from test_upstream import ASK, assert_servfail
from trials import Trials
from wire import query

NAME = "dns.test"
OUT_OF_ORDER = "server does not keep to the order of a TLS handshake"
UNTRUSTED = "certificate is not signed by a trust anchor"
EXPIRED, TOO_EARLY = "certificate has expired", "certificate is not yet valid"
NAMELESS = f"certificate does not name {NAME}"
SMALL, WEAK = "certificate key is too small", "signed or keyed with what is too weak"
BROKEN, UNREADABLE = "certificate has a broken signature", "certificate cannot be read"
DISORDER, NO_CA = "certificate chain is not in order", "holds an issuer that is no CA"
MISUSED = "key usage|TLS error 28"


def intermediate(ca, **options):
    return certs.Authority(ca.directory, "Test Intermediate", issuer=ca, **options)


def other_root(ca):
    """Another root of the same name: only the key tells them apart."""
    return certs.Authority(ca.directory, "Test Root")


def path_too_long(ca):
    """Of another name, for what is issued in its own name does not count (RFC 5280 section 6.1.4)."""
    return certs.Authority(ca.directory, "Test Lower", issuer=intermediate(ca, path_length=0))


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
    "root of the same name": (lambda ca: other_root(ca).leaf(NAME), UNTRUSTED),
    "missing intermediate": (lambda ca: intermediate(ca).leaf(NAME, with_chain=False), UNTRUSTED),
    "for clients only": (lambda ca: ca.leaf(NAME, usage=[certs.CLIENT_AUTH]), "certificate is not for servers"),
    "SHA-1": (lambda ca: ca.leaf(NAME, hash=hashes.SHA1()), WEAK),
    "SHA-1 in the chain": (lambda ca: intermediate(ca, hash=hashes.SHA1()).leaf(NAME), WEAK),
    "RSA of 1,024 bits": (lambda ca: ca.leaf(NAME, key="rsa1024"), SMALL),
    "RSA of 1,024 bits in the chain": (lambda ca: intermediate(ca, key="rsa1024").leaf(NAME), SMALL),
    "expired in the chain": (lambda ca: intermediate(ca, days=(-30, -1)).leaf(NAME), EXPIRED),
    "issuer is no authority": (lambda ca: intermediate(ca, is_ca=False).leaf(NAME), NO_CA),
    "path too long": (lambda ca: path_too_long(ca).leaf(NAME), NO_CA),
    "authority for mail alone": (lambda ca: intermediate(ca, usage=[certs.EMAIL]).leaf(NAME),
                                 "certificate is not for servers"),
    "authority for other names": (lambda ca: intermediate(ca, names="corp.example").leaf(NAME),
                                  "name constraints"),
    "unknown critical extension": (lambda ca: ca.leaf(NAME, unknown_critical=True), "unknown critical extension"),
    "unknown critical extension in the chain": (
        lambda ca: intermediate(ca, more=[(certs.UNKNOWN, True)]).leaf(NAME), "unknown critical extension"),
    "critical name constraints": (
        lambda ca: intermediate(ca, more=[(only_names_below("corp.example"), True)]).leaf(NAME), "name constraints"),
    "key usage: signs certificates": (lambda ca: used_for(ca, "key_cert_sign", "crl_sign"), MISUSED),
    "key usage: agrees on keys": (lambda ca: used_for(ca, "key_agreement"), MISUSED),
    "key usage: wraps keys": (lambda ca: used_for(ca, "key_encipherment", key="rsa2048"), MISUSED),
    "key usage: signs no certificates": (
        lambda ca: intermediate(ca, more=[(certs.key_usage("digital_signature"), True)]).leaf(NAME),
        "key usage does not allow this"),
    "issuer without basicConstraints": (lambda ca: intermediate(ca, is_ca=None).leaf(NAME), NO_CA),
    "leaf as authority": (lambda ca: leaf_as_authority(ca), NO_CA),
    "MD5": (lambda ca: signed_with_md5(ca), WEAK),
    "MD5 in the chain": (lambda ca: signed_with_md5_in_the_chain(ca), WEAK),
    "broken signature": (lambda ca: damaged(intermediate(ca), lambda der: flipped(der, -1)), BROKEN),
    "broken signature of RSA": (
        lambda ca: damaged(intermediate(ca, key="rsa2048"), lambda der: flipped(der, -1)), BROKEN),
    "broken signature of the root": (lambda ca: damaged(ca, lambda der: flipped(der, -1)), UNTRUSTED),
    "broken signature in the chain": (
        lambda ca: sending(deep(ca, 2), lambda chain: [chain[0], flipped(chain[1], -1), chain[2]]), BROKEN),
    "signature of zeros": (
        lambda ca: forged(intermediate(ca), signature=bytes.fromhex("3006020100020100")), BROKEN),
    "signature of nothing": (lambda ca: forged(intermediate(ca), signature=b""), BROKEN),
    "name changed afterwards": (
        lambda ca: damaged(intermediate(ca), lambda der: der.replace(b"dns.tesX", b"dns.test"), "dns.tesX"), BROKEN),
    "NUL behind the name": (
        lambda ca: forged(ca, "dns.test0.evil.example", b"dns.test0", b"dns.test\0"), NAMELESS),
    "NUL in front of the name": (
        lambda ca: forged(ca, "evil.example0dns.test", b"example0", b"example\0"), NAMELESS),
    "NUL as the last octet": (lambda ca: forged(ca, "dns.test0", b"dns.test0", b"dns.test\0"), NAMELESS),
    "NUL in the wildcard": (lambda ca: forged(ca, "*0.test", b"*0.test", b"*\0.test"), NAMELESS),
    "name as mail address": (lambda ca: named(ca, x509.RFC822Name(NAME)), NAMELESS),
    "name as URI": (lambda ca: named(ca, x509.UniformResourceIdentifier("dns://dns.test/")), NAMELESS),
    "empty chain": (lambda ca: raw_tls.server([], certs.make_key()),
                    f"server sent no certificate|{OUT_OF_ORDER}"),
    "empty certificate": (lambda ca: sending(ca.leaf(NAME), lambda chain: [b""]), UNREADABLE),
    "empty certificate at the end": (lambda ca: sending(intermediate(ca).leaf(NAME), lambda chain: [chain[0], b""]),
                                     UNREADABLE),
    "chain out of order": (lambda ca: sending(deep(ca, 2), lambda chain: [chain[0], chain[2], chain[1]]), DISORDER),
    "leaf sent twice": (lambda ca: sending(deep(ca, 1), lambda chain: [chain[0], *chain]), DISORDER),
    "stranger in the chain": (
        lambda ca: sending(deep(ca, 1), lambda chain: [chain[0], other_root(ca).leaf(NAME).chain[0], chain[1]]),
        DISORDER),
    "leaf last": (lambda ca: sending(deep(ca, 1), lambda chain: chain[::-1]), "no subjectAltName"),
    "eleven certificates": (lambda ca: deep(ca, 10), "chain is longer than 10"),
    "a thousand certificates": (lambda ca: sending(ca.leaf("other.test"), lambda chain: chain * 1000),
                                "chain is longer than 10"),
    "certificate of 20,000 octets": (
        lambda ca: ca.leaf(NAME, *[f"a-rather-long-name-{n}.test" for n in range(800)]),
        "certificate is larger than 16384 octets"),
    "first octet missing": (lambda ca: damaged(ca, lambda der: der[1:]), UNREADABLE),
    "last octet missing": (lambda ca: damaged(ca, lambda der: der[:-1]), UNREADABLE),
    "half of it missing": (lambda ca: damaged(ca, lambda der: der[: len(der) // 2]), UNREADABLE),
    "one octet too many": (lambda ca: damaged(ca, lambda der: der + b"\0"), UNREADABLE),
    "indefinite length": (lambda ca: damaged(ca, lambda der: b"\x30\x80" + certs.content(der) + b"\0\0"), UNREADABLE),
    "cut in the chain": (lambda ca: sending(deep(ca, 1), lambda chain: [chain[0], chain[1][:-1]]), UNREADABLE),
    "two subjectAltName": (lambda ca: twice(ca, "55 1d 11", certs.der(0x30, certs.der(0x82, NAME.encode()))), UNREADABLE),
    "Ed25519": (lambda ca: borrowed(ca, "ed25519"), WEAK),
    "key usage: signs documents": (lambda ca: used_for(ca, "content_commitment"), "key usage does not allow"),
    "two extendedKeyUsage": (
        lambda ca: twice(ca, "55 1d 25", certs.der(0x30, bytes.fromhex("06 08 2b 06 01 05 05 07 03 01"))),
        UNREADABLE),
}


def twice(ca, oid, value):
    """A certificate with the wrong name, for clients only, and a second extension that says otherwise."""
    wrong = dict(names=["other.test"]) if oid == "55 1d 11" else dict(names=[NAME], usage=[certs.CLIENT_AUTH])
    second = x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.99"), value)
    leaf = ca.leaf(*wrong.pop("names"), more=[(second, False)], **wrong)
    der = certs.forge(leaf.certificate, ca.key, lambda tbs: tbs.replace(b"\x55\x1d\x63", bytes.fromhex(oid)))
    return raw_tls.server([der], leaf.private_key)


def only_names_below(name):
    return x509.NameConstraints([x509.DNSName(name)], None)


def used_for(ca, *usage, key="p256"):
    leaf = ca.leaf(NAME, key=key, more=[(certs.key_usage(*usage), True)])
    return raw_tls.of_leaf(leaf)


def leaf_as_authority(ca):
    """A server's certificate, good for its own name, vouches for another."""
    leaf = ca.leaf("dns.example")
    child = ca.leaf(NAME)

    def issued_by_leaf(tbs):
        version, serial, algorithm, _, *rest = certs.elements(tbs)
        return b"".join([version, serial, algorithm, leaf.certificate.subject.public_bytes(), *rest])

    der = certs.forge(child.certificate, leaf.private_key, issued_by_leaf)
    return raw_tls.server([der, *leaf.chain], child.private_key)


def signed_with_md5(ca):
    authority = intermediate(ca, key="rsa2048")
    leaf = authority.leaf(NAME)
    der = certs.forge(leaf.certificate, authority.key, hash=hashes.MD5())
    return raw_tls.server([der, *leaf.chain[1:]], leaf.private_key)


def signed_with_md5_in_the_chain(ca):
    upper = intermediate(ca, key="rsa2048")
    lower = intermediate(upper)
    leaf = lower.leaf(NAME)
    der = certs.forge(lower.certificate, upper.key, hash=hashes.MD5())
    return raw_tls.server([leaf.chain[0], der, leaf.chain[2]], leaf.private_key)


def forged(ca, name=NAME, old=b"", new=b"", signature=None):
    """Well signed, unless signature says otherwise, with a name that no authority would write."""
    leaf = ca.leaf(name)
    der = certs.forge(leaf.certificate, ca.key, lambda tbs: tbs.replace(old, new) if old else tbs,
                      signature=signature)
    assert new in der
    return raw_tls.server([der, *leaf.chain[1:]], leaf.private_key)


def sending(leaf, change):
    """A good chain, and what becomes of it."""
    return raw_tls.server(change(leaf.chain), leaf.private_key)


def damaged(ca, change, name=NAME):
    return sending(ca.leaf(name), lambda chain: [change(chain[0]), *chain[1:]])


def flipped(octets, at):
    out = bytearray(octets)
    out[at] ^= 1
    return bytes(out)


def named(ca, general_name):
    leaf = ca.leaf(more=[(x509.SubjectAlternativeName([general_name]), False)])
    return raw_tls.of_leaf(leaf)


def deep(ca, intermediates):
    """A good leaf below so many intermediates."""
    for number in range(intermediates):
        ca = certs.Authority(ca.directory, f"Test Intermediate {number}", issuer=ca)
    return ca.leaf(NAME)


def borrowed(ca, kind):
    """A key that the handshake cannot be signed with here; another one signs in its place."""
    return raw_tls.server(ca.leaf(NAME, key=kind).chain, certs.make_key())


def presenting(make):
    """Starts a server with what make(ca) returns: a Leaf, for OpenSSL; or how to connect in raw TLS."""

    def start(stage):
        made = make(stage.ca)
        return stage.unkind(certificate=made) if isinstance(made, certs.Leaf) else stage.unkind(connect=made)

    return start


@pytest.fixture(scope="module")
def trials(new_stage, tmp_path_factory):
    rows = {kind: (presenting(make), reason) for kind, (make, reason) in BAD.items()}
    return Trials(rows, new_stage, tmp_path_factory)


@pytest.mark.filterwarnings("ignore:SHA1 signatures are deprecated")
@pytest.mark.parametrize("kind", BAD)
def test_a_bad_certificate_gets_no_octet_of_dns(trials, kind):
    """RFC 8310 sections 5 and 8.1, RFC 5280, RFC 6125 section 6.4.3, RFC 9325 section 4.4."""
    trials[kind].assert_refused()


@pytest.mark.valgrind
@pytest.mark.parametrize("kind", ["wrong name", "NUL behind the name", "broken signature"])
def test_a_bad_certificate_makes_the_next_upstream_answer(stage, kind):
    first, second = presenting(BAD[kind][0])(stage), stage.unkind()
    program = stage.dnproxy(first, second)
    assert program.udp(ASK).rcode == 0
    assert first.queries == [] and len(second.queries) == 1


@pytest.mark.cross
def test_a_bad_certificate_is_still_bad_the_second_time(unkind, dnproxy, ca):
    """No session that was never verified is resumed, and no patience wears out; then SERVFAIL."""
    server = unkind(certificate=ca.leaf(NAME, days=(-30, -1)))
    program = dnproxy(server)
    began = time.monotonic()
    assert_servfail(program.udp(ASK))
    assert time.monotonic() - began < 4.0 * SLOW
    assert len(server.connections) >= 2 and server.queries == []


def ca_der(ca):
    return ca.certificate.public_bytes(serialization.Encoding.DER)


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
    "two intermediates and the root": lambda ca: sending(deep(ca, 2), lambda chain: [*chain, ca_der(ca)]),
    "junk behind the root": lambda ca: sending(deep(ca, 1), lambda chain: [*chain, ca_der(ca), b"junk"]),
    "ten certificates": lambda ca: deep(ca, 9),
    "certificate of 14,000 octets": lambda ca: ca.leaf(NAME, *[f"a-rather-long-name-{n}.test" for n in range(550)]),
    "signs again what was signed": lambda ca: forged(ca),
    "key usage: signs": lambda ca: used_for(ca, "digital_signature"),
    "RSA, raw": lambda ca: raw_tls.of_leaf(ca.leaf(NAME, key="rsa2048")),
    "for servers and clients": lambda ca: ca.leaf(NAME, usage=[certs.CLIENT_AUTH, certs.SERVER_AUTH]),
}


@pytest.mark.cross
@pytest.mark.parametrize("make", GOOD.values(), ids=GOOD.keys())
def test_a_good_certificate_is_accepted(stage, make):
    """Also those made and served by the means of the bad ones: the others fail for their own reason."""
    assert stage.dnproxy(presenting(make)(stage)).udp(query()).rcode == 0


@pytest.mark.parametrize("hostname", ["DNS.test", "dns.test."])
def test_the_hostname_may_be_spelled_differently(unkind, dnproxy, hostname):
    server = unkind()
    entry = {"ip": server.host, "port": server.port, "hostname": hostname}
    assert dnproxy(entry).udp(query()).rcode == 0


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
