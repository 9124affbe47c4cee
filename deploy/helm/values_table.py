#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes the table of values in the chart's README from values.schema.json and values.yaml.

values_table.py            writes it
values_table.py --check    says whether it is as it would be written; exit status 1 if not
"""

import json
import sys
from pathlib import Path

import yaml

CHART = Path(__file__).resolve().parent / "dnproxy"
BEGIN = "<!-- values: written by values_table.py -->"
END = "<!-- end of values -->"


def entries(schema, values, path=()):
    """(path, schema, default) of each value that has no further keys of its own."""
    for key, below in schema["properties"].items():
        at = (*path, key)
        default = values.get(key) if isinstance(values, dict) else None
        if "properties" in below and default not in ({}, None):
            yield from entries(below, default, at)
        else:
            yield at, below, default


def shown(default):
    return f"`{json.dumps(default, ensure_ascii=False)}`"


def allowed(schema):
    """What may stand there, in a few words."""
    if "enum" in schema:
        return ", ".join(f"`{v}`" if v else "empty" for v in schema["enum"])
    if "maximum" in schema:
        return f"{schema['minimum']}..{schema['maximum']}" + (", `auto`" if schema.get("pattern") == "^auto$" else "")
    names = {"array": "list", "boolean": "`true`, `false`", "integer": "number", "object": "mapping", "string": "text"}
    kinds = schema.get("type", "")
    for part in schema.get("allOf", []):
        kinds = kinds or {"labels": "object", "annotations": "object", "quantities": "object", "quantity": "quantity",
                          "intOrPercent": "number or percent"}[part["$ref"].rsplit("/", 1)[1]]
    kinds = [kinds] if isinstance(kinds, str) else kinds
    return " or ".join(names.get(kind, kind) for kind in kinds)


def table(schema, values):
    lines = ["| value | default | may be | meaning |", "| --- | --- | --- | --- |"]
    for path, below, default in entries(schema, values):
        if path == ("global",):
            continue
        meaning = below["description"].replace("|", "\\|")
        lines.append(f"| `{'.'.join(path)}` | {shown(default)} | {allowed(below)} | {meaning} |")
    return "\n".join(lines)


def main():
    schema = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
    values = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
    readme = CHART / "README.md"
    old = readme.read_text(encoding="utf-8")
    before, _, rest = old.partition(BEGIN)
    _, _, after = rest.partition(END)
    new = f"{before}{BEGIN}\n{table(schema, values)}\n{END}{after}"
    if sys.argv[1:] != ["--check"]:
        readme.write_text(new, encoding="utf-8")
    elif new != old:
        sys.exit("values_table.py: README.md is not up to date: run deploy/helm/values_table.py")


if __name__ == "__main__":
    main()
