"""From the states of all targets to the Cache's status: one word for a person, the rest beside it.

Computed from what is there now, never by changing earlier numbers.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from gkm.api.cache import (
    CacheStatus,
    CompiledFor,
    Counts,
    FailingNode,
    GpuTarget,
    NamespaceStatus,
)
from gkm.core import explain
from gkm.core.conditions import DEGRADED, PROGRESSING, READY, RESOLVING, Fact, merged
from gkm.core.explain import State
from gkm.core.pin import Pin
from gkm.core.progress import mebibytes
from gkm.core.targets import NO_NAMESPACE, SHADOWED
from gkm.core.view import Cache

SERVING = (explain.OUTDATED, explain.RUNNING, explain.EXTRACTED)
"""Words of targets where pods get the cache; the first that applies is that of many targets."""
_ORDER_WHILE_NONE_SERVES = (NO_NAMESPACE, explain.DOWNLOADING, explain.PENDING)
_MOST_FAILING_NODES = 10
_ALL_MESSAGES, _SHORTEST_MESSAGE = 32_000, 120
"""Characters of all namespaces together, and of each in any case: an object has its limits."""


@dataclass(frozen=True)
class Place:
    """One target and its state; ``node`` is empty in shared mode."""

    namespace: str
    node: str
    state: State

    @property
    def name(self) -> str:
        """The place in words."""
        return f"{self.namespace} on {self.node}" if self.node else self.namespace


@dataclass(frozen=True)
class NoNode:
    """Why no node is meant for a Cache; ``misfits``: because no GPU of the cluster fits."""

    message: str
    misfits: bool


@dataclass(frozen=True)
class Report:
    """What the plan found out about one Cache."""

    pin: Pin
    places: Sequence[Place]
    leaving: Sequence[str] = ()
    """What is being removed, in words."""
    counts: Counts | None = None
    used: frozenset[str] = frozenset()
    """Namespaces with pods that use the cache."""
    no_node: NoNode | None = None
    left_out: str = ""
    """Why some nodes are not meant for a Cache in per-node mode."""
    silent: tuple[str, ...] = ()
    """Nodes whose agent does not run."""

    @property
    def outdated(self) -> int:
        """Pods that use an earlier image."""
        return (self.counts.pod_outdated_cnt if self.counts else None) or 0


def status(cache: Cache, report: Report, now: float) -> dict[str, Any]:
    """The wanted status as JSON; equal to the present one if nothing but time has passed."""
    pin = report.pin
    facts = (_ready(cache, report), _progressing(report), pin.fact, _degraded(report))
    wanted = CacheStatus(
        conditions=tuple(merged(cache.status.conditions, facts, cache.generation, now)),
        observed_generation=cache.generation,
        resolved_image=pin.image or None,
        resolved_digest=pin.digest or None,
        resolved_bytes=pin.size,
        compiled_for=_compiled_for(pin),
        environment=pin.environment,
        counts=report.counts,
        namespaces=_namespaces(cache, report),
        failing_nodes=_failing(report),
        last_updated=cache.status.last_updated,
    )
    if wanted != cache.status:
        moment = datetime.fromtimestamp(int(now), UTC)
        wanted = wanted.model_copy(update={"last_updated": moment})
    return wanted.dump()


def _compiled_for(pin: Pin) -> CompiledFor | None:
    if not pin.digest:
        return None
    known = (
        GpuTarget(
            backend=t.backend, arch=t.arch, warp_size=t.warp_size, cuda_version=t.cuda_version
        )
        for t in pin.compiled.known
    )
    return CompiledFor(targets=tuple(known), doubt=pin.compiled.doubt)


def _namespaces(cache: Cache, report: Report) -> tuple[NamespaceStatus, ...]:
    """One word for each namespace, and what its places say that are of this word."""
    names = dict.fromkeys(place.namespace for place in report.places)
    longest = max(_SHORTEST_MESSAGE, _ALL_MESSAGES // max(1, len(names)))
    found = []
    for name in names:
        here = [place for place in report.places if place.namespace == name]
        word = _word_of(cache, report, here)
        messages = [_said(one) for one in here if one.state.word == word and one.state.message]
        claim = cache.key.name if any(one.state.word in SERVING for one in here) else ""
        found.append(
            NamespaceStatus(
                namespace=name, claim=claim, phase=word, message=_first(messages)[:longest]
            )
        )
    return tuple(found)


def _said(place: Place) -> str:
    return f"{place.node}: {place.state.message}" if place.node else place.state.message


def _word_of(cache: Cache, report: Report, places: Sequence[Place]) -> str:
    words = [place.state.word for place in places]
    if cache.deleting:
        return explain.DELETING
    serving = any(word in SERVING for word in words)
    order = SERVING if serving else (*_ORDER_WHILE_NONE_SERVES, SHADOWED)
    word = next((one for one in (explain.ERROR, *order) if one in words), explain.PENDING)
    used = any(place.namespace in report.used for place in places)
    return explain.RUNNING if word == explain.EXTRACTED and used else word


def _failing(report: Report) -> tuple[FailingNode, ...]:
    failed: dict[str, State] = {}
    for place in report.places:
        if place.node and place.state.word == explain.ERROR:
            failed.setdefault(place.node, place.state)
    return tuple(
        FailingNode(node=node, reason=state.reason or "CopyFailed", message=state.message)
        for node, state in sorted(failed.items())[:_MOST_FAILING_NODES]
    )


def _ready(cache: Cache, report: Report) -> Fact:
    word = _word_of(cache, report, report.places)
    if word == explain.DELETING:
        return Fact(READY, False, word, _first(report.leaving))
    if word == explain.ERROR:
        return Fact(READY, False, word, _message_of(report, word))
    if word not in SERVING:
        return _not_serving(cache, report, word)
    serving = sum(place.state.word in SERVING for place in report.places)
    what = "namespaces" if cache.spec.shared else "copies for nodes"
    message = f"{serving} of {len(report.places)} {what} have the cache ({report.pin.digest})"
    message += _extracted(report)
    if report.outdated:
        return Fact(READY, True, explain.OUTDATED, f"{message}; {_outdated_pods(report)}")
    detail = _message_of(report, explain.EXTRACTED if word == explain.RUNNING else word)
    return Fact(READY, True, word, f"{message}; {detail}" if detail else message)


def _extracted(report: Report) -> str:
    """What the extractions said in the end; the seconds are those of the fastest and slowest."""
    ends = [place.state.outcome for place in report.places if place.state.outcome]
    if not ends:
        return ""
    seconds = [one.seconds for one in ends]
    took = " to ".join(dict.fromkeys(f"{limit:.1f}" for limit in (min(seconds), max(seconds))))
    return f": {ends[0].files} files, {mebibytes(ends[0].bytes)}, extracted in {took} s"


def _outdated_pods(report: Report) -> str:
    detail = _message_of(report, explain.OUTDATED)
    count = report.outdated
    pods = "1 pod uses" if count == 1 else f"{count} pods use"
    return detail or f"{pods} an earlier image until created again"


def _not_serving(cache: Cache, report: Report, word: str) -> Fact:
    message = _message_of(report, word)
    if message and word in _ORDER_WHILE_NONE_SERVES:
        return Fact(READY, False, word, message)
    if _refused(report):
        fact = report.pin.fact
        return Fact(READY, False, explain.ERROR, f"{fact.reason}: {fact.message}")
    return Fact(READY, False, explain.PENDING, _why_no_target(cache, report))


def _why_no_target(cache: Cache, report: Report) -> str:
    if not cache.key.namespace and not cache.spec.workload_namespaces:
        return "spec.workloadNamespaces is empty: name the namespaces that need the cache"
    shadowed = _message_of(report, SHADOWED)
    if shadowed:
        return shadowed
    return report.no_node.message if report.no_node else report.pin.fact.message


def _progressing(report: Report) -> Fact:
    fact = report.pin.fact
    if report.leaving:
        return Fact(PROGRESSING, True, "Removing", _first(report.leaving))
    if fact.reason == RESOLVING:
        return Fact(PROGRESSING, True, RESOLVING, fact.message)
    moving = [
        f"{place.name}: {place.state.message}"
        for place in report.places
        if place.state.word not in (explain.EXTRACTED, SHADOWED)
    ]
    if moving:
        return Fact(PROGRESSING, True, "Copying", _first(moving))
    others = f"; not meant for it: {report.left_out}" if report.left_out else ""
    return Fact(PROGRESSING, False, "Settled", f"nothing is waiting{others}")


def _degraded(report: Report) -> Fact:
    if _refused(report):
        return Fact(DEGRADED, True, report.pin.fact.reason, report.pin.fact.message)
    message = _message_of(report, explain.ERROR)
    if message:
        failed = (p.state.reason for p in report.places if p.state.word == explain.ERROR)
        return Fact(DEGRADED, True, next(filter(None, failed), "CopyFailed"), message)
    message = _message_of(report, explain.EXTRACTED)
    if message:
        return Fact(DEGRADED, True, "NotOnAllNodes", message)
    if report.no_node is not None and report.no_node.misfits:
        return Fact(DEGRADED, True, "NoCompatibleNode", report.no_node.message)
    if report.silent:
        return Fact(DEGRADED, True, "AgentDown", _silent(report.silent))
    return Fact(DEGRADED, False, "AsExpected", "no copy has failed")


def _silent(nodes: Sequence[str]) -> str:
    more = f" and {len(nodes) - 3} more" if len(nodes) > 3 else ""
    return (
        f"GKM's agent does not run on {', '.join(nodes[:3])}{more}: what is said of GPUs and pods "
        "there may be old; look at the pods of daemonset/gkm-agent"
    )


def _refused(report: Report) -> bool:
    """Whether the image could not be resolved, as opposed to not yet."""
    return not report.pin.fact.true and report.pin.fact.reason != RESOLVING


def _message_of(report: Report, word: str) -> str:
    """Messages of the places in this state, each named, the first three of them."""
    found = [
        f"{place.name}: {place.state.message}"
        for place in report.places
        if place.state.word == word and place.state.message
    ]
    return _first(found)


def _first(messages: Sequence[str]) -> str:
    shown = "; ".join(messages[:3])
    return shown + (f"; and {len(messages) - 3} more" if len(messages) > 3 else "")
