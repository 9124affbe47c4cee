# SPDX-License-Identifier: MIT
"""How late this machine is: what a bound in seconds has to be read with when others compute as well."""

import hashlib
import threading
import time

EVERY = 0.05
WORK = bytes(1 << 17)  # some tenths of a millisecond, which leave Python's lock to others
HOPS = 8  # a handshake and a query wake the program and its server about so often


class Noise(threading.Thread):
    """Sleeps and works a little, again and again, and notes how much longer than its due that took."""

    def __init__(self):
        super().__init__(daemon=True)
        self._late = []
        self.start()

    def run(self):
        while True:
            began, worked = time.monotonic(), time.thread_time()
            time.sleep(EVERY)
            hashlib.sha256(WORK)
            now = time.monotonic()
            self._late.append((now, now - began - EVERY - (time.thread_time() - worked)))

    def since(self, moment):
        """What a client may have to wait longer than on a quiet machine, in seconds: each hop for as long as
        was usual since then, and one of them for the longest."""
        late = [late for when, late in list(self._late) if when >= moment]
        return max(late) + HOPS * sum(late) / len(late) if late else 0.0
