# SPDX-License-Identifier: MIT
"""README, man page, dnproxy.yml and --help say the same as the program does."""
import os
import re
import subprocess
from pathlib import Path

import yaml

import certs

TOP = Path(__file__).resolve().parents[2]
PROGRAM = os.environ.get("DNPROXY", str(TOP / "build/dnproxy"))
README = (TOP / "README.md").read_text(encoding="utf-8")
MAN = (TOP / "doc/dnproxy.8").read_text(encoding="utf-8")
EXAMPLE = (TOP / "dnproxy.yml").read_text(encoding="utf-8")


def run(*args, **env):
    return subprocess.run([PROGRAM, *args], capture_output=True, text=True, timeout=20, check=True,
                          env={"PATH": os.environ["PATH"], **env}, cwd="/").stdout


def help_keys():
    """Each key of --help with the line that tells its default and range."""
    lines = run("--help").splitlines()
    return {line.strip(): lines[i + 1].strip() for i, line in enumerate(lines)
            if re.fullmatch(r"  [a-z]+\.[a-z_]+", line)}


def readme_rows():
    return {m[1]: (m[2], m[3]) for m in re.finditer(r"^\| `([a-z]+\.[a-z_]+)` \| (.*?) \| (.*?) \|", README, re.M)}


def man_items():
    """Each key of the man page with its text."""
    parts = re.split(r"^\.It Cm ", MAN, flags=re.M)[1:]
    return {p.split("\n", 1)[0]: p.split("\n.El")[0] for p in parts}


def leaves(tree, path=""):
    for key, value in tree.items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            value = value[0]
        if isinstance(value, dict):
            yield from leaves(value, f"{path}{key}.")
        else:
            yield path + key, value


def test_every_key_stands_everywhere():
    keys = set(help_keys())
    assert len(keys) > 10
    assert set(readme_rows()) == keys
    assert set(man_items()) == keys
    assert {k for k, _ in leaves(yaml.safe_load(EXAMPLE))} == keys


def test_defaults_and_ranges_are_the_same_everywhere():
    example = dict(leaves(yaml.safe_load(EXAMPLE)))
    for key, told in help_keys().items():
        default = re.match(r"default ([^;]*)", told)[1]
        for limits in re.findall(r"\d+\.\.\d+", told):
            assert limits in readme_rows()[key][1], key
            assert limits in man_items()[key], key
        for word in re.search(r"; ([a-z]+(?:\|[a-z]+)+)", told + "; a|a")[1].split("|"):
            assert word == "a" or word in readme_rows()[key][1], (key, word)
        if " and others" in default:
            continue
        assert f"`{default}`" == readme_rows()[key][0], key
        assert default.strip('"') in man_items()[key], key
        value = example[key]
        value = str(value).lower() if isinstance(value, bool) else str(value)
        assert value == default.strip('"'), key


def test_the_example_file_sets_the_defaults():
    by_default = run("--check")
    assert run("-c", str(TOP / "dnproxy.yml"), "--check") == by_default


def test_every_variable_stands_everywhere():
    variables = set(re.findall(r"DNPROXY_[A-Z_]+", run("--help")))
    assert len(variables) >= 5
    for name in variables:
        assert name in README and name in MAN and name in EXAMPLE, name


def constants():
    """The numbers of bounds.h by name."""
    text = (TOP / "include/bounds.h").read_text(encoding="utf-8")
    return {name: int(value) for name, value in re.findall(r"^#define (\w+) (\d+)u?\b", text, re.M)}


def seconds(ms):
    return f"{ms / 1000:g} s"


def test_the_readme_promises_what_bounds_h_does():
    """Each time and number in "Never stuck" is that of a constant."""
    text = README.split("## Never stuck")[1].split("\n## ")[0]
    c = constants()
    for told in (f"answers within {seconds(c['PROMISE_OTHER_MS'])}", f"within {seconds(c['PROMISE_BACK_MS'])} |",
                 f"After {seconds(c['POOL_DOUBT_MIN_MS'])} (up to {seconds(c['POOL_DOUBT_MAX_MS'])}",
                 f"after {seconds(c['DOT_SILENT_MS'])} when only", f"at least {c['POOL_HEDGE_MIN_MS']} ms",
                 f"at most {c['POOL_HEDGE_MAX_MS']} ms", f"{c['POOL_HEDGE_DEFAULT_MS']} ms",
                 f"({c['POOL_HEDGE_BURST']} in a row)", f"rests {c['DOT_REST_MIN_MS']} ms",
                 f"at most {seconds(c['DOT_REST_MAX_MS'])}", f"rests {seconds(c['DOT_REST_DISTRUST_MS'])} at least",
                 f"closes after {seconds(c['DOT_IDLE_MS'])}", f"every {seconds(c['POOL_EXPLORE_MS'])} one query"):
        assert told in " ".join(text.split()), told
    assert (c["POOL_HEDGE_TIMES"], c["POOL_HEDGE_SHARE"], c["TLS_SESSION_S"], c["TLS_LEAF_S"]) == (3, 10, 3600, 86400)
    assert (c["POOL_WAKE_MS"], c["DOT_REST_LOCAL_MS"]) == (1000, 100)
    assert f"within {seconds(c['QUERY_TIMEOUT_MS'])} gets SERVFAIL" in " ".join(README.split())


def test_every_option_of_help_is_in_the_man_page():
    for option in re.findall(r"--([a-z]+)", run("--help").split("dnproxy.host")[0]):
        assert f"Fl -{option}" in MAN, option


def test_what_a_probe_tells_is_in_the_documents():
    facts = re.findall(r'\{[A-Z_]+, "([a-z_]+)"\}', (TOP / "src/probe.c").read_text(encoding="utf-8"))
    assert len(facts) > 20
    part = MAN.split(".Sh PROBE")[1].split(".Sh ENVIRONMENT")[0]
    for key in facts:
        assert re.search(rf"^\.It .*\b{key}\b", part, re.M), key
    example = README.split("## Checking what happens")[1].split("`--json`")[0]
    told = [m[1].rstrip() for m in re.finditer(r"^    ([a-z].{12}) \S", example, re.M)]
    assert len(told) > 25 and set(told) - {"dnproxy"} <= {key.replace("_", " ") for key in facts}
    until = f"up to {constants()['PROBE_IDLE_MS'] // 1000} s"
    assert until in run("--help") and until in README and until in part


def test_every_file_of_the_readme_is_accepted(tmp_path):
    files = re.findall(r"```yaml\n(.*?)```", README, re.S)
    assert len(files) >= 2
    for text in files:
        (tmp_path / "some.yml").write_text(text)
        assert run("-c", str(tmp_path / "some.yml"), "--check")


def test_the_command_of_the_readme_makes_a_pin(tmp_path):
    """What stands behind openssl s_client, fed with a certificate, prints a pin that is accepted."""
    pipe = re.search(r"^    openssl s_client [^|]*\| (openssl x509 .*?base64)$", README, re.S | re.M)[1]
    with open(certs.self_signed(tmp_path, "dns.test").cert, encoding="ascii") as file:
        digest = subprocess.run(["sh", "-c", pipe], stdin=file, capture_output=True, text=True, check=True).stdout
    (tmp_path / "pin.yml").write_text(f"upstream:\n  ip: 192.0.2.1\n  pins: sha256/{digest}")
    assert f'pins: "sha256/{digest.strip()}"\n' in run("-c", str(tmp_path / "pin.yml"), "--check")


def test_the_smallest_file_of_the_readme_is_accepted(tmp_path):
    text = re.search(r"```yaml\n(.*?)```", README, re.S)[1]
    (tmp_path / "small.yml").write_text(text)
    assert yaml.safe_load(run("-c", str(tmp_path / "small.yml"), "--check"))["upstream"][0]["hostname"] \
        == "cloudflare-dns.com"
