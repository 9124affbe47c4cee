# SPDX-License-Identifier: MIT
"""Fixtures of the tests of the container image: built here, run under podman and runc.

    def test_it_answers(container, network, upstream):
        box = container(*upstream.options)      # listens, as hard as it can be
        with network.inside():
            ...                                 # ask 127.0.0.1

Each test has a network namespace of its own, with an upstream in it.  Storage lies in a directory of the session;
DNPROXY_CONTAINERS=DIRECTORY keeps it, with the image, for the next run.
"""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(HERE), str(HERE.parent / "faults"), str(HERE.parent / "e2e")]

_spec = importlib.util.spec_from_file_location("e2e_conftest", HERE.parent / "e2e" / "conftest.py")
e2e = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(e2e)

from engine import Bundle, Container, Engine  # noqa: E402
from hosts import Host, can_make_namespaces  # noqa: E402

ca, leaf, needs = e2e.ca, e2e.leaf, e2e.needs

STRANGER = "192.0.2.7"
SETTINGS = ROOT / "deploy" / "container" / "dnproxy.yml"
TOOLS = ("buildah", "podman", "runc", "mmdebstrap", "iptables", "kdig")


@pytest.fixture(scope="session", autouse=True)
def machine(needs):
    """Containers need root here.  Whoever is not may leave these tests out, but CI may not."""
    if os.getuid() != 0 or not can_make_namespaces():
        assert not os.environ.get("CI"), "the container tests need root"
        pytest.skip("the container tests need root and the right to make namespaces")
    for tool in TOOLS:
        needs(tool)


@pytest.fixture(scope="session")
def engine(machine, tmp_path_factory):
    kept = os.environ.get("DNPROXY_CONTAINERS")
    engine = Engine(kept or tmp_path_factory.mktemp("containers"))
    yield engine
    if not kept:
        engine.end()


@pytest.fixture(scope="session")
def debian(engine):
    """debian:bookworm-slim, made on the spot."""
    name = "debian:bookworm-slim"
    if subprocess.run(["podman", "image", "exists", name], env=engine.environment, check=False).returncode:
        archive = engine.at / "base.tar"
        engine.run("mmdebstrap", "--quiet", "--variant=minbase", "bookworm", str(archive), timeout=900)
        engine.podman("import", str(archive), name, timeout=900)
        archive.unlink()
    return name


def sources(to):
    """A copy of what git knows or would add, elsewhere, with other times and rights."""
    listed = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT,
                            capture_output=True, check=True).stdout
    for name in filter(None, listed.decode().split("\0")):
        if (ROOT / name).is_file():
            target = to / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, target)
            target.chmod(0o700 if os.access(ROOT / name, os.X_OK) else 0o600)
    return to


@pytest.fixture(scope="session")
def epoch():
    """What the Makefile takes for the time of the sources."""
    return os.environ.get("SOURCE_DATE_EPOCH") or subprocess.run(["git", "log", "-1", "--format=%ct"], cwd=ROOT, capture_output=True, text=True,
                          check=True).stdout.strip()


LONG = bool(os.environ.get("LONG"))


@pytest.fixture(scope="session")
def builds(engine, debian, epoch, tmp_path_factory):
    """`make image`, and the list of parts: of that build, or with LONG of one more, which compiles all anew from a
    copy of the sources elsewhere.  Returns where the list is."""
    lists = engine.at / "parts"
    if (lists / "dnproxy.spdx.json").exists():
        return lists
    lists.mkdir(exist_ok=True)
    flags = ["--pull-never", "--no-cache" if LONG else "--layers"]
    engine.run("make", "image", f"IMAGE_FLAGS={' '.join(flags)}", timeout=1200)
    engine.run("buildah", "bud", "--format", "docker", "--timestamp", epoch, *flags, "--build-arg",
               f"SOURCE_DATE_EPOCH={epoch}", "--target", "sbom", "--output", f"type=local,dest={lists}",
               "-f", "Dockerfile.scratch", ".", timeout=1200,
               **({"cwd": sources(tmp_path_factory.mktemp("elsewhere"))} if LONG else {}))
    return lists


@pytest.fixture(scope="session")
def image(engine, builds):
    """What `podman inspect` says about the image."""
    return engine.inspect("dnproxy")


@pytest.fixture(scope="session")
def files(engine, image):
    """Where the files of the image can be looked at."""
    path = Path(engine.podman("image", "mount", "dnproxy"))
    yield path
    engine.podman("image", "umount", "dnproxy")


@pytest.fixture
def network():
    """A namespace with loopback, on which a stranger's address is as well."""
    host = Host("127.0.0.1")
    host.ip(f"addr add {STRANGER}/32 dev lo")
    yield host
    host.close()


class Upstream:
    """A DNS-over-TLS server, and what makes a container ask it: the image's own settings, with an authority of
    these tests, and variables that replace the upstream."""

    def __init__(self, server, directory, anchors):
        self.server, self.anchors = server, Path(anchors)
        self.settings = Path(directory) / "dnproxy.yml"
        self.settings.write_text(SETTINGS.read_text(encoding="utf-8") + "\ntls:\n  trust_anchors: /anchors.pem\n")
        self.environment = [f"DNPROXY_UPSTREAM_IP={server.host}@{server.port}",
                            f"DNPROXY_UPSTREAM_HOSTNAME={server.name}"]
        self.options = ["-v", f"{self.settings}:/etc/dnproxy.yml:ro", "-v", f"{self.anchors}:/anchors.pem:ro"]
        for variable in self.environment:
            self.options += ["-e", variable]


@pytest.fixture
def stage(ca, leaf):
    stage = e2e.Stage(ca, leaf, None)
    yield stage
    stage.end()


@pytest.fixture
def unkind_at(stage, network):
    """unkind_at(host, port, certificate, name) starts a server in the namespace."""

    def start(host, port, certificate, name):
        with network.inside():
            return stage.unkind(certificate=certificate, name=name, host=host, port=port)

    return start


@pytest.fixture
def upstreams(ca, stage, network, tmp_path):
    """upstreams(handler) starts a server in the namespace, and says how a container asks it."""
    readable = tmp_path / "anchors.pem"
    shutil.copyfile(ca.pem, readable)
    readable.chmod(0o644)
    tmp_path.chmod(0o755)

    def start(*handler):
        with network.inside():
            return Upstream(stage.unkind(*handler), tmp_path, readable)

    return start


@pytest.fixture
def upstream(upstreams):
    return upstreams()


@pytest.fixture
def container(engine, image, network):
    """container(*options) runs the image; wait=False when it will not come to listen."""
    started = []

    def start(*options, wait=True, **more):
        started.append(Container(engine, network, *options, **more))
        return started[-1].wait_listening() if wait else started[-1]

    yield start
    for each in started:
        each.end()


@pytest.fixture
def bundle(engine, files, network, tmp_path_factory):
    """bundle(upstream, ...) runs the image's files under runc alone."""
    started = []

    def start(upstream, *variables, wait=True, **more):
        started.append(Bundle(engine, files, network, tmp_path_factory.mktemp("bundle"), upstream.settings,
                              upstream.anchors, [*upstream.environment, *variables], **more))
        return started[-1].wait_listening() if wait else started[-1]

    yield start
    for each in started:
        each.end()
