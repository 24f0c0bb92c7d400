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
WARM = "workload-mounted"
_PATIENCE = 120.0
_PERIOD = 0.5
Json = dict[str, Any]


class DemoError(Exception):
    """The demo cannot go on; ``look_at`` is the command that shows why."""

    def __init__(self, message: str, look_at: str) -> None:
        super().__init__(message)
        self.look_at = look_at


class Workloads:
    """Starts the pods, waits for them, and reads what they compiled."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._pod: Json = yaml.safe_load(stage.example(POD))
        self._namespace: str = self._pod["metadata"]["namespace"]
        self._jobs = list(yaml.safe_load_all(stage.example(JOB)))

    def remove(self) -> None:
        """Take away what an earlier run of the demo has left."""
        runs = [self._variant(name, self._pod["spec"]) for name in (COLD, WARM)]
        documents = {"apiVersion": "v1", "kind": "List", "items": [self._pod, *runs, *self._jobs]}
        options = ("--filename=-", "--ignore-not-found", "--now")
        self._stage.kubectl("delete", *options, stdin=json.dumps(documents))

    def wait_extracted(self, cache: Sequence[str]) -> None:
        """Wait until pods can have what was applied last; Running is Extracted and in use."""
        seen = {"reason": "", "message": "GKM has not looked at it yet"}

        def extracted() -> bool:
            found = self._get(*cache)
            conditions = found.get("status", {}).get("conditions", ())
            ready: Json = next(iter(conditions), {})
            seen.update(ready)
            current = ready.get("observedGeneration") == found["metadata"]["generation"]
            return bool(current) and ready.get("reason") in ("Extracted", "Running")

        if not _within(_PATIENCE, extracted):
            what = f"{cache[0]} is not Extracted: {seen['reason']} {seen['message']}"
            raise DemoError(what, f"kubectl describe {' '.join(cache)}")

    def run_examples(self) -> list[Compiled]:
        """Run the example's pod and Jobs at once; one result for each pod."""
        for manifest in (POD, JOB):
            self._stage.kubectl("apply", "--filename=-", stdin=self._stage.example(manifest))
        results = [self._ended_pod(self._pod["metadata"]["name"])]
        for job in self._jobs:
            namespace, name = job["metadata"]["namespace"], job["metadata"]["name"]
            self._wait_done(namespace, f"job/{name}")
            pods = self._get("pods", f"--selector=job-name={name}", f"--namespace={namespace}")
            results += [self._result(namespace, pod["metadata"]["name"]) for pod in pods["items"]]
        return results

    def run_cold_and_mounted(self) -> tuple[Compiled, Compiled]:
        """Run the pod without a cache and with it, one after the other, where it ran before.

        There the files of its image have been read already: neither pays for that.
        """
        name = self._pod["metadata"]["name"]
        node = self._get("pod", name, f"--namespace={self._namespace}")["spec"]["nodeName"]
        warm = dict(self._pod["spec"], nodeName=node)
        return self._run(COLD, _without_cache(warm)), self._run(WARM, warm)

    def _run(self, name: str, spec: Json) -> Compiled:
        pod = json.dumps(self._variant(name, spec))
        self._stage.kubectl("apply", "--filename=-", stdin=pod)
        return self._ended_pod(name)

    def _variant(self, name: str, spec: Json) -> Json:
        metadata = {"name": name, "namespace": self._namespace}
        return {**self._pod, "metadata": metadata, "spec": spec}

    def _ended_pod(self, name: str) -> Compiled:
        self._wait_done(self._namespace, f"pod/{name}")
        return self._result(self._namespace, name)

    def _wait_done(self, namespace: str, name: str) -> None:
        """Wait until a pod or Job has ended, and ended well."""
        ends = {"succeeded": False, "failed": False}

        def ended() -> bool:
            status = self._get(name, f"--namespace={namespace}")["status"]
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
        return Compiled.read(self._stage.kubectl("logs", pod, f"--namespace={namespace}"))

    def _get(self, *what: str) -> Json:
        found: Json = json.loads(self._stage.kubectl("get", *what, "--output=json"))
        return found


def _without_cache(spec: Json) -> Json:
    """The same container with nothing but empty folders."""
    volumes = [volume for volume in spec["volumes"] if "emptyDir" in volume]
    kept = {volume["name"] for volume in volumes}
    container = dict(spec["containers"][0])
    container["volumeMounts"] = [m for m in container["volumeMounts"] if m["name"] in kept]
    return {**spec, "initContainers": [], "containers": [container], "volumes": volumes}


def _within(seconds: float, look: Callable[[], bool]) -> bool:
    """Look until it is so; False if it takes too long."""
    deadline = time.monotonic() + seconds
    while not look():
        if time.monotonic() > deadline:
            return False
        time.sleep(_PERIOD)
    return True
