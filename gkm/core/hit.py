"""Whether a framework would find a cache: what its keys are made of, in the cache and in a pod.

A mounted cache that the framework ignores is the worst outcome: everything looks right, and every
kernel is compiled again. So each thing that decides is compared; what one of the two sides does not
say is unknown, and never taken for equal. Which files are read for it is ``gkm.kernels.evidence``.
"""

import re
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
    """One thing, as the cache and the pod have it; ``why`` is for a person.

    ``decides``: kernels are found or not by it; else only what starts them is compiled again.
    """

    name: str
    word: Word
    cache: str
    pod: str
    why: str = ""
    decides: bool = True


@dataclass(frozen=True)
class CacheFacts:
    """What a cache says of how it was made; what it does not say is missing.

    ``versions``: of packages, each with all that were found. ``environment``: variables that are
    part of the framework's keys, each with the values found; "" stands for not set. ``homes``: the
    folders that the cache's own paths point to. ``machines``: of programs in it, as ``uname -m``
    says it (``x86_64``); ``pythons``: the ABI of its extension modules (``cpython-311``).
    ``settings``: what vLLM wrote down of its own variables, each with the values found, defaults
    too. ``hashes``: of things that are not in the cache themselves.
    """

    framework: str
    versions: Mapping[str, frozenset[str]] = field(default_factory=dict)
    environment: Mapping[str, frozenset[str]] = field(default_factory=dict)
    homes: frozenset[str] = frozenset()
    machines: frozenset[str] = frozenset()
    pythons: frozenset[str] = frozenset()
    settings: Mapping[str, frozenset[str]] = field(default_factory=dict)
    hashes: Mapping[str, frozenset[str]] = field(default_factory=dict)
    kernels: int = 0


@dataclass(frozen=True)
class PodFacts:
    """What is known of the program that shall use the cache.

    ``environment``: None stands for a value that is not known (it comes from a Secret). ``whole``:
    no variable is set besides these. ``mounts``: where the cache is mounted. ``pending``: the pod
    asks for GKM's webhook, which has not seen it yet: it will set the framework's variable and
    mount the cache at its mount path, unless the pod does.
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
    pending: bool = False


_PACKAGES: Final = {
    "triton": ("triton",),
    "inductor": ("torch", "triton"),
    "vllm": ("vllm", "torch", "triton"),
}
"""Whose versions are part of the keys."""
_OF_TORCH: Final = ("inductor", "vllm")
_TRITONS: Final = "TRITON_CACHE_DIR"
"""torch sets it to a folder of its own, unless it is set."""
_ASK: Final = "run `gkm explain` where the workload runs, or name it with --with {}=VERSION"
_EAGER: Final = re.compile(
    r"(?:^|\s)(?:--enforce-eager(?!=[Ff]alse)|-O[ =.]*(?:(?:mode|level)=)?0)\b"
    r"|compilation[-_]config[ =]+\S*?['\"]?(?:mode|level)['\"]?\s*:\s*0\b"
)
"""Source: vLLM's command line (0.11 and 0.33): eager, or no optimisation."""
_LATER: Final = "GKM's webhook may change it when the pod is created: give the pod as it is then"


def compare(cache: CacheFacts, pod: PodFacts) -> list[Factor]:
    """Compare everything that decides; the worst first, otherwise in the order of importance."""
    rules = (
        *(_directory, _homes, _versions, _switches),
        *(_variables, _settings, _eager, _hashes, _models, _programs),
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
    word, why = _where(looks, pod)
    told = "not known" if looks is None else looks or "not set"
    yield Factor(name, word, there, told, why.format(there))
    if cache.framework in _OF_TORCH and (elsewhere := pod.environment.get(_TRITONS)):
        inside = any(elsewhere.startswith(f"{_normal(mount)}/") for mount in pod.mounts)
        why = "" if inside else "torch's Triton kernels are looked for there: take it out"
        yield Factor(_TRITONS, Word.SAME if inside else Word.DIFFERS, there, elsewhere, why)


def _where(looks: str | None, pod: PodFacts) -> tuple[Word, str]:
    """Judge where the framework looks; in the reason stands ``{}`` for where the cache is."""
    if looks is None:
        return Word.UNKNOWN, "its value is not in the pod"
    if looks and _normal(looks) in map(_normal, pod.mounts):
        return Word.SAME, ""
    if pod.pending:
        return Word.UNKNOWN, _LATER
    if looks:
        return Word.DIFFERS, "the cache is mounted at {}: set the variable to it"
    if not pod.whole:
        return Word.UNKNOWN, "not set in the pod, but maybe in its image; it should be {}"
    return Word.DIFFERS, "not set, so it looks in the home directory: set it to {}"


def _homes(cache: CacheFacts, pod: PodFacts) -> Iterator[Factor]:
    """Paths within the cache: Triton drops a kernel whose files are not where they were."""
    for home in sorted(cache.homes) if pod.mounts else ():
        fits = _normal(home) in map(_normal, pod.mounts)
        word = Word.SAME if fits else Word.UNKNOWN if pod.pending else Word.DIFFERS
        move = f"set spec.mountPath, or `gkm relocate --to {pod.mounts[0]}`"
        why = {Word.SAME: "", Word.UNKNOWN: _LATER}.get(word, move)
        yield Factor("paths in the cache", word, home, ", ".join(pod.mounts), why)


def _versions(cache: CacheFacts, pod: PodFacts) -> Iterator[Factor]:
    for package in _PACKAGES.get(cache.framework, ()):
        made, runs = cache.versions.get(package, frozenset()), pod.versions.get(package, "")
        name, told = f"version of {package}", ", ".join(sorted(made))
        if not made:
            why = "the cache does not say with which it was made"
            yield Factor(name, Word.UNKNOWN, "unknown", runs or "unknown", why)
        elif not runs:
            yield Factor(name, Word.UNKNOWN, told, "unknown", _ASK.format(package))
        elif release(runs) in map(release, made):
            why = "" if len(made) == 1 else "only for the kernels that were made with it"
            yield Factor(name, Word.SAME, told, runs, why)
        else:
            yield Factor(name, Word.DIFFERS, told, runs, "every key differs: pack the cache again")


def _switches(cache: CacheFacts, pod: PodFacts) -> Iterator[Factor]:
    """Variables that turn the cache off."""
    for variable, (frameworks, off, what) in OFF_SWITCHES.items():
        value = pod.environment.get(variable, "")
        if cache.framework not in frameworks:
            continue
        if value is None:
            yield Factor(variable, Word.UNKNOWN, "not set", "unknown", f"it may be that {what}")
        elif off(value):
            yield Factor(variable, Word.DIFFERS, "not set", value, f"{what}: take it out")


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


def _settings(cache: CacheFacts, pod: PodFacts) -> Iterator[Factor]:
    """Compare vLLM's own variables where the pod sets them; the others have vLLM's defaults."""
    for variable, made in sorted(cache.settings.items()):
        if variable not in pod.environment:
            continue
        now, told = pod.environment[variable], ", ".join(sorted(made))
        if now is None:
            yield Factor(variable, Word.UNKNOWN, told, "unknown", "its value is not in the pod")
        elif normal(now) in map(normal, made):
            yield Factor(variable, Word.SAME, told, now)
        else:
            yield Factor(variable, Word.DIFFERS, told, now, "part of vLLM's key: set it alike")


def _eager(cache: CacheFacts, pod: PodFacts) -> Iterator[Factor]:
    """Arguments by which vLLM compiles nothing, and so looks for nothing."""
    if cache.framework == "vllm" and (found := _EAGER.search(" ".join(pod.arguments))):
        why = "vLLM compiles nothing then, and reads no cache"
        yield Factor("the arguments", Word.DIFFERS, "compiled", found[0].strip(), why)


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
    """Programs of one machine, modules of one Python: torch's kernels for the CPU, and launchers.

    A launcher that does not load costs itself: Triton compiles another, and its kernels are found.
    """
    kernels = cache.framework == "inductor"
    again = "compiled again" if kernels else "compiled again, which needs a C compiler in the pod"
    for name, made, now in (
        ("CPU of the programs in it", cache.machines, pod.machine),
        ("Python of the programs in it", cache.pythons, pod.python),
    ):
        told = ", ".join(sorted(made))
        if made and not now:
            ask = "run `gkm explain` in the workload"
            yield Factor(name, Word.UNKNOWN, told, "unknown", ask, decides=kernels)
        elif made:
            word = Word.SAME if now in made else Word.DIFFERS
            why = "" if word is Word.SAME else again
            yield Factor(name, word, told, now, why, decides=kernels)


def _value(pod: PodFacts, variable: str) -> str | None:
    """Return a variable's value; "" if it is not set, None if that is not known."""
    return pod.environment.get(variable, "")


def _normal(path: str) -> str:
    return path.rstrip("/") or "/"


def verdict(factors: Iterable[Factor]) -> Word:
    """Return the worst word of what decides: one difference is enough for a miss."""
    found = (one.word for one in factors if one.decides)
    return min(found, key=list(Word).index, default=Word.UNKNOWN)


def release(version: str) -> str:
    """Return a version without what says where it was built: ``v3.4.0+git9`` is ``3.4.0``."""
    return version.partition("+")[0].removeprefix("v")
