# SPDX-License-Identifier: MIT
"""Bound to a wildcard or to many addresses, replies come from the address that was asked."""

import socket

import pytest

from client import Tcp, family_of
from wire import Message, query


def ask_and_see_sender(host, port, source=None):
    """An unconnected socket takes replies from anybody, so that a wrong sender shows."""
    with socket.socket(family_of(host), socket.SOCK_DGRAM) as sock:
        sock.settimeout(6)
        if source:
            sock.bind((source, 0))
        sock.sendto(query(id=99), (host, port))
        octets, sender = sock.recvfrom(65535)
    assert Message(octets).id == 99
    return sender[:2]


@pytest.mark.cross
@pytest.mark.valgrind
@pytest.mark.parametrize("asked", ["127.0.0.1", "127.0.0.5", "127.99.98.97"])
def test_a_reply_of_the_ipv4_wildcard_comes_from_the_address_asked(unkind, dnproxy, asked):
    """RFC 2181 section 4.1."""
    program = dnproxy(unkind(), host="0.0.0.0")
    assert ask_and_see_sender(asked, program.port, "127.0.0.1") == (asked, program.port)
    with Tcp((asked, program.port)) as client:
        assert client.ask(query()).rcode == 0


def test_a_reply_of_the_ipv6_wildcard_comes_from_the_address_asked(unkind, dnproxy):
    """RFC 2181 section 4.1."""
    program = dnproxy(unkind(), host="::")
    assert ask_and_see_sender("::1", program.port) == ("::1", program.port)
    with Tcp(("::1", program.port)) as client:
        assert client.ask(query()).rcode == 0


def test_both_wildcards_share_a_port(unkind, dnproxy):
    """IPv6 sockets take IPv6 only, so that each family has one owner."""
    program = dnproxy(unkind(), host=["0.0.0.0", "::"])
    for asked in ("127.0.0.5", "127.0.0.1", "::1"):
        assert ask_and_see_sender(asked, program.port) == (asked, program.port)
        with Tcp((asked, program.port)) as client:
            assert client.ask(query()).rcode == 0


def test_the_ipv6_wildcard_leaves_ipv4_alone(unkind, dnproxy):
    program = dnproxy(unkind(), host="::")
    with pytest.raises(ConnectionRefusedError):
        Tcp(("127.0.0.1", program.port))


def test_many_addresses_are_served(unkind, dnproxy):
    program = dnproxy(unkind(), host=["127.0.0.1", "127.0.0.2", "::1"])
    for asked in ("127.0.0.1", "127.0.0.2", "::1"):
        assert ask_and_see_sender(asked, program.port) == (asked, program.port)
        with Tcp((asked, program.port)) as client:
            assert client.ask(query()).rcode == 0
    with pytest.raises(ConnectionRefusedError):
        Tcp(("127.0.0.3", program.port))


def test_a_truncated_reply_and_an_error_come_from_the_address_asked(unkind, dnproxy):
    """What we make ourselves takes the same way."""
    program = dnproxy(unkind(), host="0.0.0.0")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(6)
        for octets in (query()[:20], query(kind="AXFR")):
            sock.sendto(octets, ("127.0.0.7", program.port))
            assert sock.recvfrom(65535)[1] == ("127.0.0.7", program.port)
