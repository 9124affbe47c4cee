# SPDX-License-Identifier: MIT
"""What users read about the chart is what it does."""

import json
import re
import sys

import chart
import laws
import pytest
import yaml

WRITER = chart.ROOT / "deploy" / "helm" / "values_table.py"
PAGE = (chart.ROOT / "doc" / "kubernetes.md").read_text(encoding="utf-8")
SCHEMA = json.loads((chart.CHART / "values.schema.json").read_text(encoding="utf-8"))


def notes(case=None, values=None):
    text = chart.helm("install", "--dry-run=client", chart.RELEASE, *chart.arguments(case), "--namespace",
                      "net",
                      values=values)
    return text.partition("\nNOTES:\n")[2]


def test_the_table_of_values_is_up_to_date():
    done = chart.run([sys.executable, str(WRITER), "--check"])
    assert done.returncode == 0, done.stderr


def _described(schema, path=()):
    for key, below in schema.get("properties", {}).items():
        yield (*path, key), below
        yield from _described(below, (*path, key))


def test_every_value_is_described_and_none_is_open():
    for path, below in _described(SCHEMA):
        assert below.get("description", "").endswith("."), path
        if "properties" in below:
            assert below["additionalProperties"] is False, path


def test_the_schema_and_the_defaults_have_the_same_values():
    values = yaml.safe_load((chart.CHART / "values.yaml").read_text(encoding="utf-8"))

    def same(schema, given, path):
        if "properties" not in schema or given == {}:
            return
        known = set(schema["properties"]) - {"global"}
        assert set(given) == known, path
        for key in known:
            same(schema["properties"][key], given[key], (*path, key))

    same(SCHEMA, values, ())


def test_the_version_is_the_programs():
    makefile = (chart.ROOT / "Makefile").read_text(encoding="utf-8")
    meta = yaml.safe_load((chart.CHART / "Chart.yaml").read_text(encoding="utf-8"))
    assert meta["appVersion"] == re.search(r"^VERSION *= *(\S+)$", makefile, re.M)[1]


def test_the_notes_give_coredns_the_address_of_the_service():
    assert "\n    forward . 10.96.0.53\n" in notes("node-local")
    assert "\n    forward . fd00:10:96::53\n" in notes("ipv6")
    assert "\n    forward . [fd00:10:96::53]:5300\n" in notes("ipv6", {"service": {"port": 5300}})
    assert "\n    forward . 10.96.0.53:5300\n" in notes("split", {"service": {"port": 5300}})


def test_the_notes_say_how_to_find_an_address_that_the_cluster_chooses():
    text = notes()
    assert "\n    forward . ADDRESS\n" in text
    assert "\n    kubectl -n net get service dns-dnproxy -o jsonpath='{.spec.clusterIP}'\n" in text


@pytest.mark.parametrize(("case", "service"),
                         [("load-balancer", "dns-dnproxy"), ("split", "dns-dnproxy-udp dns-dnproxy-tcp")])
def test_the_notes_name_the_services_for_clients_outside(case, service):
    assert f"\n    kubectl -n net get service {service} -o wide\n" in notes(case)


def test_the_notes_warn_when_the_policy_keeps_clients_outside_out():
    assert "No client outside the cluster passes the network policy" in notes("split")
    assert "No client outside the cluster passes the network policy" not in notes("load-balancer")
    assert "No client outside the cluster passes the network policy" not in notes()


def test_the_notes_say_that_no_policy_reaches_a_nodes_own_network():
    assert "Network policies do not reach the host's network" in notes("node-local")


def test_a_parent_chart_may_share_values_and_hold_ours(tmp_path):
    parent = tmp_path / "parent"
    chart.copy_of_chart(tmp_path)
    (parent / "charts").mkdir(parents=True)
    (tmp_path / "dnproxy").rename(parent / "charts" / "dnproxy")
    (parent / "Chart.yaml").write_text("apiVersion: v2\nname: parent\nversion: 1.0.0\n", encoding="utf-8")
    (parent / "values.yaml").write_text("global: {region: west}\ndnproxy: {replicas: 5}\n", encoding="utf-8")
    assert chart.workload(chart.template(chart=parent))["spec"]["replicas"] == 5


def test_a_long_name_leaves_room_for_all_endings():
    values = {"service": {"type": "LoadBalancer", "split": True},
              "serviceMonitor": {"enabled": True, "port": 9153}}
    objects = chart.template(values=values, release="r" * 53)
    names = [o["metadata"]["name"] for o in objects]
    assert max(map(len, names)) <= 63
    assert len({(o["kind"], o["metadata"]["name"]) for o in objects}) == len(objects)


@pytest.mark.parametrize("text", re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.M | re.S),
                         ids=lambda text: text.split()[0])
def test_the_values_of_the_page_keep_all_laws(text):
    values = yaml.safe_load(text)
    assert laws.broken(chart.template(values=values), chart.merged(values=values)) == []


def test_the_page_names_values_that_there_are():
    """Each word with a dot in it that the page sets apart, of the chart's values or of config's."""
    values = [(".".join(path).removeprefix("config."), below) for path, below in _described(SCHEMA)]
    named = {word.removeprefix("config.") for word in re.findall(r"`([a-z][A-Za-z_]+(?:\.[A-Za-z_]+)+)[`:]",
                                                                 PAGE)}
    assert len(named) > 15
    for word in named - {"dnproxy.yml", "registry.example"}:
        assert any(word == name or ("properties" not in below and word.startswith(f"{name}."))
                   for name, below in values), word
