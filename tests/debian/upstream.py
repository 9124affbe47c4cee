# SPDX-License-Identifier: MIT
"""upstream.py CERTIFICATE KEY PORT: the polite server of the end-to-end tests, until it is ended."""

import signal
import sys
from collections import namedtuple
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "e2e"))

import unkind_dot  # noqa: E402

certificate, key, port = sys.argv[1:]
context = unkind_dot.server_context(namedtuple("Leaf", "cert key")(certificate, key))
server = unkind_dot.UnkindDot(context, port=int(port))
print("listening", flush=True)
signal.pause()
