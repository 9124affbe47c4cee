# SPDX-License-Identifier: MIT
"""What is in the image, what it says of itself, and that it is the same whenever and wherever it is built."""

import hashlib
import json
import os
import re
import stat
import subprocess

import pytest
import yaml

from conftest import ROOT, SETTINGS

SIZE_MAX = 250_000
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
VERSION = re.search(r"^VERSION\s*= (\S+)", MAKEFILE, re.M)[1]


def checksum(path, kind="sha256"):
    return hashlib.new(kind, path.read_bytes()).hexdigest()


def test_two_files_are_in_it_and_nothing_else(files):
    found = {}
    for at, directories, names in os.walk(files):
        for name in directories + names:
            path = os.path.join(at, name)
            found["/" + os.path.relpath(path, files)] = os.lstat(path)
    assert set(found) == {"/etc", "/etc/dnproxy.yml", "/dnproxy"}
    assert {name: oct(stat.S_IMODE(s.st_mode)) for name, s in found.items()} \
        == {"/etc": "0o755", "/etc/dnproxy.yml": "0o644", "/dnproxy": "0o755"}
    assert {(s.st_uid, s.st_gid) for s in found.values()} == {(0, 0)}
    assert not any(os.listxattr(files / name[1:]) for name in found)  # no file capabilities
    assert (files / "etc/dnproxy.yml").read_bytes() == SETTINGS.read_bytes()


def test_it_is_small(image):
    assert image["Size"] < SIZE_MAX
    assert len(image["RootFS"]["Layers"]) == 1


def test_it_runs_as_nobody_and_says_what_it_is(image):
    config, labels = image["Config"], image["Config"]["Labels"]
    assert config["User"] == "65534:65534"
    assert set(config["ExposedPorts"]) == {"53/udp", "53/tcp"}
    assert config["Entrypoint"] == ["/dnproxy"] and not config.get("Cmd")
    assert image["Healthcheck"]["Test"] == ["CMD", "/dnproxy", "health"]
    assert image["Healthcheck"]["Retries"] == 3
    assert image["Healthcheck"]["Timeout"] == 5e9  # ns: its patience is 2 s, and engines are slow
    label = "org.opencontainers.image."
    assert (labels[label + "title"], labels[label + "licenses"], labels[label + "version"]) \
        == ("dnproxy", "MIT", VERSION)
    assert labels[label + "description"]
    assert re.fullmatch(r"[0-9a-f]{40}", labels[label + "revision"])


def test_the_version_of_a_build_without_make_is_the_same():
    dockerfile = (ROOT / "Dockerfile.scratch").read_text(encoding="utf-8")
    assert f"ARG VERSION={VERSION}\n" in dockerfile


def test_its_settings_listen_everywhere_and_ask_whom_the_example_asks():
    ours, example = (yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))
                     for name in ("deploy/container/dnproxy.yml", "dnproxy.yml"))
    assert ours["dnproxy"] == {"host": ["0.0.0.0", "::"], "port": 53}
    assert ours["upstream"] == {key: example["upstream"][key] for key in ("ip", "hostname")}


def test_the_list_of_parts_has_the_sums_of_the_files(files, builds):
    """With LONG=1 it comes from another build, elsewhere: both are the same octet for octet."""
    parts = json.loads((builds / "dnproxy.spdx.json").read_text(encoding="utf-8"))
    told = {f["fileName"]: {c["algorithm"]: c["checksumValue"] for c in f["checksums"]} for f in parts["files"]}
    assert told == {f"./{name}": {"SHA1": checksum(files / name, "sha1"), "SHA256": checksum(files / name)}
                    for name in ("dnproxy", "etc/dnproxy.yml")}


def test_the_same_files_give_the_same_layer(engine, image, files, epoch, tmp_path):
    """With files that were copied at another time.  In the format of the OCI the whole image has the same ID."""
    for name in ("dnproxy", "etc/dnproxy.yml"):
        copy = tmp_path / "root" / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes((files / name).read_bytes())
        copy.chmod(stat.S_IMODE((files / name).stat().st_mode))
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY root/ /\n")
    build = ("buildah", "bud", "--format", "oci", "--no-cache", "--timestamp", epoch, "-t", "again", str(tmp_path))
    ids = set()
    for _ in range(2):
        engine.run(*build)
        ids.add(engine.inspect("again")["Id"])
    assert engine.inspect("again")["RootFS"]["Layers"] == image["RootFS"]["Layers"]
    assert len(ids) == 1


# -- the list of parts, SPDX 2.3 -----------------------------------------------------------------------

DATE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
IDENTIFIER = re.compile(r"SPDXRef-[a-zA-Z0-9.-]+")
AGENT = re.compile(r"(Person|Organization|Tool): \S.*")
LICENCES = {"MIT", "MPL-2.0", "GPL-3.0-or-later"}
EXCEPTIONS = {"GCC-exception-3.1"}
# Of each kind of object: what it must have, and what it may have.  (SPDX 2.3 annex C and clauses 6 to 11.)
KEYS = {
    "document": ({"spdxVersion", "dataLicense", "SPDXID", "name", "documentNamespace", "creationInfo"},
                 {"packages", "files", "relationships", "comment"}),
    "creationInfo": ({"created", "creators"}, {"licenseListVersion", "comment"}),
    "package": ({"SPDXID", "name", "downloadLocation"},
                {"versionInfo", "packageFileName", "supplier", "originator", "filesAnalyzed", "checksums", "homepage",
                 "packageVerificationCode", "licenseConcluded", "licenseDeclared", "licenseInfoFromFiles",
                 "copyrightText", "comment", "externalRefs", "primaryPackagePurpose"}),
    "file": ({"SPDXID", "fileName", "checksums"},
             {"fileTypes", "licenseConcluded", "licenseInfoInFiles", "copyrightText", "comment"}),
    "relationship": ({"spdxElementId", "relationshipType", "relatedSpdxElement"}, {"comment"}),
    "checksum": ({"algorithm", "checksumValue"}, set()),
    "externalRef": ({"referenceCategory", "referenceType", "referenceLocator"}, {"comment"}),
}
LENGTHS = {"SHA1": 40, "SHA256": 64}
RELATIONS = {"DESCRIBES", "CONTAINS", "STATIC_LINK", "GENERATED_FROM"}


def has_keys(kind, thing):
    must, may = KEYS[kind]
    assert must <= set(thing) <= must | may, (kind, sorted(thing))


def is_licence(expression):
    words = [w for part in expression.split(" AND ") for w in part.split(" WITH ")]
    assert expression == "NOASSERTION" or set(words) <= LICENCES | EXCEPTIONS, expression


def has_checksums(thing, needed):
    found = {}
    for each in thing["checksums"]:
        has_keys("checksum", each)
        assert re.fullmatch(r"[0-9a-f]+", each["checksumValue"])
        assert len(each["checksumValue"]) == LENGTHS[each["algorithm"]]
        found[each["algorithm"]] = each["checksumValue"]
    assert needed <= set(found)
    return found


@pytest.fixture(scope="module")
def parts(builds):
    return json.loads((builds / "dnproxy.spdx.json").read_text(encoding="utf-8"))


def test_the_list_of_parts_is_spdx(parts, epoch):
    """Required fields, no unknown ones, values as the specification wants them; each identifier leads somewhere."""
    has_keys("document", parts)
    assert (parts["spdxVersion"], parts["dataLicense"], parts["SPDXID"]) == ("SPDX-2.3", "CC0-1.0", "SPDXRef-DOCUMENT")
    assert re.fullmatch(r"https://spdx\.org/spdxdocs/[^#\s]+", parts["documentNamespace"])
    has_keys("creationInfo", parts["creationInfo"])
    assert DATE.fullmatch(parts["creationInfo"]["created"])
    made = subprocess.run(["date", "-u", "-d", f"@{epoch}", "+%Y-%m-%dT%H:%M:%SZ"], capture_output=True, text=True,
                          check=True).stdout.strip()
    assert parts["creationInfo"]["created"] == made
    assert all(AGENT.fullmatch(creator) for creator in parts["creationInfo"]["creators"])
    identifiers = [parts["SPDXID"]]
    for package in parts["packages"]:
        has_keys("package", package)
        is_licence(package["licenseConcluded"])
        is_licence(package["licenseDeclared"])
        assert AGENT.fullmatch(package["supplier"])
        assert package["filesAnalyzed"] == ("packageVerificationCode" in package)
        for reference in package.get("externalRefs", []):
            has_keys("externalRef", reference)
            assert reference["referenceType"] == "purl"
            assert re.fullmatch(r"pkg:deb/debian/[a-z0-9-]+@[\w.%~-]+\?arch=source", reference["referenceLocator"])
        if "checksums" in package:
            has_checksums(package, {"SHA256"})
        identifiers.append(package["SPDXID"])
    for file in parts["files"]:
        has_keys("file", file)
        assert file["fileName"].startswith("./")
        is_licence(file["licenseConcluded"])
        has_checksums(file, {"SHA1"})
        identifiers.append(file["SPDXID"])
    assert len(set(identifiers)) == len(identifiers) and all(map(IDENTIFIER.fullmatch, identifiers))
    for relation in parts["relationships"]:
        has_keys("relationship", relation)
        assert relation["relationshipType"] in RELATIONS
        assert {relation["spdxElementId"], relation["relatedSpdxElement"]} <= set(identifiers)
    related = {r["relatedSpdxElement"] for r in parts["relationships"]}
    assert related == set(identifiers) - {"SPDXRef-DOCUMENT"}  # nothing stands alone


def test_the_list_of_parts_knows_all_that_is_linked(parts):
    """With versions; BearSSL's with the checksum that the Makefile insists on."""
    packages = {package["name"]: package for package in parts["packages"]}
    assert set(packages) == {"dnproxy", "BearSSL", "musl", "libgcc", "ca-certificates"}
    assert all(re.match(r"\d", package["versionInfo"]) for package in packages.values())
    assert packages["dnproxy"]["versionInfo"] == VERSION
    assert has_checksums(packages["BearSSL"], set())["SHA256"] \
        == re.search(r"^BEARSSL_SHA256 = (\w+)", MAKEFILE, re.M)[1]
    assert "ISRG_Root_X1" in packages["ca-certificates"]["comment"]


def test_the_verification_code_is_that_of_the_two_files(parts):
    """SPDX 2.3 clause 7.9: the SHA-1 of the sorted SHA-1 sums."""
    sums = sorted(c["checksumValue"] for f in parts["files"] for c in f["checksums"] if c["algorithm"] == "SHA1")
    package = next(p for p in parts["packages"] if p["name"] == "dnproxy")
    assert package["packageVerificationCode"]["packageVerificationCodeValue"] \
        == hashlib.sha1("".join(sums).encode()).hexdigest()
