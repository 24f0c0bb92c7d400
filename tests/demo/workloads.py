"""The pods of the demo: those of examples/ on the mounted cache, and one without any."""

import json
import time
from collections.abc import Callable, Sequence
from typing import Any

import yaml

from tests.stage import Compiled, Stage

POD = "01-namespace/pod.yaml"
JOB = "02-cluster/job.yaml"
COLD = "workload-cold"
_PATIENCE = 120.0
_PERIOD = 0.5


class DemoError(Exception):
    """The demo cannot go on; ``look_at`` is the command that shows why."""

    def __init__(self, message: str, look_at: str) -> None:
        super().__init__(message)
        self.look_at = look_at


class Workloads:
    """Starts the pods, waits for them, and reads what they compiled."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._pod: dict[str, Any] = yaml.safe_load(stage.example(POD))
        self._namespace: str = self._pod["metadata"]["namespace"]
        self._jobs = list(yaml.safe_load_all(stage.example(JOB)))

    def remove(self) -> None:
        """Take away what an earlier run of the demo has left."""
        cold = {"apiVersion": "v1", "kind": "Pod", "metadata": self._cold_name()}
        documents = {"apiVersion": "v1", "kind": "List", "items": [self._pod, cold, *self._jobs]}
        options = ("--filename=-", "--ignore-not-found", "--now")
        self._stage.kubectl("delete", *options, stdin=json.dumps(documents))

    def wait_extracted(self, cache: Sequence[str]) -> None:
        """Wait until the STATUS column of a Cache says Extracted for what was applied last."""
        seen = {"reason": "", "message": "GKM has not looked at it yet"}

        def extracted() -> bool:
            found = self._get(*cache)
            conditions = found.get("status", {}).get("conditions", ())
            ready: dict[str, Any] = next(iter(conditions), {})
            seen.update(ready)
            current = ready.get("observedGeneration") == found["metadata"]["generation"]
            return bool(current) and ready.get("reason") == "Extracted"

        if not _within(_PATIENCE, extracted):
            what = f"{cache[0]} is not Extracted: {seen['reason']} {seen['message']}"
            raise DemoError(what, f"kubectl describe {' '.join(cache)}")

    def run_pod(self) -> Compiled:
        """Run the pod of the example."""
        return self._run_pod(self._pod)

    def run_cold_pod(self) -> Compiled:
        """Run the same container on the same node with nothing but an empty folder as its cache."""
        node = self._get("pod", self._pod["metadata"]["name"], *self._in(self._namespace))
        spec = dict(self._pod["spec"], nodeName=node["spec"]["nodeName"])
        spec["volumes"] = [volume for volume in spec["volumes"] if "emptyDir" in volume]
        kept = {volume["name"] for volume in spec["volumes"]}
        container = dict(spec["containers"][0])
        container["volumeMounts"] = [m for m in container["volumeMounts"] if m["name"] in kept]
        spec["containers"] = [container]
        del spec["initContainers"]
        return self._run_pod({**self._pod, "metadata": self._cold_name(), "spec": spec})

    def run_jobs(self) -> list[Compiled]:
        """Run the Jobs of the example; one result for each of their pods."""
        self._stage.kubectl("apply", "--filename=-", stdin=self._stage.example(JOB))
        names = [(job["metadata"]["namespace"], job["metadata"]["name"]) for job in self._jobs]
        for namespace, name in names:
            self._wait_done(namespace, f"job/{name}")
        return [
            self._result(namespace, pod["metadata"]["name"])
            for namespace, name in names
            for pod in self._get("pods", f"--selector=job-name={name}", *self._in(namespace))[
                "items"
            ]
        ]

    def _run_pod(self, pod: dict[str, Any]) -> Compiled:
        name = pod["metadata"]["name"]
        self._stage.kubectl("apply", "--filename=-", stdin=json.dumps(pod))
        self._wait_done(self._namespace, f"pod/{name}")
        return self._result(self._namespace, name)

    def _wait_done(self, namespace: str, name: str) -> None:
        """Wait until a pod or Job has ended, and ended well."""
        ends = {"succeeded": False, "failed": False}

        def ended() -> bool:
            status = self._get(name, *self._in(namespace))["status"]
            done = {one["type"] for one in status.get("conditions", ()) if one["status"] == "True"}
            ends["succeeded"] = status.get("phase") == "Succeeded" or "Complete" in done
            ends["failed"] = status.get("phase") == "Failed" or "Failed" in done
            return any(ends.values())

        finished = _within(_PATIENCE, ended)
        if not ends["succeeded"]:
            what = "failed" if finished else f"has not ended after {_PATIENCE:.0f} s"
            verb = "logs --all-containers" if finished else "describe"
            raise DemoError(f"{namespace} {name} {what}", f"kubectl {verb} -n {namespace} {name}")

    def _result(self, namespace: str, pod: str) -> Compiled:
        return Compiled.read(self._stage.kubectl("logs", pod, *self._in(namespace)))

    def _get(self, *what: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self._stage.kubectl("get", *what, "--output=json"))
        return found

    def _cold_name(self) -> dict[str, str]:
        return {"name": COLD, "namespace": self._namespace}

    @staticmethod
    def _in(namespace: str) -> tuple[str, ...]:
        return (f"--namespace={namespace}",)


def _within(seconds: float, look: Callable[[], bool]) -> bool:
    """Look until it is so; False if it takes too long."""
    deadline = time.monotonic() + seconds
    while not look():
        if time.monotonic() > deadline:
            return False
        time.sleep(_PERIOD)
    return True
