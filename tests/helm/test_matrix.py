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
