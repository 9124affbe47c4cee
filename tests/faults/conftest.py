# SPDX-License-Identifier: MIT
"""Fixtures of the fault-injection tests, on top of those of the end-to-end tests.

    def test_a_fault_is_survived(lab, measured):
        with lab(hosts=2) as here:              # namespaces, a router, this thread at home
            program = here.dnproxy()
            with Asker(program) as asker:
                here.silence(0)
        measured("silent: every answer", [a.took for a in asker.asked], bound=1.5)

What is measured is shown at the end of the run, and is in build/faults.json.  LONG=1 makes faults as long
as they are in life.  Without the right to make network namespaces, the run starts itself again in a user
namespace, where it has it.
"""

import importlib.util
import json
import math
import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(HERE), str(HERE.parent / "e2e")]

_spec = importlib.util.spec_from_file_location("e2e_conftest", HERE.parent / "e2e" / "conftest.py")
e2e = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(e2e)

from hosts import SBIN, can_make_namespaces  # noqa: E402
from lab import LONG, Lab  # noqa: E402
from noise import Noise  # noqa: E402
from patience import PROGRAM, SLOW  # noqa: E402

ca, leaf, needs, program_exists = e2e.ca, e2e.leaf, e2e.needs, e2e.program_exists
pytest_sessionstart = e2e.pytest_sessionstart

AGAIN = "DNPROXY_FAULTS_AGAIN"


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config):
    if can_make_namespaces():
        return
    if AGAIN in os.environ:
        raise pytest.UsageError("network namespaces cannot be made here, not even in a user namespace")
    capture = config.pluginmanager.getplugin("capturemanager")
    if capture:
        capture.stop_global_capturing()
    # In there we are root: pytest's directory must not be the one of the true root.
    environment = {**os.environ, AGAIN: "1", "LOGNAME": f"faults-{os.getuid()}"}
    os.execvpe("unshare", ["unshare", "--user", "--map-root-user", "--net", "--mount", sys.executable, "-m", "pytest",
                           *config.invocation_params.args], environment)


def pytest_configure(config):
    config.addinivalue_line("markers", "takes(seconds): about how long; who takes longest begins first")


def pytest_collection_modifyitems(items):
    def takes(item):
        marker = item.get_closest_marker("takes")
        return marker.args[0] if marker else 4

    items.sort(key=takes, reverse=True)


@pytest.fixture(scope="session", autouse=True)
def tools():
    for tool in ("ip", "nft"):
        assert shutil.which(tool, path=os.environ["PATH"] + SBIN), f"{tool} is missing: run `make deps`"


@pytest.fixture
def lab(ca, leaf, tmp_path_factory):
    """lab(hosts=1, delay=0.0) is a Lab, to be entered."""

    def make(**options):
        return Lab(e2e.Stage(ca, leaf, tmp_path_factory), **options)

    return make


@pytest.fixture(scope="session")
def noise():
    return Noise()


@pytest.fixture
def measured(request, noise):
    """measured(what, values, bound) notes the values, in seconds, and asserts that none is above the
    bound, but for what this machine was late itself meanwhile.  slow=True stretches the bound for a program
    under a sanitizer: where it is computing that takes the time, not a timer."""
    began = time.monotonic()

    def note(what, values, bound=None, slow=False, unit="s"):
        values = sorted(values)
        late = noise.since(began) if unit == "s" else 0
        if bound is not None and slow:
            bound *= SLOW
        request.node.user_properties.append((
            "measured",
            {"what": what, "unit": unit, "count": len(values), "median": statistics.median(values),
             "worst": values[-1], "bound": bound, "machine late": late},
        ))
        assert bound is None or values[-1] <= bound + late, (
            f"{what}: {values[-1]:.3f} {unit}, at most {bound} allowed, and {late:.3f} for a busy machine"
        )

    return note


# -- the table at the end ---------------------------------------------------------------------------


def _measurements(reporter):
    for outcome in ("passed", "failed"):
        for report in reporter.getreports(outcome):
            if report.when == "call":
                for name, value in report.user_properties:
                    if name == "measured":
                        yield {"test": report.nodeid.partition("faults/")[2], **value}


def _number(value):
    """JSON knows no infinity: what never came is null."""
    return None if value == math.inf else value


def _row(value):
    if value["unit"] == "s":
        numbers = [f"{1000 * value[key]:.0f} ms" for key in ("median", "worst")]
        bound = "" if value["bound"] is None else f"{1000 * value['bound']:.0f} ms"
    else:
        numbers = [f"{value[key]:g}" for key in ("median", "worst")]
        bound = "" if value["bound"] is None else f"{value['bound']:g}"
    return f"{value['what']:<80} {value['count']:>6} {numbers[0]:>9} {numbers[1]:>9} {bound:>9}"


def pytest_terminal_summary(terminalreporter, config):
    rows = sorted(_measurements(terminalreporter), key=lambda row: (row["test"], row["what"]))
    if not rows or hasattr(config, "workerinput"):
        return
    terminalreporter.section("measured")
    terminalreporter.write_line(f"{'':<80} {'number':>6} {'median':>9} {'worst':>9} {'bound':>9}")
    for row in rows:
        terminalreporter.write_line(_row(row))
    late = max(row["machine late"] for row in rows)
    terminalreporter.write_line(f"At worst {1000 * late:.0f} ms of these may be the machine's own.")
    version = subprocess.run([PROGRAM, "--version"], capture_output=True, text=True, check=False).stdout.strip()
    target = ROOT / "build" / "faults.json"
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps({"program": version, "long": LONG, "slow": SLOW, "measured": [
        {key: _number(value) for key, value in row.items()} for row in rows
    ]}, indent=1) + "\n")
