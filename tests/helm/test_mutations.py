# SPDX-License-Identifier: MIT
"""The laws and the validators find what is wrong: each breaks the chart or an object, and must be caught."""

import copy

import chart
import laws
import pytest

# what is broken: (case, template, text there, text instead, law that finds it)
BROKEN = {
    "root is not ruled out": ("default", "workload", "runAsNonRoot: true", "runAsNonRoot: false",
                              "no_privilege"),
    "a file system to write to": ("default", "workload", "readOnlyRootFilesystem: true",
                                  "readOnlyRootFilesystem: false", "no_privilege"),
    "a capability is kept": ("default", "workload", "drop: [ALL]", "add: [NET_BIND_SERVICE]", "no_privilege"),
    "privileges may grow": ("default", "workload", "allowPrivilegeEscalation: false",
                            "allowPrivilegeEscalation: true", "no_privilege"),
    "no seccomp profile": ("default", "workload", "type: RuntimeDefault", "type: Unconfined", "no_privilege"),
    "the host's network": ("default", "workload", "{{- if $local }}\n      hostNetwork",
                           "{{- if true }}\n      hostNetwork", "no_privilege"),
    "a path of the host": ("default", "workload",
                           "configMap:\n            name: {{ include \"dnproxy.fullname\" . | quote }}",
                           "hostPath: {path: /etc}", "no_privilege"),
    "a token in the pod": ("default", "workload", "automountServiceAccountToken: false",
                           "automountServiceAccountToken: true", "no_account_rights"),
    "another account": ("default", "workload", "{{ include \"dnproxy.serviceAccountName\" . | quote }}", "default",
                        "no_account_rights"),
    "the cluster's resolver": ("default", "workload", "{{ .Values.dnsPolicy }}", "ClusterFirst", "no_loop"),
    "variables of Services": ("default", "workload", "enableServiceLinks: false", "enableServiceLinks: true",
                              "no_loop"),
    "no TCP": ("default", "service", '$both := list "udp" "tcp"', '$both := list "udp"', "both_protocols"),
    "TCP sent to the port for UDP": ("default", "service", "targetPort: dns-{{ . }}", "targetPort: dns-udp",
                                     "both_protocols"),
    "both protocols in a split balancer": ("split", "service", '"protocols" (list .)', '"protocols" $both',
                                           "split_for_balancers"),
    "a setting that is lost": ("all-settings", "_helpers.tpl", "{{- $tree := deepCopy .Values.config -}}",
                               "{{- $tree := omit (deepCopy .Values.config) \"cache\" -}}",
                               "settings_are_read"),
    "YAML the program does not read": ("minimal", "_helpers.tpl", '{{- toYaml $tree -}}',
                                       '{{- toYaml (set $tree "log" dict) -}}', "settings_are_read"),
    "the port of pods on the node": ("node-local", "_helpers.tpl", '(include "dnproxy.port" . | int)', "5353",
                                     "settings_are_read"),
    "addresses that are lost": ("default", "workload", "fieldPath: status.podIPs", "fieldPath: status.podIP",
                                "settings_are_read"),
    "DNS may go out": ("default", "networkpolicy", "  egress:\n",
                       "  egress:\n    - ports: [{protocol: UDP, port: 53}]\n",
                       "policy_is_complete_and_minimal"),
    "everything may go out": ("default", "networkpolicy", "  egress:\n", "  egress:\n    - {}\n",
                              "policy_is_complete_and_minimal"),
    "an upstream's whole network": ("default", "networkpolicy", "ternary 128 32", "ternary 128 24",
                                    "policy_is_complete_and_minimal"),
    "the usual port for all": ("many-upstreams", "networkpolicy", "port: {{ .port }}", "port: 853",
                               "policy_is_complete_and_minimal"),
    "no TCP in": ("default", "networkpolicy", "- protocol: TCP\n          port: {{ include",
                  "- protocol: UDP\n          port: {{ include", "policy_is_complete_and_minimal"),
    "the Service's port in": ("default", "networkpolicy", 'port: {{ include "dnproxy.port" . }}', "port: 53",
                              "policy_is_complete_and_minimal"),
    "everybody in": ("load-balancer", "networkpolicy", "{{- range .cidrs }}", "{{- range list }}",
                     "policy_is_complete_and_minimal"),
    "out is free": ("default", "networkpolicy", "[Ingress, Egress]", "[Ingress]",
                    "policy_is_complete_and_minimal"),
    "another selector": ("default", "pdb", '{{- include "dnproxy.selector" . | nindent 6 }}', "app: dnproxy",
                         "selectors_match"),
    "a selector that changes": ("default", "workload", '{{- include "dnproxy.selector" . | nindent 6 }}',
                                '{{- include "dnproxy.labels" . | nindent 6 }}', "selectors_match"),
    "somebody else is scaled": ("autoscaling", "hpa",
                                "kind: Deployment\n    name: {{ include \"dnproxy.fullname\" . | quote }}",
                                "kind: Deployment\n    name: dnproxy", "selectors_match"),
    "a number for what is scaled": ("autoscaling", "workload", "(not .Values.autoscaling.enabled)", "true",
                                    "number_of_pods"),
    "a number for a DaemonSet": ("daemonset", "workload", 'and (eq $kind "Deployment")', 'and true',
                                 "number_of_pods"),
    "liveness that needs upstreams": ("default", "workload", '(list "live" .Values.livenessProbe)',
                                      '(list "ready" .Values.livenessProbe)', "probes_ask_the_program"),
    "probes of other settings": ("default", "_helpers.tpl", '"-c", "/etc/dnproxy/dnproxy.yml"]',
                                 '"-c", "/etc/dnproxy.yml"]', "probes_ask_the_program"),
    "killed while it sleeps": ("default", "workload",
                               "terminationGracePeriodSeconds: {{ .Values.terminationGracePeriodSeconds }}",
                               "terminationGracePeriodSeconds: 5", "ends_in_time"),
    "a name that is too long": ("default", "service", "(list $ .name dict",
                                '(list $ (printf "%s-%s" .name (repeat 60 "a")) dict', "names_are_short"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_chart_breaks_a_law(tmp_path, name):
    case, file, there, instead, law = BROKEN[name]
    broken = chart.copy_of_chart(tmp_path)
    path = broken / "templates" / (file if "." in file else f"{file}.yaml")
    text = path.read_text(encoding="utf-8")
    assert there in text, "the chart has changed: break it in another way"
    path.write_text(text.replace(there, instead), encoding="utf-8")
    found = laws.broken(chart.template(case, chart=broken), chart.merged(case))
    assert law in {which for which, _ in found}


# what is wrong: (kind, path in the object, key there, value instead)
WRONG = {
    "a misspelt field of the container": ("Deployment", "spec.template.spec.containers.0.securityContext",
                                          "readOnlyRootFilesytem", True),
    "a misspelt field of the pod": ("Deployment", "spec.template.spec", "automountServiceAcountToken", False),
    "a field one level too high": ("Deployment", "spec", "hostNetwork", True),
    "text as a number": ("Deployment", "spec", "replicas", "two"),
    "a mapping for a list": ("Deployment", "spec.template.spec", "tolerations", {"operator": "Exists"}),
    "no selector": ("Deployment", "spec", "selector", None),
    "a misspelt sleep": ("Deployment", "spec.template.spec.containers.0.lifecycle.preStop.sleep", "second", 5),
    "a protocol in small letters": ("Service", "spec.ports.0", "protocol", 17),
    "a misspelt field of a Service": ("Service", "spec", "trafficDistributions", "PreferClose"),
    "a misspelt field of a policy": ("NetworkPolicy", "spec", "egres", []),
    "a port without a number": ("NetworkPolicy", "spec.ingress.0.ports.0", "endPort", "all"),
    "a misspelt field of a monitor": ("ServiceMonitor", "spec.endpoints.0", "intervall", "30s"),
    "a misspelt field of the metadata": ("ConfigMap", "metadata", "label", {}),
    "a misspelt budget": ("PodDisruptionBudget", "spec", "maxUnavailible", 1),
}


def _wrong(objects, kind, path, key, value):
    changed = copy.deepcopy(objects)
    at = chart.of_kind(changed, kind)[0]
    for step in path.split("."):
        at = at[int(step) if step.isdigit() else step]
    if value is None:
        del at[key]
    else:
        at[key] = value
    return changed


def test_the_validators_find_each_mistake():
    objects = chart.template("service-monitor")
    lists = [objects, *[_wrong(objects, *change) for change in WRONG.values()]]
    whole, *found = chart.validate(lists)
    assert whole == []
    assert [name for name, wrong in zip(WRONG, found, strict=True) if len(wrong) == 0] == []
    for (kind, _, key, _), wrong in zip(WRONG.values(), found, strict=True):
        assert all(line.startswith(f"{kind}/") for line in wrong), wrong
        assert any(key in line for line in wrong), wrong


def test_the_validators_find_a_kind_that_is_none():
    gone = {"apiVersion": "policy/v1beta1", "kind": "PodSecurityPolicy", "metadata": {"name": "a"}, "spec": {}}
    never = {"apiVersion": "apps/v1", "kind": "Deploymant", "metadata": {"name": "a"}}
    assert chart.validate([[gone,
                            never]]) == [["PodSecurityPolicy/a: policy/v1beta1 PodSecurityPolicy is not known",
                                                "Deploymant/a: apps/v1 Deploymant is not known"]]
