# SPDX-License-Identifier: MIT
"""What doc/debian.md and doc/migrating.md show is what the program and the package take."""

import re
import subprocess

import pytest
import yaml

import program
from conftest import TOP

PAGES = {name: (TOP / "doc" / name).read_text(encoding="utf-8") for name in ("debian.md", "migrating.md")}


def blocks(page, language):
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGES[page], re.M | re.S)


OURS = [(page, number, text) for page in PAGES for number, text in enumerate(blocks(page, "yaml"))]


@pytest.mark.parametrize("page, number, text", OURS, ids=lambda value: str(value) if len(str(value)) < 20 else "")
def test_every_settings_file_of_the_pages_is_accepted(tmp_path, page, number, text):
    (tmp_path / "dnproxy.yml").write_text(text)
    checked = program.run("--check", cwd=tmp_path)
    assert checked.returncode == 0, checked.stderr
    in_force = yaml.safe_load(checked.stdout.split("\n\n")[0])
    for section, value in yaml.safe_load(text).items():
        if section != "upstream":
            assert in_force[section].items() >= {k: v for k, v in value.items() if k not in ("host", "allow")}.items()


def test_each_of_those_left_has_a_table_and_a_file():
    sections = PAGES["migrating.md"].split("\n## ")[2:]
    assert len(sections) == 6
    for section in sections:
        assert section.count("| here |") == 1 and "```yaml" in section, section.split("\n")[0]


def test_stubby_s_list_is_turned_round_as_shown(tmp_path):
    theirs, = blocks("migrating.md", "text")
    command, = blocks("migrating.md", "sh")
    (tmp_path / "stubby.yml").write_text(theirs)
    made = subprocess.run(["sh", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert made in blocks("migrating.md", "yaml")


def test_dhclient_s_hook_writes_one_name_server_whatever_dhcp_says(tmp_path):
    """As dhclient-script does: it defines that function, reads the hook, and calls it."""
    hook, = blocks("debian.md", "hook")
    assert hook.count("/etc/resolv.conf") == 1
    made = tmp_path / "resolv.conf"
    script = "make_resolv_conf() { echo nameserver 2001:db8::53; }\n" + hook.replace("/etc/resolv.conf", str(made))
    subprocess.run(["sh", "-e"], input=script + "make_resolv_conf\n", text=True, check=True,
                   env={"PATH": "/usr/bin:/bin", "reason": "BOUND6", "new_dhcp6_name_servers": "2001:db8::53"})
    assert made.read_text() == "nameserver 127.0.8.53\n"


def test_every_key_named_for_a_counterpart_is_one_of_ours():
    keys = set(re.findall(r"^  ([a-z]+\.[a-z_]+)$", program.run("--help", cwd="/").stdout, re.M))
    sections = {key.split(".")[0] for key in keys}
    for page, text in PAGES.items():
        for key in re.findall(r"`(\w+\.[a-z_]+)[`:]", text):
            assert key in keys or key.split(".")[0] not in sections or key == "dnproxy.yml", f"{page}: {key}"
