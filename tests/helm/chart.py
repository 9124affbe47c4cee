# SPDX-License-Identifier: MIT
"""The chart, rendered by helm, and the tools it is looked at with.

HELM_TOOLS    where tests/helm/tools.sh has put them (build/helm-tools)
DNPROXY       the program that reads the settings (build/dnproxy)
"""

import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "deploy" / "helm" / "dnproxy"
TOOLS = Path(os.environ.get("HELM_TOOLS", ROOT / "build" / "helm-tools")).resolve()
PROGRAM = str(Path(os.environ.get("DNPROXY", ROOT / "build" / "dnproxy")).resolve())
CASES = sorted(path.stem for path in (Path(__file__).resolve().parent / "values").glob("*.yaml"))
RELEASE, NAMESPACE = "dns", "net"
PATIENCE = 120  # seconds, for what takes a tenth of one


class Refused(Exception):
    """helm said no."""


class Loader(yaml.CSafeLoader):
    """YAML in which no key is given twice."""


def _mapping(loader, node):
    keys = [loader.construct_object(key) for key, _ in node.value]
    if len(keys) != len(set(keys)):
        raise yaml.constructor.ConstructorError(None, None, f"a key is given twice: {keys}", node.start_mark)
    return loader.construct_mapping(node, deep=True)


Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def case_file(case):
    return Path(__file__).resolve().parent / "values" / f"{case}.yaml"


def run(command, **kwargs):
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False, **kwargs)


def helm(*args, values=None):
    """What helm prints; Refused with what it says on standard error.  values: a tree of further ones."""
    if values is not None:
        args = (*args, "--values", "-")
    with tempfile.TemporaryDirectory() as home:
        places = {f"HELM_{what}_HOME": f"{home}/{what}" for what in ("CACHE", "CONFIG", "DATA")}
        env = {"PATH": os.environ["PATH"], "HOME": home, "KUBECONFIG": "/dev/null", **places}
        done = run([TOOLS / "helm", *map(str, args)], env=env, input=json.dumps(values or {}))
    if done.returncode != 0:
        raise Refused(done.stdout + done.stderr)
    return done.stdout


def arguments(case=None, chart=CHART):
    """The chart, and the values of a case of the matrix, for helm."""
    given = ["--values", str(case_file(case))] if case else []
    if case == "old-cluster":
        given += ["--kube-version", "1.26.0"]
    return [str(chart), *given]


def template(case=None, values=None, chart=CHART, release=RELEASE, more=()):
    """The objects that helm renders."""
    text = helm("template", release, *arguments(case, chart), "--namespace", NAMESPACE, *more, values=values)
    return [o for o in yaml.load_all(text, Loader) if o is not None]


def merged(case=None, values=None):
    """The values in force: what is given over the chart's own."""
    own = yaml.load((CHART / "values.yaml").read_text(encoding="utf-8"), Loader)
    given = yaml.load(case_file(case).read_text(encoding="utf-8"), Loader) if case else {}
    return _over(_over(own, given or {}), values or {})


def _over(base, top):
    if not (isinstance(base, dict) and isinstance(top, dict)):
        return top
    both = {**base, **{k: _over(base.get(k), v) for k, v in top.items()}}
    return {k: v for k, v in both.items() if v is not None}


def copy_of_chart(directory):
    """A chart that may be broken."""
    return Path(shutil.copytree(CHART, Path(directory) / "dnproxy"))


def validate(lists):
    """What the API would refuse, a list for each list of objects."""
    done = run(["node", str(Path(__file__).resolve().parent / "validate.mjs"), str(TOOLS)],
               input=json.dumps(lists))
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def of_kind(objects, *kinds):
    return [o for o in objects if o["kind"] in kinds]


def one(objects, *kinds):
    found = of_kind(objects, *kinds)
    assert len(found) == 1, f"{len(found)} of {kinds}"
    return found[0]


def workload(objects):
    return one(objects, "Deployment", "DaemonSet")


def pod(objects):
    return workload(objects)["spec"]["template"]["spec"]


def container(objects):
    return pod(objects)["containers"][0]


def settings(objects):
    """dnproxy.yml as the pod sees it: text and tree."""
    text = one(objects, "ConfigMap")["data"]["dnproxy.yml"]
    return text, yaml.load(text, Loader)
