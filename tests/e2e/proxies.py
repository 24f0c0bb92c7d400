"""The registry behind proxies with one fault each: slow layers, changed bytes, not there yet.

They run in the cluster, so that it works on any: pods of GKM's image behind Services, addressed by
its cluster IP because a test cluster may have no DNS.
"""

import json
from dataclasses import replace
from pathlib import Path

from tests.stage import Stage

NAMESPACE = "gkm-registries"
SLOW, CRAWLING, TORN, LATE = "slow", "crawling", "torn", "late"
_ALL = (SLOW, CRAWLING, TORN, LATE)
_PORT = 5000
_PROGRAM = Path(__file__).with_name("proxy_program.py")


def start(stage: Stage) -> Stage:
    """Give every proxy its address; all but the one that comes late also run."""
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
    stage.kubectl("apply", "-f", "-", stdin=json.dumps(namespace))
    made = replace(stage, proxies={name: _service(stage, name) for name in _ALL})
    for name in (SLOW, CRAWLING, TORN):
        run(made, name)
    return made


def run(stage: Stage, name: str) -> None:
    """Start the program of one proxy, and wait until it serves."""
    command = ["/opt/gkm/bin/python", "-u", "-c", _PROGRAM.read_text(), stage.registry, name]
    probe = {"tcpSocket": {"port": _PORT}, "periodSeconds": 1}
    image = stage.gkm_image
    container = {"name": "proxy", "image": image, "command": command, "readinessProbe": probe}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": NAMESPACE, "labels": {"app": name}},
        "spec": {"terminationGracePeriodSeconds": 0, "containers": [container]},
    }
    stage.kubectl("apply", "-f", "-", stdin=json.dumps(pod))
    wait = ("wait", "-n", NAMESPACE, f"pod/{name}", "--for=condition=Ready", "--timeout=60s")
    stage.kubectl(*wait)


def stop(stage: Stage) -> None:
    """Take the proxies away."""
    stage.kubectl("delete", "namespace", NAMESPACE, "--wait=false")


def _service(stage: Stage, name: str) -> str:
    """Make the Service of a proxy; its host:port."""
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {"selector": {"app": name}, "ports": [{"port": _PORT}]},
    }
    stage.kubectl("apply", "-f", "-", stdin=json.dumps(service))
    address = "jsonpath={.spec.clusterIP}"
    found = stage.kubectl("get", "service", name, "-n", NAMESPACE, "-o", address)
    return f"{found.strip()}:{_PORT}"
