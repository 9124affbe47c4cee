# SPDX-License-Identifier: MIT
"""The chart and the program agree on settings, and the probes work as they are rendered."""

import json
import subprocess
import sys
import time

import chart
import laws
import pytest
import yaml

sys.path.insert(0, str(chart.ROOT / "tests" / "e2e"))

from program import free_port  # noqa: E402

CONFIG = json.loads((chart.CHART / "values.schema.json").read_text(encoding="utf-8"))["properties"]["config"]["properties"]
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
    schema = json.loads((chart.CHART / "values.schema.json").read_text(encoding="utf-8"))
    assert list(schema["definitions"]["upstream"]["properties"]) == list(in_force["upstream"][0])


@pytest.mark.parametrize(("section", "key", "least", "most"), _numbers(), ids=lambda v: str(v))
def test_the_program_has_the_limits_of_the_schema(tmp_path, section, key, least, most):
    for number, good in ((least - 1, False), (least, True), (most, True), (most + 1, False)):
        tree = {"upstream": UPSTREAM, section: {key: number}}
        done = _check(tmp_path, tree)
        if (section, key, number) == ("dnproxy", "port", least - 1):
            good = True  # the chart alone refuses ports that need a right
        assert (done.returncode == 0) == good, (number, done.stderr)


@pytest.mark.parametrize(("section", "key"), [("dnproxy", "upstream_policy"), ("tls", "clock"), ("log", "level")])
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


@pytest.fixture
def at_work(tmp_path):
    """The container of a release: started as rendered, but on a free port and on loopback."""
    running = []

    def start(case, values):
        port = free_port()
        values = {**values, "nodeLocal": {"enabled": case == "node-local", "port": port}}
        values.setdefault("config", {})["dnproxy"] = {"port": port, "allow": "192.0.2.0/24"}
        objects = chart.template(case, values)
        file = tmp_path / "dnproxy.yml"
        file.write_text(chart.settings(objects)[0], encoding="utf-8")
        env = laws.environment(objects)
        env["DNPROXY_HOST"] = env["DNPROXY_HOST"].replace(f",{laws.POD_IPS}", "")

        def as_here(command):
            here = {"/dnproxy": chart.PROGRAM, laws.SETTINGS: str(file)}
            return [here.get(word, word) for word in command]

        given = chart.container(objects)
        process = subprocess.Popen(as_here(given["command"] + given["args"]), env=env, stderr=subprocess.DEVNULL)
        running.append(process)
        return lambda probe: chart.run(as_here(given[f"{probe}Probe"]["exec"]["command"]), env=env), process

    yield start
    for process in running:
        process.kill()
        process.wait()


def _passes(probe):
    """Whether it passes within a while, as the kubelet tries it again and again."""
    until = time.monotonic() + chart.PATIENCE
    while (done := probe()).returncode != 0 and time.monotonic() < until:
        time.sleep(0.05)
    return done.returncode == 0


@pytest.mark.parametrize("case", ["default", "node-local"])
def test_the_probes_as_rendered_ask_the_program_as_rendered(at_work, case):
    """Nobody listens upstream: the program is live, not ready, and on a node ready all the same.  That only others
    are allowed to ask does not shut out the probes."""
    probe, process = at_work(case, {"config": {"upstream": [{"ip": "127.0.0.1", "port": 1, "hostname": "dns.test"}]}})
    assert _passes(lambda: probe("startup"))
    assert probe("liveness").returncode == 0
    ready = probe("readiness")
    assert ready.returncode == 0 if case == "node-local" else "no upstream answers it" in ready.stderr
    process.terminate()
    assert process.wait(chart.PATIENCE) == 0
    assert probe("liveness").returncode == 1
