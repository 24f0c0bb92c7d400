"""What a pod's manifest tells of the program that shall use a cache. Pure; nothing is looked up."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from gkm.api import names
from gkm.api.errors import Rejected
from gkm.core.hit import PodFacts
from gkm.core.podcaches import claims_of, marked
from gkm.core.podlayer import layers, side
from gkm.core.podshape import check_pod

Json = dict[str, Any]
_ARCH_LABEL: Final = "kubernetes.io/arch"
_MACHINES: Final = {"amd64": "x86_64", "arm64": "aarch64"}
"""As ``uname -m`` says what images and nodes say in Go's words."""
_VERSIONS: Final = {
    "TRITON_VERSION": "triton",
    "TORCH_VERSION": "torch",
    "PYTORCH_VERSION": "torch",
    "VLLM_VERSION": "vllm",
}
"""Variables by which images say what is in them."""


def pod_of(document: Any) -> Json:
    """Return the pod of a manifest: itself, or the template of what makes pods.

    Raises Rejected(NotAPod).
    """
    spec = document.get("spec") if isinstance(document, dict) else None
    template = spec.get("template") if isinstance(spec, dict) else None
    pod = template if isinstance(template, dict) else document
    if not isinstance(pod, dict) or not isinstance(pod.get("spec"), dict):
        kind = document.get("kind") if isinstance(document, dict) else type(document).__name__
        raise Rejected("NotAPod", f"expected a pod, or what makes pods, found {kind}")
    check_pod(pod)
    for container in pod["spec"].get("containers") or ():
        _check(container)
    return pod


def _check(container: Json) -> None:
    """Raise Rejected(NotAPod) unless a container has what the API server asks of it."""
    for part, field in ("env", "name"), ("volumeMounts", "mountPath"), ("volumeMounts", "name"):
        if any(not isinstance(one.get(field), str) for one in container.get(part) or ()):
            raise Rejected("NotAPod", f"an entry of a container's {part} has no {field}")
    for part in ("command", "args"):
        words = container.get(part) or []
        if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
            raise Rejected("NotAPod", f"a container's {part} is no list of texts")


def container_of(pod: Json, volume: str, name: str = "") -> Json:
    """Return the container with this name, or the first that mounts the volume.

    Raises Rejected(NoContainer).
    """
    containers = pod["spec"].get("containers") or []
    for container in containers:
        if name == container.get("name") or (not name and _mounts(pod, container, volume)):
            return dict(container)
    there = ", ".join(str(one.get("name")) for one in containers)
    wanted = f"container '{name}'" if name else f"container that mounts '{volume}'"
    raise Rejected("NoContainer", f"the pod has no {wanted}; it has {there or 'none'}")


def volume_of(pod: Json, claim: str = "") -> str:
    """Return the name of the volume that is the cache: of this claim, or the only one.

    Raises Rejected(NoCacheVolume).
    """
    claims = claims_of(pod["spec"])
    caches = marked(pod)
    found = [volume for volume, name in claims if name == claim or caches.get(volume) == claim]
    if not claim:
        found = list(caches) or [volume for volume, _ in claims]
    if len(found) == 1:
        return found[0]
    there = ", ".join(f"{name} (volume {volume})" for volume, name in claims) or "none"
    raise Rejected("NoCacheVolume", f"which claim is the cache? Name it; the pod has {there}")


def facts(pod: Json, container: Json, volume: str) -> PodFacts:
    """Return what the manifest says of one of its containers."""
    mounts = _mounts(pod, container, volume)
    return PodFacts(
        environment=_environment(container),
        mounts=tuple(mount["mountPath"] for mount in mounts),
        partial=tuple(m["mountPath"] for m in mounts if m.get("subPath") or m.get("subPathExpr")),
        machine=machine(wanted_architecture(pod)),
        arguments=(*(container.get("command") or ()), *(container.get("args") or ())),
        pending=_is_pending(pod),
    )


def within(
    found: PodFacts, variables: Mapping[str, str], arch: str, *, whole: bool = True
) -> PodFacts:
    """Add what an image sets: variables that the pod does not, and the platform, if it is known."""
    environment = {**variables, **found.environment}
    versions = {
        package: str(environment[variable])
        for variable, package in _VERSIONS.items()
        if environment.get(variable)
    }
    return replace(
        found,
        environment=environment,
        versions=versions,
        whole=whole,
        machine=found.machine or machine(arch),
        python=python_abi(environment.get("PYTHON_VERSION") or ""),
    )


def wanted_architecture(pod: Json) -> str:
    """Return the platform of the nodes that the pod may run on, in Go's words; "" if any."""
    return str((pod["spec"].get("nodeSelector") or {}).get(_ARCH_LABEL) or "")


def machine(architecture: str) -> str:
    """Return a platform in Go's words as ``uname -m`` says it."""
    return _MACHINES.get(architecture, architecture)


def _is_pending(pod: Json) -> bool:
    meta = pod.get("metadata") or {}
    asks = (meta.get("labels") or {}).get(names.LABEL_MUTATION) == "true"
    return asks and names.ANNOTATION_MUTATED not in (meta.get("annotations") or {})


def python_abi(version: str) -> str:
    """Return the ABI of CPython's extension modules: ``3.11.9`` has ``cpython-311``."""
    numbers = "".join(version.split(".")[:2])
    return f"cpython-{numbers}" if len(numbers) > 1 and numbers.isdecimal() else ""


def _mounts(pod: Json, container: Json, volume: str) -> list[Json]:
    """The container's mounts of the cache or of a layer over it; not where the layer has it."""
    volumes = {volume, layers(pod["spec"]).get(volume, volume)}
    every = container.get("volumeMounts") or ()
    return [m for m in every if m.get("name") in volumes and m.get("mountPath") != side(volume)]


def _environment(container: Json) -> dict[str, str | None]:
    """The container's variables; None where the manifest does not hold the value."""
    found: dict[str, str | None] = {}
    for variable in container.get("env") or ():
        value = variable.get("value", "")
        known = isinstance(value, str) and "$(" not in value and not variable.get("valueFrom")
        found[variable["name"]] = value if known else None
    return found
