#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What a handshake costs a router: instructions counted in the program for big-endian MIPS, under an emulator.

    handshake.py PROGRAM PLUGIN

A real server shakes hands with it three times: in full, with a certificate that is known, and going on with a
session; each time it has one query answered.  The plugin counts what is executed between the system calls.  A
step is what lies between two calls of select(), when clients are served.

Milliseconds are an estimate for a 24Kc or 1004Kc at 580 MHz (MT7628, MT7621): one instruction a cycle at best,
here 1.3 cycles for what the caches and loads cost, and 4 more until the result of a multiplication is there.
"""

import argparse
import os
import ssl
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
MHZ, CYCLES, PRODUCT_CYCLES = 580, 1.3, 4
CONNECT = {4170}
SELECT = {4142, 4301, 4413}
NAME = "dns.test"
KINDS = ["full handshake", "known certificate", "resumed"]
CHAINS = {"ECDSA P-256": "p256", "ECDSA P-384 root": "p384", "RSA 2048": "rsa2048"}


def milliseconds(instructions, products):
    return (instructions * CYCLES + products * PRODUCT_CYCLES) / (MHZ * 1000)


def differences(marks):
    return [(b[0] - a[0], b[1] - a[1]) for a, b in zip(marks, marks[1:])]


def connections(log):
    """For each connection the steps in its time, each as (instructions, products)."""
    calls = [tuple(map(int, line.split())) for line in log.read_text().splitlines()]
    begins = [i for i, call in enumerate(calls) if call[0] in CONNECT]
    for begin, end in zip(begins, [*begins[1:], len(calls)]):
        part = calls[begin:end]
        yield differences([call[1:] for call in part if call[0] in SELECT or call is part[0]])


def one_each(connection):
    """Answers one query, then goes: the next one takes another handshake."""
    connection.answer(connection.query())
    connection.close_notify()


def leaf_of(directory, kind):
    import certs

    root = certs.Authority(directory, "Root", key=kind)
    kind = "p256" if kind == "p384" else kind
    return root, certs.Authority(directory, "Intermediate", issuer=root, key=kind).leaf(NAME, key=kind)


def measure(directory, kind, log):
    """Three handshakes; their steps.  On a busy machine one may take longer than the program waits: then anew."""
    for _ in range(5):
        steps = try_to_measure(directory, kind, log)
        if len(steps) == len(KINDS):
            return steps
    raise SystemExit("no three handshakes in a row within the program's patience: is this machine so busy?")


def try_to_measure(directory, kind, log):
    import program
    import unkind_dot
    from wire import query

    def context():
        return unkind_dot.server_context(leaf, maximum=ssl.TLSVersion.TLSv1_2)

    root, leaf = leaf_of(directory, kind)
    server = unkind_dot.UnkindDot(context(), one_each)
    settings = {
        "dnproxy": {"host": "127.0.0.1", "port": program.free_port(["127.0.0.1"]), "workers": 1},
        "upstream": [program.upstream(server)],
        "tls": {"trust_anchors": root.pem},
        "log": {"level": "debug"},
    }
    proxy = program.Dnproxy(directory, settings)
    for number, words in enumerate(KINDS):
        if words == "known certificate":
            server.context = context()  # it knows nothing of earlier sessions
        assert proxy.udp(query(f"q{number}.example.", "A"), timeout=60).answers
        proxy.wait_log(f"connected.*{words}", timeout=20)
        server.connections[-1].closed.wait(20)
        proxy.wait_log("closed by the server", timeout=20, count=number + 1)
    proxy.finish()
    server.stop()
    return list(connections(log))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("plugin")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        log = Path(directory) / "count"
        os.environ["DNPROXY"] = args.program
        os.environ["DNPROXY_WRAP"] = f"qemu-mips -cpu 24Kc -plugin {Path(args.plugin).resolve()},out={log}"
        sys.path[:0] = [str(HERE.parent / "e2e"), str(HERE.parent / "data")]
        print("| chain | handshake | million instructions | of them multiplications | ms at 580 MHz | longest step, ms |")
        print("| --- | --- | ---: | ---: | ---: | ---: |")
        for chain, kind in CHAINS.items():
            for words, steps in zip(KINDS, measure(Path(directory), kind, log)):
                instructions, products = (sum(column) for column in zip(*steps))
                longest = max(milliseconds(*step) for step in steps)
                print(f"| {chain} | {words} | {instructions / 1e6:.1f} | {products / 1e6:.1f} | "
                      f"{milliseconds(instructions, products):.0f} | {longest:.0f} |", flush=True)


main()
