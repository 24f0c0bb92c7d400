"""The private writable layer of a pod over a cache: one volume, one init container, mounts.

Frameworks write into their cache even when they hit. So a container that mounts the cache writable
gets an empty volume in its place; an init container of ours fills it with links to the cache's
files, and the cache itself is mounted read-only beside it, where the links lead.
"""

from dataclasses import dataclass
from itertools import count
from typing import Any, Final

Json = dict[str, Any]

PREFIX: Final = "gkm-layer-"
_COMMAND: Final = "overlay"
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
    found = {}
    for container in spec.get("initContainers") or ():
        args: list[str] = container.get("args") or []
        ours = (container.get("name") or "").startswith(PREFIX)
        if ours and len(args) == 3 and (args[0], args[2]) == (_COMMAND, _INSIDE):
            found[args[1].removeprefix(f"{_SIDE}/")] = container["name"]
    return found


def free_names(spec: Json) -> list[str]:
    """As many names for layers as the pod has volumes, each free as a volume's and container's."""
    every = ("volumes", "initContainers", "containers", "ephemeralContainers")
    taken = {item.get("name") for part in every for item in spec.get(part) or ()}
    free = (name for number in count() if (name := f"{PREFIX}{number}") not in taken)
    return [next(free) for _ in spec.get("volumes") or ()]


def layer_volume(layer: str) -> Json:
    """The empty volume; the kubelet makes it writable for every user."""
    return {"name": layer, "emptyDir": {}}


def layer_container(spec: Json, volume: str, layer: str, program: Program) -> Json:
    """The init container that fills a layer; ``spec`` is that of the pod which gets it."""
    return {
        "name": layer,
        "image": program.image,
        "imagePullPolicy": program.pull_policy,
        "args": [_COMMAND, side(volume), _INSIDE],
        "volumeMounts": [
            {"name": volume, "mountPath": side(volume), "readOnly": True},
            {"name": layer, "mountPath": _INSIDE},
        ],
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
