# SPDX-License-Identifier: MIT
"""Upstreams that are known by a key (RFC 7858 section 4.2, RFC 8310 section 6.4) or by their address."""

import subprocess
from ipaddress import ip_address

import certs
import pytest

from test_certificates import EXPIRED, NAME, TOO_EARLY, UNTRUSTED, intermediate
from test_upstream import ASK, assert_only_tls
from wire import query

UNPINNED = "no key of the certificate chain is pinned"
OTHER_PIN = "sha256/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
BY_PINS = dict(tls__trust_anchors="")  # no anchors were chosen: pins decide


def entry(server, **keys):
    """An upstream in the settings, without a hostname unless one is given."""
    return {"ip": server.host, "port": server.port, **keys}


def serves(program):
    assert program.udp(query()).rcode == 0
    return True


def refuses(program, server, reason):
    with program.tcp() as client:
        client.send(ASK)
        program.wait_log(rf"dot {server.host}@{server.port} .*(?:{reason})")
    assert server.queries == []
    for connection in server.connections:
        assert_only_tls(connection.raw, application_data=False)


# -- the server's own key ------------------------------------------------------------------------------

OWN_KEY = {
    "self-signed": lambda ca: certs.self_signed(ca.directory, "whatever.test"),
    "expired": lambda ca: ca.leaf(NAME, days=(-30, -1)),
    "not yet valid": lambda ca: ca.leaf(NAME, days=(10, 40)),
    "of an unknown root": lambda ca: certs.Authority(ca.directory, "Other Root").leaf("other.test"),
    "without a name": lambda ca: ca.leaf(cn="nobody"),
    "RSA": lambda ca: ca.leaf(NAME, key="rsa2048"),
}


@pytest.mark.cross
@pytest.mark.parametrize("make", OWN_KEY.values(), ids=OWN_KEY.keys())
def test_a_pin_of_the_servers_key_needs_nothing_else(unkind, dnproxy, ca, make):
    leaf = make(ca)
    server = unkind(certificate=leaf)
    assert serves(dnproxy(entry(server, pins=[OTHER_PIN, leaf.pin]), **BY_PINS))
    assert server.connections[0].server_name is None


@pytest.mark.cross
@pytest.mark.parametrize("make", OWN_KEY.values(), ids=OWN_KEY.keys())
def test_another_key_is_refused(unkind, dnproxy, ca, make):
    server = unkind(certificate=make(ca))
    refuses(dnproxy(entry(server, pins=[OTHER_PIN]), **BY_PINS), server, f"{UNPINNED}|{EXPIRED}|{TOO_EARLY}")


@pytest.mark.cross
def test_a_hostname_beside_a_pin_binds_too(unkind, dnproxy, ca, leaf):
    """RFC 8310 section 6.4: both must match."""
    server = unkind()
    assert serves(dnproxy(entry(server, hostname=NAME, pins=[leaf.pin]), **BY_PINS))
    other = unkind()
    refuses(dnproxy(entry(other, hostname="other.test", pins=[leaf.pin]), **BY_PINS), other, "does not name")


def test_a_pin_is_what_openssl_says_it_is(unkind, dnproxy, leaf):
    """The recipe of the README."""
    recipe = ('openssl x509 -in "$1" -pubkey -noout | openssl pkey -pubin -outform der | '
              "openssl dgst -sha256 -binary | base64")
    said = subprocess.run(["sh", "-c", recipe, "sh", leaf.cert], capture_output=True, text=True, check=True)
    assert serves(dnproxy(entry(unkind(), pins=["sha256/" + said.stdout.strip()]), **BY_PINS))


# -- the key of an issuer --------------------------------------------------------------------------------


def test_a_pin_of_an_issuer_keeps_the_name(unkind, dnproxy, ca):
    between = intermediate(ca)
    server = unkind(certificate=between.leaf(NAME))
    assert serves(dnproxy(entry(server, hostname=NAME, pins=[between.pin]), **BY_PINS))
    other = unkind(certificate=between.leaf("other.test"))
    refuses(dnproxy(entry(other, hostname=NAME, pins=[between.pin]), **BY_PINS), other, "does not name")
    nameless = unkind(certificate=between.leaf("other.test"))
    refuses(dnproxy(entry(nameless, pins=[between.pin]), **BY_PINS), nameless, "pin|name")


def test_a_pin_of_a_root_that_is_sent_counts(unkind, dnproxy, ca):
    server = unkind(certificate=ca.leaf(NAME, chain=[ca.certificate]))
    assert serves(dnproxy(entry(server, hostname=NAME, pins=[ca.pin]), **BY_PINS))


def test_a_pin_of_an_issuer_keeps_the_dates(unkind, dnproxy, ca):
    between = intermediate(ca)
    server = unkind(certificate=between.leaf(NAME, days=(-30, -1)))
    refuses(dnproxy(entry(server, hostname=NAME, pins=[between.pin]), **BY_PINS), server, EXPIRED)


def test_a_pinned_certificate_that_has_signed_nothing_does_not_count(unkind, dnproxy, ca):
    """A stranger's certificate, and behind it the pinned one, which is public."""
    between = intermediate(ca)
    stranger = certs.Authority(ca.directory, "Stranger")
    for chain in ([between.certificate], [stranger.certificate, between.certificate]):
        server = unkind(certificate=stranger.leaf(NAME, chain=chain))
        refuses(dnproxy(entry(server, hostname=NAME, pins=[between.pin]), **BY_PINS), server, ".")


# -- pins beside anchors -----------------------------------------------------------------------------------


def test_with_anchors_both_must_hold(unkind, dnproxy, ca, leaf):
    between = intermediate(ca)
    server = unkind(certificate=between.leaf(NAME))
    for pin in (between.pin, ca.pin):  # the root is not sent: the anchor's own key counts
        assert serves(dnproxy(entry(server, hostname=NAME, pins=[pin])))
    assert serves(dnproxy(entry(unkind(), hostname=NAME, pins=[leaf.pin])))
    other = unkind(certificate=between.leaf(NAME))
    refuses(dnproxy(entry(other, hostname=NAME, pins=[OTHER_PIN])), other, UNPINNED)
    alone = certs.self_signed(ca.directory, NAME)
    unanchored = unkind(certificate=alone)
    refuses(dnproxy(entry(unanchored, hostname=NAME, pins=[alone.pin])), unanchored, UNTRUSTED)


def test_a_pinned_certificate_behind_the_anchor_does_not_count(unkind, dnproxy, ca):
    """The anchor has signed the server's certificate; what the server adds behind it nobody has verified."""
    pinned = certs.Authority(ca.directory, "Pinned")
    for chain in ([pinned.certificate], [ca.certificate, pinned.certificate],
                  [pinned.cross_signed(ca)], [ca.cross_signed(pinned), pinned.certificate]):
        server = unkind(certificate=ca.leaf(NAME, chain=chain))
        refuses(dnproxy(entry(server, hostname=NAME, pins=[pinned.pin])), server, UNPINNED)


# -- known by address ----------------------------------------------------------------------------------------


@pytest.mark.cross
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_certificate_may_name_the_address(unkind, dnproxy, ca, host):
    """RFC 8310 section 8.1, RFC 5280 section 4.2.1.6; an address is no name for SNI (RFC 6066 section 3)."""
    names = ["other.test", ip_address("192.0.2.7"), ip_address(host)]
    server = unkind(certificate=ca.leaf(*names), host=host)
    assert serves(dnproxy(entry(server)))
    assert server.connections[0].server_name is None


WITHOUT_ADDRESS = {
    "names only": [NAME],
    "another address": [ip_address("127.0.0.2")],
    "the other family": [ip_address("::ffff:127.0.0.1")],
    "the address as a name": ["127.0.0.1"],
}


@pytest.mark.parametrize("names", WITHOUT_ADDRESS.values(), ids=WITHOUT_ADDRESS.keys())
def test_without_hostname_and_address_nobody_is_believed(unkind, dnproxy, ca, names):
    server = unkind(certificate=ca.leaf(*names))
    refuses(dnproxy(entry(server)), server, r"does not name 127\.0\.0\.1|address")


def test_an_address_does_not_stand_in_for_a_hostname(unkind, dnproxy, ca):
    server = unkind(certificate=ca.leaf("other.test", ip_address("127.0.0.1")))
    refuses(dnproxy(entry(server, hostname=NAME)), server, "does not name")
