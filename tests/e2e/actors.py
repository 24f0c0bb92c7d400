"""What a test does on the cluster, in a user's words: apply a Cache, start a pod, wait for it."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from tests.e2e import reader
from tests.stage import NAMESPACE, Stage

Json = dict[str, Any]
T = TypeVar("T")
PATIENCE = 120.0
VOLUMES: dict[str, Json] = {"made by GKM": {}, "provisioned": {"storageClassName": "shared"}}
"""The part of a spec that asks for each kind of volume."""
_RESTRICTED: Json = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "readOnlyRootFilesystem": True,
}


_READER = Path(reader.__file__).read_text()


def reading(rounds: int, pause: float = 0.2) -> list[str]:
    """The command of a pod that reads the whole cache so often and prints what it saw.

    ``pause``: seconds between two readings.
    """
    return ["/opt/gkm/bin/python", "-c", _READER, "/cache", str(rounds), str(pause)]


def eventually(what: str, look: Callable[[], T | None], patience: float = PATIENCE) -> T:
    """Look until there is something to see; prints how long it took."""
    begun = time.monotonic()
    while True:
        seen = look()
        if seen:
            print(f"{what}: {time.monotonic() - begun:.1f} s")
            return seen
        if time.monotonic() - begun > patience:
            raise AssertionError(f"{what}: not within {patience:.0f} s")
        time.sleep(0.3)


@contextmanager
def no_operator(stage: Stage) -> Iterator[None]:
    """Let the operator be away: no replica of it, and nobody's Lease."""
    lease = ("get", "lease", "gkm-operator", "-n", NAMESPACE)
    _scale(stage, 0)
    eventually(
        "the Lease is free",
        lambda: not stage.kubectl(*lease, "-o", "jsonpath={.spec.holderIdentity}"),
    )
    try:
        yield
    finally:
        _scale(stage, 2)


def _scale(stage: Stage, replicas: int) -> None:
    deployment = ("deployment/gkm-operator", "-n", NAMESPACE)
    stage.kubectl("scale", *deployment, f"--replicas={replicas}")
    stage.kubectl("rollout", "status", *deployment, "--timeout=90s")


@dataclass
class Actors:
    """Objects of one test, all below a prefix of its own."""

    stage: Stage
    prefix: str
    namespaces: list[str] = field(default_factory=list)
    caches: list[tuple[str, str, str]] = field(default_factory=list)

    def namespace(self, name: str) -> str:
        """Make a namespace whose pods must be restricted, but for KIND's permission fix."""
        full = f"{self.prefix}-{name}"
        level = "baseline" if self.stage.host_path else "restricted"
        labels = {"pod-security.kubernetes.io/enforce": level}
        self.apply(
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": full, "labels": labels}}
        )
        self.namespaces.append(full)
        return full

    def apply(self, obj: Json) -> None:
        self.stage.kubectl("apply", "-f", "-", stdin=json.dumps(obj))

    def cache(self, namespace: str, name: str, **spec: Any) -> None:
        """Apply a GKMCache; ``name`` is its own in the namespace."""
        self._cache("GKMCache", namespace, name, spec)

    def cluster_cache(self, name: str, **spec: Any) -> str:
        """Apply a ClusterGKMCache; returns its full name."""
        full = f"{self.prefix}-{name}"
        self._cache("ClusterGKMCache", "", full, spec)
        return full

    def _cache(self, kind: str, namespace: str, name: str, spec: Json) -> None:
        wanted = {"image": self.stage.cache_reference("v1"), "accessModes": ["ReadOnlyMany"]} | spec
        meta = {"name": name} | ({"namespace": namespace} if namespace else {})
        self.apply(
            {"apiVersion": "gkm.io/v1alpha1", "kind": kind, "metadata": meta, "spec": wanted}
        )
        self.caches.append((kind, namespace, name))

    def get(self, kind: str, namespace: str, name: str) -> Json:
        place = ["-n", namespace] if namespace else []
        found: Json = json.loads(self.stage.kubectl("get", kind, name, *place, "-o", "json"))
        return found

    def ready(self, kind: str, namespace: str, name: str) -> Json:
        """The condition Ready, with an empty reason while there is no status."""
        status = self.get(kind, namespace, name).get("status") or {}
        return next(iter(status.get("conditions") or ()), {"reason": "", "message": ""})

    def wait_ready(self, kind: str, namespace: str, name: str, reason: str = "Extracted") -> Json:
        """Wait until the STATUS column says ``reason``; Running is Extracted and in use."""
        good = {reason, "Running"} if reason == "Extracted" else {reason}

        def look() -> Json | None:
            found = self.ready(kind, namespace, name)
            return found if found["reason"] in good else None

        try:
            return eventually(f"{kind} {name} {reason}", look)
        except AssertionError as error:
            found = self.get(kind, namespace, name).get("status")
            raise AssertionError(f"{error}; status: {json.dumps(found)}") from None

    def pod(self, namespace: str, name: str, claim: str, command: list[str], **spec: Any) -> None:
        """Start a pod of GKM's image that mounts ``claim`` at /cache and runs Python.

        ``spec`` takes the place of parts of the pod's, but for ``labels``, which are the pod's own.
        """
        container = {
            "name": "main",
            "image": self.stage.gkm_image,
            "command": command,
            "securityContext": _RESTRICTED,
            "volumeMounts": [{"name": "cache", "mountPath": "/cache", "readOnly": True}],
        }
        body = {
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 0,
            "automountServiceAccountToken": False,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 1000,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [container],
            "volumes": [{"name": "cache", "persistentVolumeClaim": {"claimName": claim}}],
        } | spec
        labels = body.pop("labels", {})
        meta = {"name": name, "namespace": namespace, "labels": labels}
        self.apply({"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": body})

    def wait_pod(self, namespace: str, name: str, *phases: str) -> str:
        """Wait until a pod is in one of ``phases``; returns its phase."""

        def look() -> str | None:
            phase: str = self.get("pod", namespace, name)["status"].get("phase", "")
            return phase if phase in phases else None

        return eventually(f"pod {name} {'/'.join(phases)}", look)

    def logs(self, namespace: str, name: str, container: str = "main") -> str:
        return self.stage.kubectl("logs", "-n", namespace, name, "-c", container)

    def delete(self, kind: str, namespace: str, name: str, *, wait: bool = True) -> None:
        place = ["-n", namespace] if namespace else []
        options = ["--ignore-not-found", f"--wait={str(wait).lower()}"]
        self.stage.kubectl("delete", kind, name, *place, *options)

    def leftovers(self) -> list[str]:
        """Every claim, volume and Job of the cluster that bears our prefix anywhere."""
        kinds = "persistentvolumeclaims,persistentvolumes,jobs"
        found = json.loads(self.stage.kubectl("get", kinds, "-A", "-o", "json"))["items"]
        return sorted(
            f"{o['kind']} {o['metadata'].get('namespace', '')}/{o['metadata']['name']}"
            for o in found
            if self.prefix in json.dumps(o)
        )

    def wait_clean(self) -> None:
        """Wait until no claim, volume or Job of the test is left."""
        try:
            eventually("nothing left behind", lambda: not self.leftovers())
        except AssertionError:
            raise AssertionError(f"left behind: {self.leftovers()}") from None

    def leave(self) -> None:
        """Take everything of the test away; ``see_gone`` sees that it went."""
        for namespace in self.namespaces:
            owners = "daemonsets,jobs,pods"
            self.stage.kubectl("delete", owners, "--all", "-n", namespace, "--wait=false")
        for kind, namespace, name in self.caches:
            self.delete(kind, namespace, name, wait=False)

    def see_gone(self) -> None:
        """Wait until nothing is left, then remove the namespaces."""
        try:
            self.wait_clean()
        finally:
            for namespace in self.namespaces:
                gone = ("--wait=false", "--ignore-not-found")
                self.stage.kubectl("delete", "namespace", namespace, *gone)
