"""Check pods against the restricted Pod Security Standard of Kubernetes.

Source: kubernetes.io, "Pod Security Standards", profiles Baseline and Restricted. This check is stricter in three
points: restricted fields that these pods do not need must be absent; the user must be a number, so that the kubelet can
verify it; the root file system must be read-only.
"""

from typing import Any

Pod = dict[str, Any]

VOLUMES = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}
POD_CONTEXT = {"runAsNonRoot", "runAsUser", "runAsGroup", "fsGroup", "seccompProfile"}
CONTAINER_CONTEXT = {"allowPrivilegeEscalation", "readOnlyRootFilesystem", "capabilities"}


def violations(pod: Pod) -> list[str]:
    """Return the names of the fields that violate a rule."""
    context = pod.get("securityContext", {})
    kept = {
        **{name: name not in pod for name in ("hostNetwork", "hostPID", "hostIPC", "hostUsers")},
        **{f"volume {volume['name']}": volume.keys() - {"name"} <= VOLUMES for volume in pod.get("volumes", [])},
        "securityContext": context.keys() <= POD_CONTEXT,
        "runAsNonRoot": context.get("runAsNonRoot") is True,
        "runAsUser": context.get("runAsUser", 0) > 0,
        "seccompProfile": context.get("seccompProfile") == {"type": "RuntimeDefault"},
    }
    broken = [rule for rule, is_kept in kept.items() if not is_kept]
    for kind in ("initContainers", "containers", "ephemeralContainers"):
        for container in pod.get(kind, []):
            broken += [f"{container['name']}: {rule}" for rule in _of_container(container)]
    return broken


def _of_container(container: dict[str, Any]) -> list[str]:
    context = container.get("securityContext", {})
    kept = {
        "securityContext": context.keys() <= CONTAINER_CONTEXT,
        "allowPrivilegeEscalation": context.get("allowPrivilegeEscalation") is False,
        "capabilities": context.get("capabilities") == {"drop": ["ALL"]},
        "readOnlyRootFilesystem": context.get("readOnlyRootFilesystem") is True,
        "hostPort": all("hostPort" not in port for port in container.get("ports", [])),
    }
    return [rule for rule, is_kept in kept.items() if not is_kept]
