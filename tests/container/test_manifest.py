# SPDX-License-Identifier: MIT
"""One name for several machines: `make images`, from programs that make CROSS= has built.

Two machines, and the third when its program is there: CI builds these two anyway.
"""

import json
import subprocess

import pytest

from conftest import ROOT
from test_image import SIZE_MAX, checksum

EMULATORS = {"linux/amd64": [], "linux/arm64": ["qemu-aarch64-static", "-cpu", "cortex-a53"],
             "linux/arm/v7": ["qemu-arm-static", "-cpu", "cortex-a7"]}
BUILT = ["linux/amd64@x86_64", "linux/arm64@aarch64"]
if (ROOT / "build/cross/armv7/dnproxy").exists():
    BUILT.append("linux/arm/v7@armv7")
PLATFORMS = [platform.split("@")[0] for platform in BUILT]


@pytest.fixture(scope="module")
def manifest(engine):
    """Each platform with the digest of its image."""
    engine.run("make", "-s", "images", "IMAGE=several", f"PLATFORMS={' '.join(BUILT)}", timeout=900)
    found = {}
    for each in json.loads(engine.run("buildah", "manifest", "inspect", "several"))["manifests"]:
        platform = each["platform"]
        found["/".join(filter(None, (platform["os"], platform["architecture"], platform.get("variant"))))] = each
    return found


def test_it_lists_the_machines(manifest):
    """arm64 may say that it is v8, which is all there is."""
    assert {name.removesuffix("/v8") for name in manifest} == set(PLATFORMS)


@pytest.mark.parametrize("platform", PLATFORMS)
def test_each_image_is_the_same_but_for_its_program(engine, manifest, image, platform):
    digest = next(each["digest"] for name, each in manifest.items() if name.removesuffix("/v8") == platform)
    told = engine.inspect(f"several@{digest}")
    assert f"{told['Os']}/{told['Architecture']}" == "/".join(platform.split("/")[:2])
    assert told["Size"] < SIZE_MAX
    for key in ("User", "ExposedPorts", "Entrypoint", "Labels"):
        assert told["Config"][key] == image["Config"][key], key
    assert told["Healthcheck"] == image["Healthcheck"]


@pytest.mark.parametrize("platform", PLATFORMS)
def test_each_program_is_for_its_machine(manifest, network, platform):
    """It runs under an emulator of that machine: the version, and health where nobody listens."""
    program = ROOT / "build" / "image" / platform / "dnproxy"
    run = [*EMULATORS[platform], str(program)]
    with network.inside():
        version = subprocess.run([*run, "--version"], capture_output=True, text=True, timeout=60, check=True).stdout
        health = subprocess.run([*run, "health", "-c", str(ROOT / "deploy/container/dnproxy.yml")], check=False,
                                capture_output=True, text=True, timeout=60)
    assert version.startswith("dnproxy ")
    assert health.returncode == 1
    assert "not ready: 127.0.0.1@53: connection refused" in health.stdout + health.stderr


@pytest.mark.parametrize("platform", PLATFORMS)
def test_each_list_of_parts_is_of_its_program(manifest, platform):
    root = ROOT / "build" / "image"
    parts = json.loads((root / f"{platform}.spdx.json").read_text(encoding="utf-8"))
    sums = {c["checksumValue"] for f in parts["files"] for c in f["checksums"]}
    assert checksum(root / platform / "dnproxy") in sums
    assert all(p["versionInfo"] != "NOASSERTION" for p in parts["packages"])
