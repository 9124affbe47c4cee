# SPDX-License-Identifier: MIT
"""What must hold for all that the chart renders.  A law takes (objects, values) and yields what breaks it."""

import ipaddress
import os
import re
import tempfile
from pathlib import Path

import yaml
from chart import PROGRAM, container, of_kind, pod, run, settings, workload

POD_IPS = "10.244.1.7,fd00:10:244::7"  # what the kubelet puts in place of $(POD_IPS)
LOOPBACK = ["127.0.0.0/8", "::1/128"]  # where the probes come from
SETTINGS = "/etc/dnproxy/dnproxy.yml"
ANCHORS = "/etc/dnproxy/trust-anchors.pem"


# ---- Rights ---------------------------------------------------------------------------------------


def no_privilege(objects, values):
    """The "restricted" Pod Security Standard; on the host's network all of it but that."""
    spec = pod(objects)
    local = values["nodeLocal"]["enabled"]
    inherited = spec.get("securityContext", {})
    if inherited.get("seccompProfile") != {"type": "RuntimeDefault"}:
        yield "seccomp is not RuntimeDefault"
    if inherited.get("runAsNonRoot") is not True or inherited.get("runAsUser") == 0:
        yield "may run as root"
    for key in ("hostPID", "hostIPC", "shareProcessNamespace"):
        if spec.get(key):
            yield key
    if bool(spec.get("hostNetwork")) != local:
        yield "hostNetwork only and always with nodeLocal"
    if inherited.get("sysctls"):
        yield "sysctls"
    for volume in spec["volumes"]:
        if not set(volume) - {"name"} <= {"configMap", "emptyDir", "secret", "projected"}:
            yield f"volume {volume}"
    if spec.get("initContainers") or spec.get("ephemeralContainers") or len(spec["containers"]) != 1:
        yield "more than one container"
    yield from _container_privilege(spec["containers"][0])


def _container_privilege(given):
    context = given.get("securityContext", {})
    if context.get("allowPrivilegeEscalation") is not False:
        yield "allowPrivilegeEscalation"
    if context.get("readOnlyRootFilesystem") is not True:
        yield "the root file system can be written to"
    if context.get("capabilities") != {"drop": ["ALL"]}:
        yield "capabilities"
    if unknown := set(context) - {"allowPrivilegeEscalation", "readOnlyRootFilesystem", "capabilities"}:
        yield f"securityContext has {unknown}"
    for port in given["ports"]:
        if "hostPort" in port:
            yield "hostPort"
        if port["containerPort"] < 1024:
            yield "a port that needs a right"


def no_account_rights(objects, values):
    """No token, no role: the API server is not asked."""
    if pod(objects).get("automountServiceAccountToken") is not False:
        yield "the pod mounts a token"
    for account in of_kind(objects, "ServiceAccount"):
        if account.get("automountServiceAccountToken") is not False:
            yield "the account gives its token away"
    known = {"ConfigMap", "DaemonSet", "Deployment", "HorizontalPodAutoscaler", "NetworkPolicy",
             "PodDisruptionBudget",
             "Service", "ServiceAccount", "ServiceMonitor"}
    if others := {o["kind"] for o in objects} - known:
        yield f"kinds {others}"
    named = {a["metadata"]["name"] for a in of_kind(objects, "ServiceAccount")}
    if named and named != {pod(objects)["serviceAccountName"]}:
        yield "the pod has another account"


def no_loop(objects, values):
    """Neither the cluster's resolver nor variables of a Service named dnproxy reach the program."""
    if pod(objects)["dnsPolicy"] not in ("Default", "None"):
        yield "dnsPolicy"
    if pod(objects).get("enableServiceLinks") is not False:
        yield "enableServiceLinks"
    addresses = {s["spec"].get("clusterIP") for s in of_kind(objects, "Service")}
    for upstream in _upstreams(objects):
        if upstream["ip"] in addresses:
            yield f"upstream {upstream['ip']} is the Service itself"


# ---- Ports and addresses --------------------------------------------------------------------------


def both_protocols(objects, values):
    """Each name of the Service answers over UDP and TCP, on one port, which leads to the program's."""
    ports = {p["name"]: p for p in container(objects)["ports"]}
    for protocol in ("UDP", "TCP"):
        port = ports.get(f"dns-{protocol.lower()}", {})
        if (port.get("protocol"), port.get("containerPort")) != (protocol, _port(objects)):
            yield f"the container's port for {protocol}"
    seen = {}
    for service in _dns_services(objects):
        for port in service["spec"]["ports"]:
            seen.setdefault(service["spec"]["type"], []).append((port["protocol"], port["port"]))
            if ports.get(port["targetPort"], {}).get("protocol") != port["protocol"]:
                yield f"{service['metadata']['name']}: {port} leads nowhere"
    wanted = [("TCP", values["service"]["port"]), ("UDP", values["service"]["port"])]
    for kind, found in seen.items():
        if sorted(found) != wanted:
            yield f"{kind} has {found}"
    if values["service"]["type"] not in seen:
        yield "no Service of the type asked for"


def _dns_services(objects):
    return [s for s in of_kind(objects, "Service") if s["spec"]["ports"][0]["name"] != "metrics"]


def _port(objects):
    return settings(objects)[1]["dnproxy"]["port"]


def split_for_balancers(objects, values):
    """A balancer's Service has one protocol with service.split, else both."""
    for service in _dns_services(objects):
        if service["spec"]["type"] == "LoadBalancer":
            protocols = {p["protocol"] for p in service["spec"]["ports"]}
            if len(protocols) != (1 if values["service"]["split"] else 2):
                yield f"{service['metadata']['name']} has {protocols}"


def settings_are_read(objects, values):
    """The program takes the rendered file, and what is in force is what the values say."""
    text, _ = settings(objects)
    with tempfile.TemporaryDirectory() as directory:
        anchors = Path(directory) / "anchors.pem"
        anchors.write_text(of_kind(objects, "ConfigMap")[0]["data"].get("trust-anchors.pem", ""),
                           encoding="utf-8")
        file = Path(directory) / "dnproxy.yml"
        file.write_text(text.replace(ANCHORS, str(anchors)), encoding="utf-8")
        done = run([PROGRAM, "--check", "-c", str(file)], env=environment(objects))
    if done.returncode != 0:
        yield done.stderr.strip()
        return
    in_force = yaml.safe_load(done.stdout.replace(str(anchors), ANCHORS))
    for given, found in zip(_upstreams(objects), in_force["upstream"], strict=True):
        wanted = {"port": 853, "hostname": "", "pins": [], "keep_warm": False, **given}
        if {**wanted, "pins": _list(wanted["pins"])} != {**found, "pins": _list(found["pins"])}:
            yield f"upstream {found} instead of {wanted}"
    hosts = _hosts(objects, values)
    if _list(in_force["dnproxy"]["host"]) != hosts:
        yield f"listens on {in_force['dnproxy']['host']} instead of {hosts}"
    yield from _differences(_wanted(objects, values), in_force)


def _wanted(objects, values):
    """(section, key) -> what the values ask for, without what is looked at by itself."""
    wanted = {(section, key): value for section, keys in values["config"].items() if section != "upstream"
              for key, value in keys.items()}
    del wanted["dnproxy", "host"]
    allowed = _list(wanted["dnproxy", "allow"])
    wanted["dnproxy", "allow"] = LOOPBACK + [prefix for prefix in allowed if prefix not in LOOPBACK]
    if values["trustAnchors"]:
        wanted["tls", "trust_anchors"] = ANCHORS
    if values["nodeLocal"]["enabled"]:
        wanted["dnproxy", "port"] = values["nodeLocal"]["port"]
    if "DNPROXY_LOG_LEVEL" in environment(objects):
        wanted["log", "level"] = environment(objects)["DNPROXY_LOG_LEVEL"]
    return wanted


def _hosts(objects, values):
    given = _list(values["config"]["dnproxy"]["host"])
    return given or ["127.0.0.1", *POD_IPS.split(","), *values["nodeLocal"]["addresses"]]


def _differences(wanted, found):
    for (section, key), value in wanted.items():
        if _list(found[section][key]) != _list(value):
            yield f"{section}.{key} is {found[section][key]} instead of {value}"


def _list(value):
    return value if isinstance(value, list) else [value] if value != "" else []


def _upstreams(objects):
    given = settings(objects)[1]["upstream"]
    return given if isinstance(given, list) else [given]


def environment(objects):
    """The container's environment, as the kubelet makes it, where the program looks."""
    env = {"PATH": os.environ["PATH"]}
    for variable in container(objects).get("env", []):
        if "valueFrom" in variable:
            field = variable["valueFrom"]["fieldRef"]["fieldPath"]
            env[variable["name"]] = POD_IPS if field == "status.podIPs" else "other"
        else:
            env[variable["name"]] = re.sub(r"\$\((\w+)\)", lambda m: env.get(m[1], m[0]), variable["value"])
    return env


# ---- The security group ---------------------------------------------------------------------------


def policy_is_complete_and_minimal(objects, values):
    """In: DNS over UDP and TCP from those named.  Out: each upstream on its port over TCP.  Nothing else."""
    policies = of_kind(objects, "NetworkPolicy")
    wanted = values["networkPolicy"]["enabled"] and not values["nodeLocal"]["enabled"]
    if len(policies) != bool(wanted):
        yield f"{len(policies)} policies"
    for policy in policies:
        spec = policy["spec"]
        if sorted(spec["policyTypes"]) != ["Egress", "Ingress"]:
            yield "one direction is free"
        yield from _ways_in(spec["ingress"], objects, values)
        yield from _ways_out(spec["egress"], objects, values)


def _ways_in(rules, objects, values):
    for rule in rules:
        if not rule.get("from"):
            yield "a rule without from lets everybody in"
        if not rule.get("ports"):
            yield "a rule without ports opens all"
    dns = rules[0]
    if sorted((p["protocol"], p["port"]) for p in dns["ports"]) != [("TCP", _port(objects)),
                                                                    ("UDP", _port(objects))]:
        yield f"ports in: {dns['ports']}"
    named = values["networkPolicy"]["from"]
    peers = [{"ipBlock": {"cidr": cidr}} for cidr in named["cidrs"]] + named["peers"]
    if "*" in named["namespaces"]:
        peers.append({"namespaceSelector": {}})
    elif named["namespaces"]:
        names = {"key": "kubernetes.io/metadata.name", "operator": "In", "values": named["namespaces"]}
        peers.append({"namespaceSelector": {"matchExpressions": [names]}})
    if not _same(dns.get("from") or [], peers):
        yield f"from {dns.get('from')} instead of {peers}"
    if len(rules) != 1 + values["serviceMonitor"]["enabled"]:
        yield f"{len(rules)} rules in"


def _ways_out(rules, objects, values):
    wanted = {(_whole(u["ip"]), u.get("port", 853)) for u in _upstreams(objects)}
    found = set()
    for rule in rules:
        if not rule.get("to") or not rule.get("ports"):
            yield "a rule out that names nothing opens everything"
            continue
        if any(p["protocol"] != "TCP" or "endPort" in p for p in rule["ports"]):
            yield f"out over {rule['ports']}"
        more = values["networkPolicy"]["to"]
        blocks = [peer for peer in rule["to"] if "ipBlock" in peer and peer not in more]
        found |= {(peer["ipBlock"]["cidr"], port["port"]) for peer in blocks for port in rule["ports"]}
        others = [peer for peer in rule["to"] if peer not in blocks]
        if others and (not _same(others, more) or
                       {p["port"] for p in rule["ports"]} != {port for _, port in wanted}):
            yield f"out to {rule}"
    if found != wanted:
        yield f"out to {found} instead of {wanted}"


def _whole(address):
    return f"{address}/{ipaddress.ip_address(address).max_prefixlen}"


def _same(left, right):
    return sorted(map(str, left)) == sorted(map(str, right))


# ---- Pods that come and go ------------------------------------------------------------------------


def selectors_match(objects, values):
    """What selects pods selects these, by labels that never change; what names an object names one of these."""
    spec = workload(objects)["spec"]
    labels = spec["template"]["metadata"]["labels"]
    selectors = [spec["selector"]["matchLabels"]]
    selectors += [s["spec"]["selector"] for s in of_kind(objects, "Service")]
    selectors += [p["spec"]["selector"]["matchLabels"] for p in of_kind(objects, "PodDisruptionBudget")]
    selectors += [p["spec"]["podSelector"]["matchLabels"] for p in of_kind(objects, "NetworkPolicy")]
    name = values["nameOverride"] or "dnproxy"
    wanted = {"app.kubernetes.io/name": name, "app.kubernetes.io/instance": "dns"}
    for selector in selectors:
        if selector != wanted:
            yield f"selects {selector}"
    if not wanted.items() <= labels.items():
        yield f"pods are labelled {labels}"
    for constraint in pod(objects).get("topologySpreadConstraints", []):
        if not constraint["labelSelector"]["matchLabels"].items() <= labels.items():
            yield "a spread of other pods"
    for scaler in of_kind(objects, "HorizontalPodAutoscaler"):
        target = scaler["spec"]["scaleTargetRef"]
        if (target["kind"], target["name"]) != ("Deployment", workload(objects)["metadata"]["name"]):
            yield f"scales {target}"
    mounted = [v["configMap"]["name"] for v in pod(objects)["volumes"] if "configMap" in v]
    if mounted != [o["metadata"]["name"] for o in of_kind(objects, "ConfigMap")]:
        yield f"mounted are {mounted}"
    for monitor in of_kind(objects, "ServiceMonitor"):
        chosen = [s for s in of_kind(objects, "Service")
                  if monitor["spec"]["selector"]["matchLabels"].items() <= s["metadata"]["labels"].items()]
        offered = [port["name"] for service in chosen for port in service["spec"]["ports"]]
        if offered != [endpoint["port"] for endpoint in monitor["spec"]["endpoints"]]:
            yield "monitors other ports"


def number_of_pods(objects, values):
    """replicas stands in a Deployment that nobody scales, and nowhere else."""
    spec, kind = workload(objects)["spec"], workload(objects)["kind"]
    scaled = values["autoscaling"]["enabled"]
    wanted = values["replicas"] if kind == "Deployment" and not scaled else None
    if spec.get("replicas") != wanted:
        yield f"replicas {spec.get('replicas')} instead of {wanted}"
    if kind != ("DaemonSet" if values["nodeLocal"]["enabled"] else values["kind"]):
        yield kind
    if len(of_kind(objects, "HorizontalPodAutoscaler")) != scaled:
        yield "the scaler"
    budgets = values["podDisruptionBudget"]["enabled"] and kind == "Deployment"
    if len(of_kind(objects, "PodDisruptionBudget")) != budgets:
        yield "the budget"


def probes_ask_the_program(objects, values):
    """Liveness never depends on upstreams; what is asked reads the settings that the program reads."""
    given = container(objects)
    asks = values["readinessProbe"]["asks"] or ("process" if values["nodeLocal"]["enabled"] else "upstream")
    wanted = {"startupProbe": "--live", "livenessProbe": "--live",
              "readinessProbe": {"process": "--live", "upstream": "--ready"}[asks]}
    for probe, how in wanted.items():
        if given[probe]["exec"]["command"] != ["/dnproxy", "health", how, "-c", SETTINGS]:
            yield f"{probe} {given[probe]['exec']}"
        for key in ("periodSeconds", "timeoutSeconds", "failureThreshold"):
            if given[probe][key] != values[probe][key]:
                yield f"{probe}.{key}"
    if given["command"] + given["args"] != ["/dnproxy", "-c", SETTINGS]:
        yield "the program reads other settings"
    mounts = {m["mountPath"]: m for m in given["volumeMounts"]}
    if mounts.get("/etc/dnproxy", {}).get("readOnly") is not True:
        yield "the settings are not mounted read-only"


def ends_in_time(objects, values):
    """An ending pod is out of Services before it is ended, and ended before it is killed."""
    sleep = container(objects).get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
    if sleep >= pod(objects)["terminationGracePeriodSeconds"]:
        yield "killed while it sleeps"


def names_are_short(objects, values):
    """Names are DNS labels, ports' names have 15 characters at most, labels 63; no object is there twice."""
    for o in objects:
        meta = o["metadata"]
        if not re.fullmatch(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?", meta["name"]):
            yield f"{o['kind']} is called {meta['name']}"
        for value in meta.get("labels", {}).values():
            if not re.fullmatch(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?", value):
                yield f"label {value}"
        if meta.get("namespace") != "net":
            yield f"{o['kind']} is in {meta.get('namespace')}"
    for port in container(objects)["ports"]:
        if len(port["name"]) > 15:
            yield port["name"]
    keys = [(o["kind"], o["metadata"]["name"]) for o in objects]
    if len(keys) != len(set(keys)):
        yield f"twice: {keys}"


LAWS = [no_privilege, no_account_rights, no_loop, both_protocols, split_for_balancers, settings_are_read,
        policy_is_complete_and_minimal, selectors_match, number_of_pods, probes_ask_the_program, ends_in_time,
        names_are_short]


def broken(objects, values):
    """(law, what breaks it) for all laws."""
    return [(law.__name__, what) for law in LAWS for what in law(objects, values)]
