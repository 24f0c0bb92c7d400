"""The init containers of a pod with caches: one fills a private writable layer, one only checks.

Frameworks write into their cache even when they hit. So a container that mounts the cache writable
gets an empty volume in its place; an init container of ours fills it with links to the cache's
files, and the cache itself is mounted read-only beside it, where the links lead. A container that
mounts the cache read-only gets the cache itself; then at most its completeness is looked at.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from typing import Any, Final

Json = dict[str, Any]

LAYER: Final = "gkm-layer-"
CHECK: Final = "gkm-check-"
_COMMAND: Final = "overlay"
_CHECK: Final = "--check"
_SIDE: Final = "/run/gkm"
_INSIDE: Final = "/layer"
"""Where the init container has the layer; the workload has it wherever it mounts the cache."""
_USER: Final = 1000
"""The user of our image."""
_CPU, _MEMORY = "100m", "64Mi"


@dataclass(frozen=True)
class Program:
    """GKM's own image, which the init container runs."""

    image: str
    pull_policy: str


def side(volume: str) -> str:
    """Where a container with a layer has the cache itself."""
    return f"{_SIDE}/{volume}"


def layers(spec: Json) -> dict[str, str]:
    """Names of the layers that a pod has already, by the volume that each lies over."""
    return {volume: name for name, volume, last in _programs(spec, LAYER) if last == _INSIDE}


def checks(spec: Json) -> dict[str, str]:
    """Names of the init containers that only check, by the volume that each looks at."""
    return {last: name for name, first, last in _programs(spec, CHECK) if first == _CHECK}


def _programs(spec: Json, prefix: str) -> Iterator[tuple[str, str, str]]:
    """Name and both arguments of each container that may be ours; volumes by name."""
    for container in spec.get("initContainers") or ():
        name, args = container.get("name") or "", container.get("args") or []
        if name.startswith(prefix) and len(args) == 3 and args[0] == _COMMAND:
            first, last = (arg.removeprefix(f"{_SIDE}/") for arg in args[1:])
            yield name, first, last


def free_names(spec: Json, prefix: str) -> list[str]:
    """As many names as the pod has volumes, each free as a volume's and a container's."""
    every = ("volumes", "initContainers", "containers")
    taken = {item.get("name") for part in every for item in spec.get(part) or ()}
    free = (name for number in count() if (name := f"{prefix}{number}") not in taken)
    return [next(free) for _ in spec.get("volumes") or ()]


def layer_volume(layer: str) -> Json:
    """The empty volume; the kubelet makes it writable for every user."""
    return {"name": layer, "emptyDir": {}}


def layer_container(spec: Json, volume: str, layer: str, program: Program) -> Json:
    """The init container that fills a layer; ``spec`` is that of the pod which gets it."""
    container = _container(spec, volume, layer, program)
    inside = {"name": layer, "mountPath": _INSIDE}
    return container | {
        "args": [_COMMAND, side(volume), _INSIDE],
        "volumeMounts": [*container["volumeMounts"], inside],
    }


def check_container(spec: Json, volume: str, name: str, program: Program) -> Json:
    """The init container that lets the pod start only if the volume's cache is complete."""
    args = [_COMMAND, _CHECK, side(volume)]
    return _container(spec, volume, name, program) | {"args": args}


def _container(spec: Json, volume: str, name: str, program: Program) -> Json:
    return {
        "name": name,
        "image": program.image,
        "imagePullPolicy": program.pull_policy,
        "volumeMounts": [{"name": volume, "mountPath": side(volume), "readOnly": True}],
        "resources": _resources(spec),
        "securityContext": _security(spec),
    }


def _resources(spec: Json) -> Json:
    """A pod whose containers are all limited stays of the class Guaranteed, with its own cores."""
    limits = [(c.get("resources") or {}).get("limits") or {} for c in spec.get("containers") or ()]
    requests = {"cpu": _CPU, "memory": _MEMORY}
    limited = all("cpu" in limit for limit in limits)
    return {"requests": requests, "limits": dict(requests) if limited else {"memory": _MEMORY}}


def _security(spec: Json) -> Json:
    """Restricted, and never root; otherwise as the user that the pod asks for, if it does."""
    own = {} if (spec.get("securityContext") or {}).get("runAsUser") else {"runAsUser": _USER}
    return {
        "runAsNonRoot": True,
        **own,
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }
