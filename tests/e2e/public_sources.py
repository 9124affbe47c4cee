# SPDX-License-Identifier: MIT
"""Run by test_access.py in a network namespace of its own: asks dnproxy, which answers by its default
list, from addresses of many kinds, and prints what became of each: "address rcode".

The question has an opcode that is answered without an upstream: NOTIMP is the word for friends.
"""

import os
import signal
import socket
import struct
import subprocess
import sys
import time

NOTIFY = struct.pack("!HHHHHH", 1, 4 << 11, 1, 0, 0, 0) + b"\0\0\1\0\1"


def ask(address):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as s:
        s.settimeout(0.2)
        s.bind((address, 0))
        for _ in range(50):
            s.sendto(NOTIFY, (address, 5353))
            try:
                return s.recv(512)[3] & 15
            except (TimeoutError, ConnectionRefusedError):
                time.sleep(0.02)
    return None


def main(program, *addresses):
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    for address in addresses:
        if address not in ("127.0.0.1", "::1"):
            options = ["nodad"] if ":" in address else []
            subprocess.run(["ip", "addr", "add", address, "dev", "lo", *options], check=True)
    env = {"DNPROXY_HOST": "0.0.0.0,::", "DNPROXY_PORT": "5353", "PATH": os.environ["PATH"]}
    running = subprocess.Popen([program], env=env, cwd="/proc", stderr=subprocess.DEVNULL)
    try:
        for address in addresses:
            print(address, ask(address), flush=True)
    finally:
        running.send_signal(signal.SIGTERM)
        running.wait(10)


main(*sys.argv[1:])
