# SPDX-License-Identifier: MIT
"""The chart and the program agree on settings, and the probes work as they are rendered."""

import json

import chart
import pytest
import yaml
from program import free_port
from running import Running

SCHEMA = json.loads((chart.CHART / "values.schema.json").read_text(encoding="utf-8"))
CONFIG = SCHEMA["properties"]["config"]["properties"]
WORDS = [("dnproxy", "upstream_policy"), ("tls", "clock"), ("log", "level")]
UPSTREAM = {"ip": "192.0.2.1", "hostname": "dns.test"}


def _check(tmp_path, tree):
    file = tmp_path / "dnproxy.yml"
    file.write_text(yaml.safe_dump(tree), encoding="utf-8")
    return chart.run([chart.PROGRAM, "--check", "-c", str(file)], env={})


def _numbers():
    for section, below in CONFIG.items():
        for key, schema in below.get("properties", {}).items():
            if "maximum" in schema:
                yield section, key, schema["minimum"], schema["maximum"]


def test_the_chart_has_every_setting_of_the_program_with_its_default(tmp_path):
    in_force = yaml.safe_load(_check(tmp_path, {"upstream": {"ip": "192.0.2.1"}}).stdout)
    own = chart.merged()["config"]
    for section in ("dnproxy", "tls", "cache", "log"):
        assert list(CONFIG[section]["properties"]) == list(in_force[section])
        assert list(own[section]) == list(in_force[section])
        same = {k: v for k, v in in_force[section].items() if k not in ("host", "port", "allow")}
        assert {k: own[section][k] for k in same} == same
    assert list(SCHEMA["definitions"]["upstream"]["properties"]) == list(in_force["upstream"][0])


@pytest.mark.parametrize(("section", "key", "least", "most"), _numbers(), ids=lambda v: str(v))
def test_the_program_has_the_limits_of_the_schema(tmp_path, section, key, least, most):
    for number, good in ((least - 1, False), (least, True), (most, True), (most + 1, False)):
        tree = {"upstream": UPSTREAM, section: {key: number}}
        done = _check(tmp_path, tree)
        if (section, key, number) == ("dnproxy", "port", least - 1):
            good = True  # the chart alone refuses ports that need a right
        assert (done.returncode == 0) == good, (number, done.stderr)


@pytest.mark.parametrize(("section", "key"), WORDS)
def test_the_program_knows_the_words_of_the_schema(tmp_path, section, key):
    for word in CONFIG[section]["properties"][key]["enum"]:
        assert _check(tmp_path, {"upstream": UPSTREAM, section: {key: word}}).returncode == 0
    refusal = _check(tmp_path, {"upstream": UPSTREAM, section: {key: "other"}}).stderr
    for word in CONFIG[section]["properties"][key]["enum"]:
        assert word in refusal


def test_anchors_that_the_schema_lets_pass_are_read(tmp_path):
    anchors = chart.one(chart.template("everything"), "ConfigMap")["data"]["trust-anchors.pem"]
    (tmp_path / "anchors.pem").write_text(anchors, encoding="utf-8")
    done = _check(tmp_path, {"upstream": UPSTREAM, "tls": {"trust_anchors": str(tmp_path / "anchors.pem")}})
    assert "(1 anchors)" in done.stdout, done.stderr


@pytest.mark.parametrize("case", ["default", "node-local"])
def test_the_probes_as_rendered_ask_the_program_as_rendered(tmp_path, case):
    """Nobody listens upstream: the program is live, not ready, and on a node ready all the same.  The probes get
    in though only others are allowed to ask."""
    port = free_port()
    config = {"dnproxy": {"port": port, "allow": "192.0.2.0/24"},
              "upstream": [{"ip": "127.0.0.1", "port": 1, "hostname": "dns.test"}]}
    values = {"config": config, "nodeLocal": {"enabled": case == "node-local", "port": port}}
    running = Running(tmp_path, chart.template(case, values), "")
    try:
        assert running.passes("startup")
        assert running.probe("liveness").returncode == 0
        ready = running.probe("readiness")
        assert ready.returncode == 0 if case == "node-local" else "no upstream answers it" in ready.stderr
        running.process.terminate()
        assert running.process.wait(chart.PATIENCE) == 0
        assert running.probe("liveness").returncode == 1
    finally:
        running.end()
