# SPDX-License-Identifier: MIT
"""Fixtures of the OpenWrt tests: a router (see router.py), on top of those of the fault tests."""

import importlib.util
import shutil
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "faults"), str(HERE.parent / "e2e")]

_spec = importlib.util.spec_from_file_location("faults_conftest", HERE.parent / "faults" / "conftest.py")
faults = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(faults)

from router import Router  # noqa: E402

ca, leaf, needs, program_exists = faults.ca, faults.leaf, faults.needs, faults.program_exists
stage, unkind = faults.e2e.stage, faults.e2e.unkind
# Without the right to chroot, the run starts itself again in a user namespace, where it has it.
pytest_cmdline_main = faults.pytest_cmdline_main


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
