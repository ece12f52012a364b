"""Sets of values for the chart: accepted ones by name, and wrong ones.

Each wrong set has the name of a value, which the error must contain.
"""

from __future__ import annotations

from typing import Any

Values = dict[str, Any]

STACK: Values = {
    "dashboards": {"enabled": True},
    "pushgateway": {"enabled": True, "name": "pushgateway"},
    **{name: {"enabled": True, "labels": {"release": "kube-prometheus-stack"}} for name in ("rules", "serviceMonitor")},
}
_NO_IDS: Values = {"runAsUser": None, "runAsGroup": None, "fsGroup": None}
_CONTAINER: Values = {
    "name": "helper",
    "image": "busybox",
    "securityContext": {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    },
}
_AUTH: Values = {"existingSecret": "sign-in", "usernameKey": "user", "passwordKey": "pass"}
_GATEWAY = {"pushgateway": {"enabled": True}}

#: Ways to run the job, each of which is combined with each of FEATURES.
WAYS: dict[str, Values] = {
    "cronjob": {},
    "loop": {"mode": "loop"},
}

#: One use of each value.
FEATURES: dict[str, Values] = {
    "nothing": {},
    "enabled of an umbrella chart": {"enabled": True},
    "several flowers": {"flowers": ["https://a.example/flower", "http://b:5555", "http://[::1]:5555"]},
    "flowers in a file": {"flowers": ["@/run/secrets/flower-push-job/flowers"], "existingSecret": "mine"},
    "flower sign-in": {"flower": {"auth": _AUTH}},
    "pushgateway sign-in": {"pushgateway": {"url": "https://push.example/prefix", "auth": _AUTH}},
    "secret with default keys": {"flower": {"auth": {"existingSecret": "basic"}}},
    "mounted secret": {"existingSecret": "mine", "settings": {"PUSH_JOB_FLOWER_TOKEN_FILE": "/run/secrets/x/token"}},
    "job and grouping": {"job": "celery", "grouping": {"team": "shop", "site": 2}},
    "some extras": {"with": ["queues", "runtimes"]},
    "all extras": {"with": ["all"]},
    "no extras": {"with": []},
    "deadline": {"deadline": 40, "logFormat": "logfmt"},
    "settings": {"settings": {"PUSH_JOB_PAGE_SIZE": 5100, "PUSH_JOB_VERBOSE": True}},
    "every five minutes": {"cronjob": {"schedule": "*/5 * * * *"}},
    "every quarter of an hour": {"cronjob": {"schedule": "0,15,30,45 * * * *"}, "loop": {"every": 900}},
    "schedule with ranges": {"cronjob": {"schedule": "0-29/5,30-59/10 * * * *"}},
    "suspended": {"cronjob": {"suspend": True, "ttlSecondsAfterFinished": 60, "failedJobsHistoryLimit": 1}},
    "state": {"state": {"enabled": True, "size": "2Gi", "storageClassName": "fast"}},
    "state in my claim": {"state": {"enabled": True, "existingClaim": "mine"}},
    "image": {"image": {"repository": "r.example/t/i", "tag": "x", "pullPolicy": "Always"}},
    "image digest": {"image": {"repository": "r.example/t/i", "digest": "sha256:" + "0" * 64}},
    "global registry": {"global": {"imageRegistry": "mirror.example:5000/hub"}, **_GATEWAY},
    "global values of other charts": {"global": {"storageClass": "fast"}},
    "pull secrets": {"imagePullSecrets": [{"name": "registry"}], **_GATEWAY},
    "resources": {"resources": {"limits": {"cpu": "200m"}}},
    "openshift": {
        "podSecurityContext": _NO_IDS,
        "pushgateway": {"enabled": True, "podSecurityContext": _NO_IDS},
        "networkPolicy": {
            "enabled": True,
            "dns": {
                "namespace": "openshift-dns",
                "podLabels": {"dns.operator.openshift.io/daemonset-dns": "default"},
                "port": 5353,
            },
        },
    },
    "variables": {
        "extraEnv": [{"name": "NO_PROXY", "value": ".svc"}],
        "extraEnvFrom": [{"secretRef": {"name": "more"}}],
    },
    "volumes": {
        "extraVolumes": [{"name": "ca", "configMap": {"name": "ca"}}],
        "extraVolumeMounts": [{"name": "ca", "mountPath": "/ca"}],
    },
    "containers": {
        "extraContainers": [_CONTAINER],
        "initContainers": [{**_CONTAINER, "name": "proxy", "restartPolicy": "Always"}],
    },
    "names and DNS": {
        "hostAliases": [{"ip": "10.0.0.1", "hostnames": ["flower"]}],
        "dnsConfig": {"options": [{"name": "ndots", "value": "1"}]},
    },
    "common labels": {"commonLabels": {"team": "shop", "release": "mine"}, **_GATEWAY},
    "annotations": {"annotations": {"note": "x"}, "podAnnotations": {"note": "second"}, "podLabels": {"team": "shop"}},
    "placement": {
        "nodeSelector": {"disk": "ssd"},
        "tolerations": [{"key": "spot", "operator": "Exists"}],
        "affinity": {"nodeAffinity": {}},
        "topologySpreadConstraints": [
            {"maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "ScheduleAnyway"}
        ],
        "priorityClassName": "high",
    },
    "own service account": {"serviceAccount": {"create": False, "name": "mine"}},
    "annotated service account": {"serviceAccount": {"annotations": {"role": "none"}}},
    "network policy": {"networkPolicy": {"enabled": True}},
    "network policy with own pods": {
        "networkPolicy": {
            "enabled": True,
            "flower": {"podLabels": {"app": "flower"}, "port": 8888},
            "pushgateway": {"podLabels": {"app": "push"}},
            "extraEgress": [{"to": [{"ipBlock": {"cidr": "10.0.0.0/8"}}]}],
        }
    },
    "pushgateway with a volume": {"pushgateway": {"enabled": True, "persistence": {"enabled": True, "size": "2Gi"}}},
    "pushgateway with my claim": {
        "pushgateway": {"enabled": True, "persistence": {"enabled": True, "existingClaim": "groups"}}
    },
    "pushgateway placement": {
        "pushgateway": {
            "enabled": True,
            "name": "push",
            "image": {"repository": "quay.example/push", "digest": "sha256:" + "1" * 64},
            "extraArgs": ["--log.level=debug"],
            "annotations": {"note": "x"},
            "podLabels": {"team": "shop"},
            "podAnnotations": {"note": "second"},
            "nodeSelector": {"disk": "ssd"},
            "tolerations": [{"key": "spot", "operator": "Exists"}],
            "affinity": {"nodeAffinity": {}},
            "priorityClassName": "high",
        }
    },
    "service monitor": {
        **_GATEWAY,
        "serviceMonitor": {
            "enabled": True,
            "namespace": "monitoring",
            "interval": "30s",
            "scrapeTimeout": "10s",
            "scheme": "https",
            "tlsConfig": {"insecureSkipVerify": True},
            "basicAuth": {"username": {"name": "s", "key": "u"}, "password": {"name": "s", "key": "p"}},
            "relabelings": [{"action": "labeldrop", "regex": "endpoint"}],
            "metricRelabelings": [{"action": "drop", "sourceLabels": ["__name__"], "regex": "go_.*"}],
        },
    },
    "service monitor of another pushgateway": {
        "serviceMonitor": {
            "enabled": True,
            "selector": {"app": "push"},
            "namespaceSelector": {"any": True},
            "port": "metrics",
            "authorization": {"credentials": {"name": "s", "key": "token"}},
        }
    },
    "rules": {
        "rules": {
            "enabled": True,
            "namespace": "monitoring",
            "alertLabels": {"team": "shop"},
            "ignoredTasks": ["shop\\.try_.*", "other"],
            "failureIgnore": "third",
            "additionalRules": [{"record": "a:b:c", "expr": "1"}],
            "for": {"FlowerDown": "9m"},
            "severity": {"FlowerDown": "info"},
            "disabled": ["FlowerUnsteady"],
            "runbookUrl": "https://wiki.example/alerts",
            "grafanaUrl": "https://grafana.example/",
        }
    },
    "limits of the rules": {"rules": {"enabled": True, "age": 2000, "waitSeconds": 60, "stuckSeconds": 600}},
    "dashboards": {
        "dashboards": {"enabled": True, "namespace": "grafana", "annotations": {"grafana_folder": "Celery"}}
    },
    "more objects": {
        "extraObjects": [
            {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": "{{ .Release.Name }}-more", "labels": {"app.kubernetes.io/name": "more"}},
            }
        ]
    },
    "namespace": {"namespaceOverride": "monitoring", **_GATEWAY},
    "names": {"nameOverride": "celery", "fullnameOverride": "celery-metrics"},
}

#: Sets that fit to one way only.
MORE: dict[str, Values] = {
    "sharded": {"shards": 7, **STACK},
    "stack": STACK,
    # Without dashboards, which take long to read and change with few values.
    **{
        f"stack, {name}": {**STACK, "dashboards": {}, **FEATURES[name]}
        for name in ("common labels", "namespace", "names")
    },
    "stack every quarter of an hour": {**STACK, "cronjob": {"schedule": "*/15 * * * *"}},
    "shards with state": {"shards": 2, "state": {"enabled": True, "accessModes": ["ReadWriteMany"]}},
    "hourly without rules": {"cronjob": {"schedule": "@hourly"}},
    "weekdays without rules": {"cronjob": {"schedule": "*/5 8-18 * * MON-FRI"}},
}


def merged(left: Values, right: Values) -> Values:
    """Merge two sets of values as helm does; the right one has precedence."""
    both = left.keys() & right.keys()
    maps = {key: merged(left[key], right[key]) for key in both if isinstance(right[key], dict) and left[key]}
    return {**left, **right, **maps}


SETS: dict[str, Values] = {
    **{f"{way}, {name}": merged(WAYS[way], values) for way in WAYS for name, values in FEATURES.items()},
    **MORE,
}

#: Wrong values, and a name that the error contains.
REFUSED: list[tuple[Values, str]] = [
    ({"shards": 0}, "/shards"),
    ({"shards": 2, "mode": "loop"}, "/shards"),
    ({"mode": "both"}, "/mode"),
    ({"enabled": False}, "enabled"),
    ({"with": ["quues"]}, "/with/0"),
    ({"flowers": []}, "/flowers"),
    ({"flowers": ["flower:5555"]}, "/flowers/0"),
    ({"flowers": ["@flowers"]}, "/flowers/0"),
    ({"flowers": ["http://me:secret@flower:5555"]}, "flower.auth.existingSecret"),
    ({"pushgateway": {"url": "http://me:secret@push:9091"}}, "pushgateway.auth.existingSecret"),
    ({"pushgateway": {"url": "pushgateway:9091"}}, "/pushgateway/url"),
    ({"flower": {"auth": _AUTH}, "settings": {"PUSH_JOB_FLOWER_USERNAME": "me"}}, "PUSH_JOB_FLOWER_USERNAME"),
    ({"flower": {"auth": _AUTH}, "extraEnv": [{"name": "PUSH_JOB_FLOWER_PASSWORD"}]}, "PUSH_JOB_FLOWER_PASSWORD"),
    ({"flower": {"auth": {"secret": "x"}}}, "/flower/auth"),
    ({"settings": {"PUSH_JOB_PAGESIZE": 1}}, "PUSH_JOB_PAGESIZE"),
    ({"settings": {"PUSH_JOB_FLOWER": "http://a:1"}}, "PUSH_JOB_FLOWER"),
    ({"settings": {"PUSH_JOB_STATE_FILE": "/x"}, "state": {"enabled": True}}, "PUSH_JOB_STATE_FILE"),
    ({"grouping": {"instance": "x"}}, "instance"),
    ({"grouping": {"namespace": "x"}}, "grouping.namespace"),
    ({"deadline": 55}, "deadline"),
    ({"cronjob": {"shedule": "* * * * *"}}, "shedule"),
    ({"cronjob": {"schedule": "every minute"}}, "/cronjob/schedule"),
    ({"cronjob": {"schedule": "60 * * * *"}}, 'cronjob.schedule: "60"'),
    ({"cronjob": {"schedule": "* 24 * * *"}}, 'cronjob.schedule: "24"'),
    ({"cronjob": {"schedule": "*/0 * * * *"}}, 'cronjob.schedule: "*/0"'),
    ({"cronjob": {"schedule": "* * * * 8"}}, 'cronjob.schedule: "8"'),
    ({"cronjob": {"schedule": "* * * *"}}, "/cronjob/schedule"),
    ({"cronjob": {"schedule": "@hourly"}, "rules": {"enabled": True}}, "cronjob.schedule"),
    ({"cronjob": {"schedule": "*/20 * * * *"}, "rules": {"enabled": True}}, "cronjob.schedule"),
    ({"cronjob": {"schedule": "* 8-18 * * *"}, "rules": {"enabled": True}}, "cronjob.schedule"),
    ({"cronjob": {"schedule": "*/10 * * * *"}, "rules": {"enabled": True, "age": 300}}, "rules.age"),
    ({"mode": "loop", "loop": {"every": 1200}, "rules": {"enabled": True}}, "loop.every"),
    ({"loop": {"every": 0}}, "/loop/every"),
    ({"image": {"pullPolicy": "Sometimes"}}, "/image/pullPolicy"),
    ({"image": {"digest": "0" * 64}}, "/image/digest"),
    ({"global": {"imageRegistry": "https://r.example"}}, "/global/imageRegistry"),
    ({"extraEnv": [{"name": "PUSH_JOB_GROUPING", "value": "a=b"}]}, "/extraEnv/0/name"),
    ({"extraContainers": [{"name": "push-job", "image": "x"}]}, "/extraContainers/0/name"),
    ({"podLabels": {"app.kubernetes.io/name": "x"}}, "/podLabels"),
    ({"commonLabels": {"app.kubernetes.io/instance": "x"}}, "/commonLabels"),
    ({"podAnnotations": {"checksum/settings": "x"}}, "/podAnnotations"),
    ({"rules": {"labels": {"app.kubernetes.io/name": "x"}}}, "/rules/labels"),
    ({"dashboards": {"labels": {"helm.sh/chart": "x"}}}, "/dashboards/labels"),
    ({"serviceMonitor": {"enabled": True}}, "serviceMonitor.selector"),
    ({"serviceMonitor": {"scheme": "ftp"}}, "/serviceMonitor/scheme"),
    ({"pushgateway": {"extraArgs": ["--persistence.file=/x"]}}, "/pushgateway/extraArgs/0"),
    ({"networkPolicy": {"flower": {"port": 0}}}, "/networkPolicy/flower/port"),
    ({"extraObjects": [{"kind": "ConfigMap"}]}, "/extraObjects/0"),
    ({"namespaceOverride": "My_Namespace"}, "/namespaceOverride"),
    ({"rules": {"age": -1}}, "/rules/age"),
    ({"rules": {"grafanaUrl": "grafana.example"}}, "/rules/grafanaUrl"),
    ({"rules": {"runbookUrl": "docs/alerts.md"}}, "/rules/runbookUrl"),
    ({"rules": {"enabled": True, "for": {"FlowrDown": "5m"}}}, "FlowrDown"),
    ({"rules": {"enabled": True, "severity": {"FlowrDown": "info"}}}, "FlowrDown"),
    ({"rules": {"enabled": True, "disabled": ["FlowrDown"]}}, "FlowrDown"),
    ({"nonsense": 1}, "nonsense"),
]
