# SPDX-License-Identifier: MIT
"""doc/containers.md is walked as written, in a namespace that has Cloudflare's address."""

import hashlib
import re
import shutil
import subprocess

import pytest
import yaml

from conftest import ROOT, SETTINGS
from engine import PATIENCE

DOC = (ROOT / "doc" / "containers.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```sh\n(.*?)```", DOC, re.S)
CLOUDFLARE, NAME = "1.1.1.1", "cloudflare-dns.com"


@pytest.fixture
def trusting(engine, image, ca, tmp_path):
    """The image with one thing added: it trusts the authority of these tests."""
    shutil.copyfile(ca.pem, tmp_path / "anchors.pem")
    (tmp_path / "anchors.pem").chmod(0o644)
    (tmp_path / "dnproxy.yml").write_text(SETTINGS.read_text(encoding="utf-8") + "tls:\n  trust_anchors: /anchors.pem\n")
    (tmp_path / "dnproxy.yml").chmod(0o644)
    (tmp_path / "Dockerfile").write_text("FROM dnproxy\nCOPY anchors.pem /\nCOPY dnproxy.yml /etc/\n")
    engine.run("buildah", "bud", "--format", "docker", "--pull-never", "-t", "trusting", str(tmp_path))
    return "trusting"


@pytest.fixture
def internet(network, ca, unkind_at):
    network.ip(f"addr add {CLOUDFLARE}/32 dev lo")
    return unkind_at(CLOUDFLARE, 853, ca.leaf(NAME), NAME)


def test_the_path_to_the_first_answer_is_walked(engine, network, internet, trusting, files, tmp_path):
    """Every line of all blocks of commands, in order; only the image has another name."""
    work = tmp_path / "walk"
    work.mkdir()
    script = "set -e\n" + re.sub(r"(/tcp) dnproxy$", rf"\1 {trusting}", "".join(BLOCKS), flags=re.M)
    assert script.count(f" {trusting}\n") == script.count("podman run") == 2
    with network.inside():
        try:
            done = subprocess.run(["sh", "-xc", script], cwd=work, env=engine.environment, capture_output=True,
                                  text=True, timeout=PATIENCE, check=False, stdin=subprocess.DEVNULL)
        finally:
            engine.podman("rm", "--all", "--force", "--time", "0")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("status: NOERROR") == 3, done.stdout + done.stderr
    promised = re.search(r"`health` says `([^`]+)`", DOC)[1]
    assert promised in done.stdout
    assert "trust_anchors: \"/anchors.pem\"" in done.stdout  # --check
    assert hashlib.sha256((files / "dnproxy").read_bytes()).hexdigest() in done.stdout
    assert len(internet.queries) >= 2


def test_compose_says_the_same_as_the_command():
    service = yaml.safe_load(re.search(r"```yaml\n(.*?)```", DOC, re.S)[1])["services"]["dnproxy"]
    command = BLOCKS[1].split("podman run -d")[1].split("kdig")[0]
    told = [f"--sysctl {key}={value}" for key, value in service["sysctls"].items()]
    told += [f"--cap-drop={service['cap_drop'][0]}", f"--security-opt {service['security_opt'][0]}",
             f"--memory {service['mem_limit']}", *(f"-p {port}" for port in service["ports"])]
    assert service["read_only"] and "--read-only" in command
    assert [option for option in told if option not in command] == []
    assert service["volumes"] == ["./dnproxy.yml:/etc/dnproxy.yml:ro"] and service["volumes"][0][2:] in command


def test_what_is_said_of_the_messages_is_what_the_program_says():
    """Those in "what to check" that are its own stand in the sources."""
    sources = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "src").glob("*.c"))
    for words in ("cannot listen on %s (%s): %s", "address family not supported", "permission denied", "cannot be read"):
        assert words in sources, words
