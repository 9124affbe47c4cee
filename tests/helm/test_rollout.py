# SPDX-License-Identifier: MIT
"""When pods are replaced, and when they are not."""

import chart
import pytest

SETTINGS_CHANGE = [
    {"config": {"log": {"level": "debug"}}},
    {"config": {"cache": {"size": 1024}}},
    {"config": {"dnproxy": {"port": 5300}}},
    {"config": {"upstream": [{"ip": "9.9.9.9", "hostname": "dns.quad9.net"}]}},
    {"trustAnchors": "-----BEGIN CERTIFICATE-----\nMAo=\n-----END CERTIFICATE-----\n"},
    {"nodeLocal": {"enabled": True, "port": 10054}},
]

SETTINGS_STAY = [
    {"replicas": 7},
    {"autoscaling": {"enabled": True}},
    {"service": {"type": "LoadBalancer", "split": True}},
    {"networkPolicy": {"from": {"cidrs": ["192.0.2.0/24"]}}},
    {"podDisruptionBudget": {"enabled": False}},
    {"serviceAccount": {"annotations": {"a": "b"}}},
]


def _template(**kwargs):
    return chart.workload(chart.template(**kwargs))["spec"]["template"]


def _checksum(**kwargs):
    return _template(**kwargs)["metadata"]["annotations"]["checksum/config"]


@pytest.mark.parametrize("values", SETTINGS_CHANGE, ids=str)
def test_other_settings_replace_the_pods(values):
    assert _checksum(values=values) != _checksum()


@pytest.mark.parametrize("values", SETTINGS_STAY, ids=str)
def test_what_is_not_of_the_pods_leaves_them_alone(values):
    assert _template(values=values) == _template()


def test_another_version_of_the_chart_with_the_same_image_leaves_the_pods_alone(tmp_path):
    newer = chart.copy_of_chart(tmp_path)
    text = (newer / "Chart.yaml").read_text(encoding="utf-8")
    (newer / "Chart.yaml").write_text(text.replace("\nversion: 0.1.0", "\nversion: 0.1.1"), encoding="utf-8")
    objects = chart.template(chart=newer)
    assert chart.workload(objects)["metadata"]["labels"]["helm.sh/chart"] == "dnproxy-0.1.1"
    assert chart.workload(objects)["spec"]["template"] == _template()


@pytest.mark.parametrize("case", ["default", "everything", "node-local", "autoscaling"])
def test_the_selector_never_changes(case):
    """It cannot be changed in a cluster: an upgrade would fail."""
    extra = {"commonLabels": {"a": "b"}, "podLabels": {"c": "d"}, "config": {"log": {"level": "debug"}}}
    before, after = (chart.workload(chart.template(case, v))["spec"]["selector"] for v in (None, extra))
    assert before == after


def test_an_ending_pod_answers_until_services_know():
    preStop = chart.container(chart.template())["lifecycle"]["preStop"]
    assert preStop == {"sleep": {"seconds": 5}}


def test_an_older_cluster_gets_no_field_that_it_does_not_know():
    objects = chart.template(more=["--kube-version", "1.26.0"])
    assert "lifecycle" not in chart.container(objects)
    assert "unhealthyPodEvictionPolicy" not in chart.one(objects, "PodDisruptionBudget")["spec"]
    assert all("matchLabelKeys" not in c for c in chart.pod(objects)["topologySpreadConstraints"])


def test_the_versions_of_vendors_count_as_theirs():
    objects = chart.template(more=["--kube-version", "1.30.1-gke.1187000"])
    assert "lifecycle" in chart.container(objects)


def test_no_pod_is_missed_while_a_deployment_is_replaced():
    strategy = chart.workload(chart.template())["spec"]["strategy"]
    assert strategy == {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": "25%"}}


@pytest.mark.parametrize("case", ["daemonset", "node-local"])
def test_a_daemonset_is_replaced_a_tenth_at_a_time(case):
    spec = chart.workload(chart.template(case))["spec"]
    assert spec["updateStrategy"] == {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "10%"}}
