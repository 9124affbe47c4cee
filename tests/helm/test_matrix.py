# SPDX-License-Identifier: MIT
"""Every file of values/ renders objects that the API knows and that keep all laws."""

import chart
import laws
import pytest

pytestmark = pytest.mark.xdist_group("matrix")  # rendered by one process, once


@pytest.fixture(scope="module")
def rendered():
    """case -> its objects, rendered once."""
    made = {}

    def render(case):
        if case not in made:
            made[case] = chart.template(case)
        return made[case]

    return render


@pytest.mark.parametrize("case", chart.CASES)
def test_the_laws_hold(rendered, case):
    assert laws.broken(rendered(case), chart.merged(case)) == []


@pytest.mark.parametrize("case", ["default", "minimal", "everything", "node-local", "split"])
def test_helm_finds_nothing_to_say(case):
    assert "[WARNING]" not in chart.helm("lint", "--strict", *chart.arguments(case))


def test_the_api_knows_every_object_and_field(rendered):
    found = chart.validate([rendered(case) for case in chart.CASES])
    assert {case: wrong for case, wrong in zip(chart.CASES, found, strict=True) if wrong} == {}


WORDS = {"nameOverride": "yes", "serviceAccount": {"name": "1e3"}, "priorityClassName": "0x1f",
         "serviceMonitor": {"enabled": True, "port": 9100, "path": "/a: b #c"}, "autoscaling": {"enabled": True}}


@pytest.mark.parametrize("name", ["true", "null", "no"])
def test_names_that_mean_something_else_in_yaml_stay_names(name):
    values = {**WORDS, "fullnameOverride": name}
    objects = chart.template(values=values, release="1e3", more=["--namespace", "123"])
    assert chart.validate([objects]) == [[]]
    labels = chart.workload(objects)["spec"]["template"]["metadata"]["labels"]
    for service in chart.of_kind(objects, "Service"):
        assert service["spec"]["selector"].items() <= labels.items()
    assert {o["metadata"]["namespace"] for o in objects} == {"123"}
    assert chart.workload(objects)["metadata"]["name"] == name
    assert chart.pod(objects)["serviceAccountName"] == "1e3" and chart.pod(objects)["priorityClassName"] == "0x1f"
    assert chart.one(objects, "ServiceMonitor")["spec"]["endpoints"][0]["path"] == "/a: b #c"


def test_a_value_of_several_lines_adds_nothing_to_the_pod():
    objects = chart.template(values={"priorityClassName": "a\n      hostPID: true"})
    assert "hostPID" not in chart.pod(objects)
