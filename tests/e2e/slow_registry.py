"""The registry behind a proxy that hands out layers at a few kilobytes a second.

It runs in the cluster, so that it works on any: a pod of GKM's image behind a Service, addressed by
its cluster IP because a test cluster may have no DNS.
"""

import json
import time
from pathlib import Path

from tests.stage import Stage

NAMESPACE = "gkm-slow-registry"
_PORT = 5000
_PROGRAM = Path(__file__).with_name("slow_proxy.py")


def start(stage: Stage) -> str:
    """Start the proxy; returns its host:port."""
    labels = {"app": "slow-registry"}
    meta = {"name": "slow-registry", "namespace": NAMESPACE}
    container = {
        "name": "proxy",
        "image": stage.gkm_image,
        "command": ["/opt/gkm/bin/python", "-u", "-c", _PROGRAM.read_text(), stage.registry],
    }
    objects = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}},
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {**meta, "labels": labels},
            "spec": {"terminationGracePeriodSeconds": 0, "containers": [container]},
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": meta,
            "spec": {"selector": labels, "ports": [{"port": _PORT}]},
        },
    ]
    for obj in objects:
        stage.kubectl("apply", "-f", "-", stdin=json.dumps(obj))
    stage.kubectl("wait", "-n", NAMESPACE, "pod/slow-registry", "--for=condition=Ready")
    time.sleep(1)
    address = "jsonpath={.spec.clusterIP}"
    found = stage.kubectl("get", "service", "slow-registry", "-n", NAMESPACE, "-o", address)
    return f"{found.strip()}:{_PORT}"


def stop(stage: Stage) -> None:
    """Take the proxy away."""
    stage.kubectl("delete", "namespace", NAMESPACE, "--wait=false")
