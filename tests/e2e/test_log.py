# SPDX-License-Identifier: MIT
"""What is written to standard error: enough to find a fault, and nothing that could do harm."""

import re
import time

import pytest

from client import Udp
from wire import opt_record, query

LINE = re.compile(r"^dnproxy: (error|warn|info|debug|query): [ -~]+$")


def own_lines(program):
    """Without what a tool around the program (valgrind) writes."""
    return [line for line in program.lines if not line.startswith("==")]


def test_the_start_lines_name_all_addresses(unkind, dnproxy):
    first, second = unkind(), unkind(host="::1")
    program = dnproxy(first, second, host=["127.0.0.1", "::1"])
    line = program.wait_log("listening on")[0].string
    assert re.search(r"^dnproxy: info: dnproxy \d+\.\d+\.\d+: listening on ", line)
    assert f"127.0.0.1@{program.port} [::1]@{program.port}" in line and "(udp, tcp)" in line
    program.wait_log(rf"127\.0\.0\.1@{first.port}#dns\.test.*\[::1\]@{second.port}#dns\.test")


def test_a_connection_is_reported_once(polite):
    program, server = polite
    program.udp(query())
    line = program.wait_log(rf"dot 127\.0\.0\.1@{server.port} \(dns\.test\): connected")[0].string
    assert "TLS 1.2" in line


def test_an_upstream_that_recovers_is_reported(unkind, dnproxy):
    server = unkind()
    server.stop()
    program = dnproxy(server)
    with Udp(program.address) as client:
        client.send(query())
        program.wait_log(rf"dot 127\.0\.0\.1@{server.port} \(dns\.test\): .*resting \d+ ms")
        unkind(port=server.port)
        client.receive()
    program.wait_log(rf"dot 127\.0\.0\.1@{server.port} \(dns\.test\): connected")


@pytest.mark.parametrize("over", ["udp", "tcp"])
def test_a_query_is_one_line_when_asked_for(unkind, dnproxy, over):
    """Transport, client, ID, name, type, outcome, answers, upstream, milliseconds."""
    server = unkind()
    program = dnproxy(server, log__queries=True)
    program.ask(query("www.example.com.", "AAAA", id=1234), over)
    line = program.wait_log(r"^dnproxy: query: ")[0].string
    who = rf"{over} 127\.0\.0\.1@\d+ .*1234 .*www\.example\.com\.? AAAA"
    parts = who + rf": NOERROR, 1 answers?, .*127\.0\.0\.1@{server.port}.*, \d+ ms"
    assert re.search(parts, line), line
    assert len([line for line in program.lines if ": query: " in line]) == 1


def test_a_failed_query_has_its_line_too(unkind, dnproxy):
    server = unkind()
    server.refuse()
    program = dnproxy(server, log__queries=True)
    program.udp(query("lost.example."))
    assert "SERVFAIL" in program.wait_log(r"query: udp .* lost\.example\.")[0].string


def test_a_refused_query_has_its_line_too(unkind, dnproxy):
    program = dnproxy(unkind(), log__queries=True, dnproxy__allow=["10.0.0.0/8"])
    program.udp(query("refused.example."))
    assert "REFUSED" in program.wait_log(r"query: udp .* refused\.example\.")[0].string


def test_queries_are_not_logged_unless_asked_for(polite):
    program, _ = polite
    program.udp(query("private.example."))
    time.sleep(0.05)
    assert "private" not in program.log


EVIL = [
    b"\x11\x1b[2J\x1b[31mevil\x07\n\r\x00\x01x\0",
    b"\x3f" + bytes(range(63)) + b"\x3f" + bytes(range(63, 126)) + b"\x3f" + bytes(range(126, 189)) + b"\0",
    b"\x3f" + bytes(range(189, 252)) + b"\x0b\nforged: yes"[:12] + b"\0",
    b"\x05%s%n%" + b"\x04\\\"'`\0",
]


@pytest.mark.parametrize("name", EVIL)
def test_no_control_octet_of_a_name_reaches_the_log(unkind, dnproxy, name):
    """Neither a terminal's cursor nor a second line."""
    program = dnproxy(unkind(), log__queries=True, log__level="debug")
    assert program.udp(query(name, opt=opt_record())).rcode == 0
    program.wait_log(r"^dnproxy: query: ")
    for line in own_lines(program):
        assert LINE.match(line), repr(line)


def test_the_longest_name_in_its_longest_spelling_stays_one_line(unkind, dnproxy):
    name = (b"\x3f" + b"\xff" * 63) * 3 + b"\x3d" + b"\xfe" * 61 + b"\0"
    program = dnproxy(unkind(), log__queries=True)
    program.udp(query(name, id=4321))
    line = program.wait_log(r"^dnproxy: query: ")[0].string
    assert LINE.match(line) and "4321" in line


def test_levels_hold_back_what_is_below(unkind, dnproxy):
    server = unkind()
    server.refuse()
    program = dnproxy(server, log__level="error", wait=False)
    with pytest.raises(AssertionError):
        program.wait_log(".", timeout=0.3)
    with Udp(program.address) as client:
        client.send(query())
    time.sleep(0.1)
    assert own_lines(program) == []


def test_trouble_that_goes_on_is_summarised(unkind, dnproxy):
    """An upstream that stays away and a client that insists do not fill a disk."""
    server = unkind()
    server.refuse()
    program = dnproxy(server)
    until = time.monotonic() + 2.5
    with Udp(program.address) as client:
        while time.monotonic() < until:
            client.send(query())
            time.sleep(0.01)
    assert len(own_lines(program)) < 8
