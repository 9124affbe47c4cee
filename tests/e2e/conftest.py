# SPDX-License-Identifier: MIT
"""Fixtures of the end-to-end tests.

    def test_a_query_is_answered(unkind, dnproxy):
        server = unkind()                   # a polite server; unkind(handler) is not
        program = dnproxy(server)           # started, listening, on a free port
        assert program.udp(query("www.example.", "A")).answers

What a fixture starts is ended by it; a program that dies, does not end on SIGTERM, or leaves a
sanitizer's report fails the test it was started for.
"""

import os
import resource
import shutil
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "data"))

import certs  # noqa: E402
import program as program_under_test  # noqa: E402
import unkind_dot  # noqa: E402
from patience import WRAP  # noqa: E402

NAME = "dns.test"  # what the upstreams of these tests are called


def pytest_configure(config):
    config.addinivalue_line("markers", "valgrind: also run under valgrind")
    config.addinivalue_line("markers", "cross: also run with the programs for other processors")


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config):
    """Under valgrind one test at a time: a handshake takes a second of computing there, and the
    program's own patience with its upstreams does not stretch."""
    if WRAP and getattr(config.option, "numprocesses", None):
        config.option.numprocesses = 1


def pytest_sessionstart(session):
    """The tests hold thousands of connections; the program gets the descriptors of its own."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 8192 if hard == resource.RLIM_INFINITY else min(8192, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


@pytest.fixture(scope="session", autouse=True)
def program_exists():
    assert os.access(program_under_test.PROGRAM, os.X_OK), f"{program_under_test.PROGRAM}: run `make` first"


@pytest.fixture(scope="session")
def needs():
    """needs("unbound") is its path; what is missing is a failure, not a reason to skip."""

    def find(name):
        path = shutil.which(name, path=os.environ["PATH"] + ":/usr/sbin:/sbin")
        assert path, f"{name} is missing: run `make deps`"
        return path

    return find


@pytest.fixture(scope="session")
def ca(tmp_path_factory):
    """The authority that the program trusts unless a test says otherwise."""
    return certs.Authority(tmp_path_factory.mktemp("ca"), "Test Root")


@pytest.fixture(scope="session")
def leaf(ca):
    """A good certificate for NAME."""
    return ca.leaf(NAME)


class Stage:
    """Servers and programs that were started for a test, and their end."""

    def __init__(self, ca, leaf, directories):
        self.ca, self.leaf, self.directories = ca, leaf, directories
        self.servers, self.programs = [], []

    def unkind(self, handler=unkind_dot.serve, context=None, certificate=None, name=NAME, **options):
        """Starts a scripted server (see unkind_dot)."""
        context = context or unkind_dot.server_context(certificate or self.leaf)
        server = unkind_dot.UnkindDot(context, handler, name=name, **options)
        self.servers.append(server)
        return server

    def settings(self, *servers, host="127.0.0.1", port=None, **more):
        """A tree of settings; servers are servers or trees, section__key=value adds to it.  Nothing is kept
        unless the test says so (cache__size), so that each query reaches a server."""
        hosts = host if isinstance(host, list) else [host]
        tree = {
            "dnproxy": {"host": host, "port": port or program_under_test.free_port(hosts)},
            "upstream": [program_under_test.upstream(s) if hasattr(s, "host") else s for s in servers],
            "tls": {"trust_anchors": self.ca.pem},
            "cache": {"size": 0},
        }
        for key, value in more.items():
            section, _, name = key.partition("__")
            tree.setdefault(section, {})[name] = value
        return tree

    def dnproxy(self, *servers, text=None, args=None, env=None, limit=None, wait=True, **more):
        """Starts the program with settings(...), or with text as its settings file."""
        program = program_under_test.Dnproxy(
            self.directories.mktemp("dnproxy"),
            self.settings(*servers, **more) if text is None else text,
            args=args,
            env=env,
            limit=limit,
            wait=wait,
        )
        self.programs.append(program)
        return program

    def end(self):
        """Everything ends, and nothing of it may have failed."""
        errors = []
        for program in self.programs:
            try:
                program.finish()
            except AssertionError as error:
                errors.append(error)
        for server in self.servers:
            server.stop()
            errors += server.failures
        if errors:
            raise errors[0]


@pytest.fixture
def stage(ca, leaf, tmp_path_factory):
    stage = Stage(ca, leaf, tmp_path_factory)
    yield stage
    stage.end()


@pytest.fixture(scope="session")
def new_stage(ca, leaf, tmp_path_factory):
    """For those who end their stages themselves (see trials.py)."""
    return lambda: Stage(ca, leaf, tmp_path_factory)


@pytest.fixture(scope="class")
def class_stage(ca, leaf, tmp_path_factory):
    """For tests that share what took long."""
    stage = Stage(ca, leaf, tmp_path_factory)
    yield stage
    stage.end()


@pytest.fixture
def unkind(stage):
    return stage.unkind


@pytest.fixture
def settings(stage):
    return stage.settings


@pytest.fixture
def dnproxy(stage):
    return stage.dnproxy


@pytest.fixture
def run(tmp_path):
    """run("--check", ...) runs the program to its end in an empty directory."""

    def to_the_end(*args, env=None, cwd=tmp_path, timeout=10):
        return program_under_test.run(*args, cwd=cwd, env=env, timeout=timeout)

    return to_the_end


@pytest.fixture
def polite(unkind, dnproxy):
    """The usual pair: the program in front of a polite server, as (program, server)."""
    server = unkind()
    return dnproxy(server), server
