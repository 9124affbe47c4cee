# SPDX-License-Identifier: MIT
"""Fixtures of the chart's tests: those of the end-to-end tests, and the network namespaces of the fault tests.

Without the right to make namespaces the run starts itself again in a user namespace, as the fault tests do.
"""

import importlib.util
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
FAULTS = HERE.parent / "faults"
sys.path.insert(0, str(HERE))

_spec = importlib.util.spec_from_file_location("faults_conftest", FAULTS / "conftest.py")
faults = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(faults)

ca, leaf, needs, stage = faults.ca, faults.leaf, faults.needs, faults.e2e.stage
pytest_cmdline_main = faults.pytest_cmdline_main
