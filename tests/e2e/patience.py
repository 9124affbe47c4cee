# SPDX-License-Identifier: MIT
"""Which program is tested, under what, and how much slower that makes it.

DNPROXY        the program (build/dnproxy unless set)
DNPROXY_WRAP   a command to run it under, such as "valgrind --error-exitcode=99"
DNPROXY_SLOW   factor for all patience; unless set, what the tools are known to cost
"""

import os
import shlex
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = str(Path(os.environ.get("DNPROXY", ROOT / "build" / "dnproxy")).resolve())
WRAP = shlex.split(os.environ.get("DNPROXY_WRAP", ""))


def _usual_cost():
    if WRAP:
        return 5.0
    path = Path(PROGRAM)
    return 3.0 if path.exists() and b"__asan_init" in path.read_bytes() else 1.0


SLOW = float(os.environ.get("DNPROXY_SLOW") or _usual_cost())
