"""Storage classes: `shared` (all nodes see the volume) and `node-local` (one node does).

Both are rancher's local-path-provisioner, the one that KIND ships. One instance serves either
shared or node-local volumes, so there are two. Pure: manifests only.
"""

import json
from typing import Any

from tests.cluster.archives import BUSYBOX, PROVISIONER
from tests.cluster.node import PRIVATE_FOLDER, SHARED_FOLDER

SHARED_CLASS = "shared"
"""ReadWriteOnce, ReadOnlyMany, ReadWriteMany; on the folder that all nodes share."""
NODE_LOCAL_CLASS = "node-local"
"""ReadWriteOnce only, as KIND's class `standard`; on the folder that each node has for itself."""

NAMESPACE = "local-path-storage"
_ACCOUNT = "local-path-provisioner"
_HELPER_POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "helper-pod"},
    "spec": {
        "priorityClassName": "system-node-critical",
        "tolerations": [{"operator": "Exists"}],
        "containers": [{"name": "helper-pod", "image": BUSYBOX, "imagePullPolicy": "Never"}],
    },
}


def manifests() -> list[dict[str, Any]]:
    """Build everything that the cluster is given for storage."""
    account = {"name": _ACCOUNT, "namespace": NAMESPACE}
    local = [{"node": "DEFAULT_PATH_FOR_NON_LISTED_NODES", "paths": [f"{PRIVATE_FOLDER}/volumes"]}]
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}},
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": account},
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": _ACCOUNT},
            "roleRef": {
                "apiGroup": "rbac.authorization.k8s.io",
                "kind": "ClusterRole",
                "name": "cluster-admin",
            },
            "subjects": [{"kind": "ServiceAccount", **account}],
        },
        *_instance(SHARED_CLASS, {"sharedFileSystemPath": f"{SHARED_FOLDER}/volumes"}),
        *_instance(NODE_LOCAL_CLASS, {"nodePathMap": local}),
    ]


def _instance(storage_class: str, paths: dict[str, Any]) -> list[dict[str, Any]]:
    provisioner = f"gkm.test/{storage_class}"
    name = f"provisioner-{storage_class}"
    config = {
        "config.json": json.dumps(paths),
        "setup": '#!/bin/sh\nset -eu\nmkdir -m 0777 -p "$VOL_DIR"\n',
        "teardown": '#!/bin/sh\nset -eu\nrm -rf "$VOL_DIR"\n',
        "helperPod.yaml": json.dumps(_HELPER_POD),
    }
    return [
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": name, "namespace": NAMESPACE},
            "data": config,
        },
        _deployment(name, provisioner),
        {
            "apiVersion": "storage.k8s.io/v1",
            "kind": "StorageClass",
            "metadata": {"name": storage_class},
            "provisioner": provisioner,
            "volumeBindingMode": "WaitForFirstConsumer",
            "reclaimPolicy": "Delete",
        },
    ]


def _deployment(name: str, provisioner: str) -> dict[str, Any]:
    labels = {"app": name}
    container = {
        "name": "provisioner",
        "image": PROVISIONER,
        "imagePullPolicy": "Never",
        "command": ["local-path-provisioner", "start", "--config=/config/config.json"],
        "args": [
            f"--provisioner-name={provisioner}",
            f"--configmap-name={name}",
            f"--helper-image={BUSYBOX}",
            f"--service-account-name={_ACCOUNT}",
        ],
        "env": [{"name": "POD_NAMESPACE", "value": NAMESPACE}],
        "volumeMounts": [{"name": "config", "mountPath": "/config"}],
    }
    spec = {
        "serviceAccountName": _ACCOUNT,
        "containers": [container],
        "volumes": [{"name": "config", "configMap": {"name": name}}],
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": spec},
        },
    }
