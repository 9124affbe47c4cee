# SPDX-License-Identifier: MIT
"""A cable with a length: carries frames between two network interfaces, each after a delay.

    python3 cable.py left right 0.010       every frame takes 10 ms, so 20 ms for there and back

It ends with its standard input, and so with whoever started it.
For kernels without netem.  Frames keep what the kernel says about them (checksums that are still to be
made, segments that are still to be cut), so nothing has to be switched off on either side.
"""

import collections
import contextlib
import select
import socket
import sys
import time

ETH_P_ALL = 3
SOL_PACKET, PACKET_VNET_HDR, PACKET_IGNORE_OUTGOING = 263, 15, 23
LONGEST = 70000  # a frame before it is cut into segments


def end_of(name):
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    sock.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
    sock.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
    sock.bind((name, ETH_P_ALL))
    sock.setblocking(False)
    return sock


def carry(left, right, delay):
    ends = {left: right, right: left}
    under_way = collections.deque()
    while True:
        wait = max(0.0, under_way[0][0] - time.monotonic()) if under_way else None
        ready, _, _ = select.select([*ends, sys.stdin], [], [], wait)
        if sys.stdin in ready:
            return
        arrival = time.monotonic() + delay
        for end in ready:
            with contextlib.suppress(BlockingIOError):
                while True:
                    under_way.append((arrival, ends[end], end.recv(LONGEST)))
        while under_way and under_way[0][0] <= time.monotonic():
            _, end, frame = under_way.popleft()
            with contextlib.suppress(OSError):  # the other side is down: lost, as on any cable
                end.send(frame)


if __name__ == "__main__":
    both = end_of(sys.argv[1]), end_of(sys.argv[2])
    print("ready", flush=True)
    carry(*both, float(sys.argv[3]))
