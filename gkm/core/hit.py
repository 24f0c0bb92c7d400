"""Whether a framework would find a cache: what its keys are made of, in the cache and in a pod.

A mounted cache that the framework ignores is the worst outcome: everything looks right, and every
kernel is compiled again. So each thing that decides is compared; what one of the two sides does not
say is unknown, and never taken for equal. Which files are read for it is ``gkm.kernels.evidence``.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from gkm.core.hitvariables import IN_TRITONS_KEY, OFF_SWITCHES, normal
from gkm.core.image import directory_variable


class Word(StrEnum):
    """What a comparison says, the worst first."""

    DIFFERS = "Differs"
    UNKNOWN = "Unknown"
    SAME = "Same"


@dataclass(frozen=True)
class Factor:
    """One thing that decides, as the cache and the pod have it; ``why`` is for a person."""

    name: str
    word: Word
    cache: str
    pod: str
    why: str = ""


@dataclass(frozen=True)
class CacheFacts:
    """What a cache says of how it was made; what it does not say is missing.

    ``versions``: of packages, each with all that were found. ``environment``: variables that are
    part of the framework's keys, each with the values found; "" stands for not set. ``homes``: the
    folders that the cache's own paths point to. ``machines``: of programs in it, as ``uname -m``
    says it (``x86_64``); ``pythons``: the ABI of its extension modules (``cpython-311``).
    ``hashes``: of things that are not in the cache themselves.
    """

    framework: str
    versions: Mapping[str, frozenset[str]] = field(default_factory=dict)
    environment: Mapping[str, frozenset[str]] = field(default_factory=dict)
    homes: frozenset[str] = frozenset()
    machines: frozenset[str] = frozenset()
    pythons: frozenset[str] = frozenset()
    hashes: Mapping[str, frozenset[str]] = field(default_factory=dict)
    kernels: int = 0


@dataclass(frozen=True)
class PodFacts:
    """What is known of the program that shall use the cache.

    ``environment``: None stands for a value that is not known (it comes from a Secret). ``whole``:
    no variable is set besides these. ``mounts``: where the cache is mounted. ``admitted``: GKM's
    webhook has seen the pod.
    """

    versions: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str | None] = field(default_factory=dict)
    whole: bool = False
    mounts: tuple[str, ...] = ()
    partial: tuple[str, ...] = ()
    """Those of the mounts that show a part of the volume only (``subPath``)."""
    machine: str = ""
    python: str = ""
    arguments: tuple[str, ...] = ()
    admitted: bool = False


_PACKAGES: Final = {
    "triton": ("triton",),
    "inductor": ("torch", "triton"),
    "vllm": ("vllm", "torch", "triton"),
}
"""Whose versions are part of the keys."""
_OF_TORCH: Final = ("inductor", "vllm")
_ASK: Final = "run `gkm explain` where the workload runs, or name it with --with {}=VERSION"
_EAGER: Final = ("--enforce-eager", "-O0", "-O.mode=0", "-O.level=0")
_MUTED: Final = "GKM's webhook sets it when the pod is created: give the pod as the cluster has it"


def compare(cache: CacheFacts, pod: PodFacts) -> list[Factor]:
    """Compare everything that decides; the worst first, otherwise in the order of importance."""
    rules = (
        *(_directory, _homes, _versions, _switches),
        *(_variables, _eager, _hashes, _models, _programs),
    )
    found = [factor for rule in rules for factor in rule(cache, pod)]
    return sorted(found, key=lambda factor: list(Word).index(factor.word))


def _directory(cache: CacheFacts, pod: PodFacts) -> Iterator[Factor]:
    """Where the framework looks, and whether the cache is there."""
    variable = directory_variable(cache.framework)
    looks, there = _value(pod, variable), ", ".join(pod.mounts)
    name = f"where {cache.framework} looks ({variable})"
    if not pod.mounts:
        yield Factor(name, Word.DIFFERS, "", looks or "", "the pod does not mount the cache")
        return
    for mount in pod.partial:
        yield Factor("the mount", Word.UNKNOWN, "/", mount, "subPath shows a part of the cache")
    if looks is None:
        word, why = Word.UNKNOWN, "its value is not in the pod"
    elif looks == "":
        word = Word.DIFFERS if pod.whole or pod.admitted else Word.UNKNOWN
        why = f"not set: {cache.framework} looks in the home directory; set it to {there}"
        why = why if word is Word.DIFFERS else _MUTED
    elif _normal(looks) in map(_normal, pod.mounts):
        word, why = Word.SAME, ""
    else:
        word, why = Word.DIFFERS, f"the cache is mounted at {there}: set the variable to it"
    yield Factor(name, word, there, looks or ("not known" if looks is None else "not set"), why)


def _homes(cache: CacheFacts, pod: PodFacts) -> Iterator[Factor]:
    """Paths within the cache: Triton drops a kernel whose files are not where they were."""
    for home in sorted(cache.homes):
        if not pod.mounts:
            return
        fits = _normal(home) in map(_normal, pod.mounts)
        why = f"set spec.mountPath, or `gkm relocate --to {pod.mounts[0]}`"
        word = Word.SAME if fits else Word.DIFFERS
        mounts = ", ".join(pod.mounts)
        yield Factor("paths in the cache", word, home, mounts, "" if fits else why)


def _versions(cache: CacheFacts, pod: PodFacts) -> Iterator[Factor]:
    for package in _PACKAGES.get(cache.framework, ()):
        made, runs = cache.versions.get(package, frozenset()), pod.versions.get(package, "")
        name, told = f"version of {package}", ", ".join(sorted(made))
        if not made:
            why = "the cache does not say with which it was made"
            yield Factor(name, Word.UNKNOWN, "unknown", runs or "unknown", why)
        elif not runs:
            yield Factor(name, Word.UNKNOWN, told, "unknown", _ASK.format(package))
        elif runs in made:
            why = "" if len(made) == 1 else "only for the kernels that were made with it"
            yield Factor(name, Word.SAME, told, runs, why)
        else:
            yield Factor(name, Word.DIFFERS, told, runs, "every key differs: pack the cache again")


def _switches(cache: CacheFacts, pod: PodFacts) -> Iterator[Factor]:
    """Variables that turn the cache off."""
    for variable, (frameworks, off, what) in OFF_SWITCHES.items():
        value = pod.environment.get(variable)
        if cache.framework in frameworks and value is not None and off(value):
            yield Factor(variable, Word.DIFFERS, "not set", value, what)


def _variables(cache: CacheFacts, pod: PodFacts) -> Iterator[Factor]:
    """Variables that are part of the keys."""
    if not cache.kernels:
        return
    named = set(cache.environment) | (IN_TRITONS_KEY & set(pod.environment))
    for variable in sorted(named):
        made = cache.environment.get(variable, frozenset({""}))
        now = _value(pod, variable)
        told = ", ".join(one or "not set" for one in sorted(made))
        sure = variable in pod.environment or pod.whole
        if now is None or not sure:
            why = f"set it to {told} in the pod" if now == "" else "its value is not in the pod"
            yield Factor(variable, Word.UNKNOWN, told, "unknown", why)
        elif normal(now) in made:
            yield Factor(variable, Word.SAME, told, now or "not set")
        else:
            why = "part of Triton's key: every kernel is compiled again"
            yield Factor(variable, Word.DIFFERS, told, now or "not set", why)
    if not pod.whole:
        why = "the workload's image may set more variables that are part of the key"
        yield Factor("other variables", Word.UNKNOWN, "not set", "unknown", why)


def _eager(cache: CacheFacts, pod: PodFacts) -> Iterator[Factor]:
    """Arguments by which vLLM compiles nothing, and so looks for nothing."""
    if cache.framework != "vllm":
        return
    for argument in pod.arguments:
        if argument in _EAGER:
            why = "vLLM compiles nothing then, and reads no cache"
            yield Factor("the arguments", Word.DIFFERS, "compiled", argument, why)


def _hashes(cache: CacheFacts, _: PodFacts) -> Iterator[Factor]:
    for name, found in sorted(cache.hashes.items()):
        why = (
            "vLLM's hash of its model, configuration and code: compare with the directory that"
            " it logs when it starts"
        )
        yield Factor(name, Word.UNKNOWN, ", ".join(sorted(found)), "unknown", why)


def _models(cache: CacheFacts, _: PodFacts) -> Iterator[Factor]:
    """Source: torch/_inductor/codecache.py, ``CacheBase.get_system``; vLLM's hash has the same."""
    if cache.framework in _OF_TORCH:
        why = "torch's key holds the GPU's product name: one model does not find another's graphs"
        yield Factor("model of the GPU", Word.UNKNOWN, "unknown", "unknown", why)


def _programs(cache: CacheFacts, pod: PodFacts) -> Iterator[Factor]:
    """Launchers are programs of the machine and extension modules of one Python."""
    again = "launchers are compiled again, which needs a C compiler; kernels are found"
    for name, made, now in (
        ("CPU of the launchers", cache.machines, pod.machine),
        ("Python of the launchers", cache.pythons, pod.python),
    ):
        told = ", ".join(sorted(made))
        if made and not now:
            yield Factor(name, Word.UNKNOWN, told, "unknown", "run `gkm explain` in the workload")
        elif made:
            word = Word.SAME if now in made else Word.DIFFERS
            yield Factor(name, word, told, now, "" if word is Word.SAME else again)


def _value(pod: PodFacts, variable: str) -> str | None:
    """Return a variable's value; "" if it is not set, None if that is not known."""
    return pod.environment.get(variable, "")


def _normal(path: str) -> str:
    return path.rstrip("/") or "/"


def verdict(factors: Iterable[Factor]) -> Word:
    """Return the worst word: one difference is enough for a miss."""
    return min((one.word for one in factors), key=list(Word).index, default=Word.UNKNOWN)
