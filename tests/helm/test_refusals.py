# SPDX-License-Identifier: MIT
"""What is misspelt, out of range, or wrong together installs nothing, and the message names it."""

import chart
import pytest

# name of the mistake: (values, words of the message)
MISTAKES = {
    "an unknown value": ({"replica": 3}, "'replica' not allowed"),
    "a misspelt setting": ({"config": {"cache": {"sise": 1}}}, "'sise' not allowed"),
    "a misspelt section": ({"config": {"logs": {}}}, "'logs' not allowed"),
    "a misspelt key of an upstream": ({"config": {"upstream": [{"ip": "192.0.2.1", "host": "a.example"}]}},
                                      "'host' not allowed"),
    "a misspelt key of a lone upstream": ({"config": {"upstream": {"ip": "192.0.2.1", "pin": "x"}}},
                                          "'pin' not allowed"),
    "an upstream without address": ({"config": {"upstream": [{"hostname": "a.example"}]}},
                                    "missing property 'ip'"),
    "an upstream by name": ({"config": {"upstream": [{"ip": "dns.example"}]}}, "/config/upstream/0/ip"),
    "no upstream": ({"config": {"upstream": []}}, "/config/upstream"),
    "nine upstreams": ({"config": {"upstream": [{"ip": f"192.0.2.{i}"} for i in range(9)]}},
                       "/config/upstream"),
    "an upstream on a link": ({"config": {"upstream": [{"ip": "fe80::1%eth0"}]}}, "/config/upstream/0/ip"),
    "an address as hostname": ({"config": {"upstream": [{"ip": "192.0.2.1", "hostname": "a b"}]}}, "hostname"),
    "half a pin": ({"config": {"upstream": [{"ip": "192.0.2.1", "pins": ["sha256/AAAA"]}]}}, "pins"),
    "a number as text": ({"config": {"cache": {"size": "512"}}}, "/config/cache/size"),
    "text as a truth": ({"config": {"log": {"queries": "yes"}}}, "/config/log/queries"),
    "a level that is none": ({"config": {"log": {"level": "trace"}}}, "/config/log/level"),
    "a port that needs a right": ({"config": {"dnproxy": {"port": 53}}}, "/config/dnproxy/port"),
    "nobody allowed": ({"config": {"dnproxy": {"allow": []}}}, "/config/dnproxy/allow"),
    "an address without its length": ({"config": {"dnproxy": {"allow": ["10.0.0.0"]}}},
                                      "/config/dnproxy/allow/0"),
    "another kind": ({"kind": "StatefulSet"}, "/kind"),
    "the cluster's resolver": ({"dnsPolicy": "ClusterFirst"}, "/dnsPolicy"),
    "no resolver and none given": ({"dnsPolicy": "None"}, "nameservers"),
    "root": ({"runAsUser": 0}, "/runAsUser"),
    "a digest that is none": ({"image": {"digest": "sha256:12"}}, "/image/digest"),
    "a type of Service that is none": ({"service": {"type": "ExternalName"}}, "/service/type"),
    "a misspelt value of the Service": ({"service": {"loadbalancerIP": "192.0.2.1"}},
                                        "'loadbalancerIP' not allowed"),
    "an upstream in the environment": ({"extraEnv": [{"name": "DNPROXY_UPSTREAM_IP", "value": "192.0.2.1"}]},
                                       "/extraEnv/0/name"),
    "a peer that is none": ({"networkPolicy": {"from": {"peers": [{"cidr": "10.0.0.0/8"}]}}},
                            "'cidr' not allowed"),
    "an empty peer": ({"networkPolicy": {"from": {"peers": [{}]}}}, "/networkPolicy/from/peers/0"),
    "anchors that are none": ({"trustAnchors": "/etc/ssl/ca.pem"}, "/trustAnchors"),
    "a quantity that is none": ({"resources": {"limits": {"memory": "32MB"}}}, "/resources/limits/memory"),
    "nobody may ask": ({"networkPolicy": {"from": {"namespaces": []}}}, "networkPolicy.from names nobody"),
    "itself as upstream": ({"service": {"clusterIP": "10.96.0.53"},
                            "config": {"upstream": [{"ip": "10.96.0.53"}]}}, "round for ever"),
    "a scaled DaemonSet": ({"kind": "DaemonSet", "autoscaling": {"enabled": True}}, "cannot be scaled"),
    "a scaled node-local instance": ({"nodeLocal": {"enabled": True}, "autoscaling": {"enabled": True}},
                                     "cannot be scaled"),
    "a scale upside down": ({"autoscaling": {"enabled": True, "minReplicas": 11}},
                            "more than autoscaling.maxReplicas"),
    "two masters of an address": ({"nodeLocal": {"enabled": True}, "config": {"dnproxy": {"host": "0.0.0.0"}}},
                                  "nodeLocal.addresses"),
    "killed while it sleeps": ({"preStopSeconds": 10}, "terminationGracePeriodSeconds"),
    "two sets of anchors": ({"trustAnchors": "-----BEGIN CERTIFICATE-----\nA\n-----END CERTIFICATE-----",
                             "config": {"tls": {"trust_anchors": "/a.pem"}}}, "give one of them"),
    "a split inside the cluster": ({"service": {"split": True}}, "service.split is for"),
    "metrics from nowhere": ({"serviceMonitor": {"enabled": True}}, "serves no metrics"),
    "TTLs upside down": ({"config": {"cache": {"min_ttl": 60, "max_ttl": 59}}}, "max_ttl is less"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_renders_nothing_and_is_named(name):
    values, words = MISTAKES[name]
    with pytest.raises(chart.Refused) as refusal:
        chart.template(values=values)
    assert words in str(refusal.value)


def test_a_cluster_that_is_too_old_is_refused():
    with pytest.raises(chart.Refused) as refusal:
        chart.template(more=["--kube-version", "1.25.16"])
    assert "incompatible with Kubernetes v1.25.16" in str(refusal.value)
