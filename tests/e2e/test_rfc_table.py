# SPDX-License-Identifier: MIT
"""RFC.md says which test proves which requirement: those tests must be there."""

import re
from pathlib import Path

HERE = Path(__file__).resolve().parent


def test_every_test_in_the_table_exists():
    table = (HERE / "RFC.md").read_text()
    named = set(re.findall(r"`(test_\w+)`", table))
    there = set()
    for path in HERE.glob("test_*.py"):
        there |= set(re.findall(r"^ *def (test_\w+)\(", path.read_text(), re.MULTILINE))
    assert named and named <= there, sorted(named - there)


def test_every_unit_test_in_the_table_exists():
    table = (HERE / "RFC.md").read_text()
    sources = "".join(p.read_text() for p in (HERE.parent / "unit").glob("test_*.c"))
    for name in re.findall(r"`unit:(\w+)`", table):
        assert re.search(rf"^{name}\(", sources, re.MULTILINE), name


def test_every_row_of_the_table_names_a_test():
    for line in (HERE / "RFC.md").read_text().splitlines():
        cells = line.split("|")
        if len(cells) == 5 and not set(cells[1]) <= set(" -") and "section" not in cells[1]:
            assert "`" in cells[3], line
