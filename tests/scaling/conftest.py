# SPDX-License-Identifier: MIT
"""Fixtures of the cluster's tests, on top of those of the fault tests, whose namespaces they use."""

import importlib.util
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
_spec = importlib.util.spec_from_file_location("faults_conftest", HERE.parent / "faults" / "conftest.py")
faults = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(faults)

from cluster import Cluster  # noqa: E402

ca, leaf, needs, program_exists = faults.ca, faults.leaf, faults.needs, faults.program_exists
pytest_sessionstart, pytest_cmdline_main = faults.pytest_sessionstart, faults.pytest_cmdline_main


@pytest.fixture(scope="session", autouse=True)
def tools(needs):
    for tool in ("ip", "nft", "conntrack"):
        needs(tool)


@pytest.fixture
def new_cluster(ca, leaf, tmp_path_factory):
    """new_cluster(section__key=value) is a Cluster, to be entered."""
    return lambda **settings: Cluster(faults.e2e.Stage(ca, leaf, tmp_path_factory), **settings)


@pytest.fixture
def cluster(new_cluster):
    """Four instances at work behind one address."""
    with new_cluster() as made:
        yield made
