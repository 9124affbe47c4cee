# SPDX-License-Identifier: MIT
"""Fixtures of the OpenWrt tests: a router (see router.py), on top of those of the end-to-end tests.

Without the right to chroot, the run starts itself again in a user namespace, where it has it.
"""

import importlib.util
import os
import shutil
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "faults"), str(HERE.parent / "e2e")]

_spec = importlib.util.spec_from_file_location("e2e_conftest", HERE.parent / "e2e" / "conftest.py")
e2e = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(e2e)

from hosts import can_make_namespaces  # noqa: E402
from router import Router  # noqa: E402

ca, leaf, needs, program_exists, stage = e2e.ca, e2e.leaf, e2e.needs, e2e.program_exists, e2e.stage
unkind = e2e.unkind

AGAIN = "DNPROXY_OPENWRT_AGAIN"


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config):
    if can_make_namespaces():
        return
    if AGAIN in os.environ:
        raise pytest.UsageError("namespaces cannot be made here, not even in a user namespace")
    capture = config.pluginmanager.getplugin("capturemanager")
    if capture:
        capture.stop_global_capturing()
    environment = {**os.environ, AGAIN: "1", "LOGNAME": f"openwrt-{os.getuid()}"}
    os.execvpe("unshare", ["unshare", "--user", "--map-root-user", "--net", "--mount", sys.executable, "-m", "pytest",
                           *config.invocation_params.args], environment)


def pytest_configure(config):
    config.addinivalue_line("markers", "sdk: builds everything once more, as OpenWrt would")


@pytest.fixture(scope="session", autouse=True)
def busybox():
    assert shutil.which("busybox"), "busybox is missing: run `make deps`"


@pytest.fixture
def bare_router(tmp_path):
    """Without the package."""
    return Router(tmp_path / "router", package=False)


@pytest.fixture
def router(tmp_path):
    return Router(tmp_path / "router")
