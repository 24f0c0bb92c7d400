"""From the states of all targets to the Cache's status: one word for a person, the rest beside it.

Computed from what is there now, never by changing earlier numbers. Node and pod counts stay out
until agents report them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from gkm.api.cache import CacheStatus, NamespaceStatus
from gkm.core import explain
from gkm.core.conditions import DEGRADED, PROGRESSING, READY, RESOLVING, Fact, merged
from gkm.core.explain import State
from gkm.core.targets import NO_NAMESPACE, SHADOWED
from gkm.core.view import Cache

_SERVING = (explain.OUTDATED, explain.EXTRACTED)
_ORDER_WHILE_NONE_SERVES = (NO_NAMESPACE, explain.DOWNLOADING, explain.PENDING)


@dataclass(frozen=True)
class Report:
    """What the plan found out about one Cache."""

    resolved: Fact
    digest: str
    image: str
    size: int | None
    states: Sequence[tuple[str, str, State]]
    """Of each namespace: its name, the claim to mount (or ""), and its state."""
    leaving: Sequence[str] = ()
    """What is being removed, in words."""


def status(cache: Cache, report: Report, now: float) -> dict[str, Any]:
    """The wanted status as JSON; equal to the present one if nothing but time has passed."""
    facts = (_ready(cache, report), _progressing(report), report.resolved, _degraded(report))
    wanted = CacheStatus(
        conditions=tuple(merged(cache.status.conditions, facts, cache.generation, now)),
        observed_generation=cache.generation,
        resolved_image=report.image or None,
        resolved_digest=report.digest or None,
        resolved_bytes=report.size,
        counts=cache.status.counts,
        namespaces=tuple(
            NamespaceStatus(namespace=name, claim=claim, phase=state.word, message=state.message)
            for name, claim, state in report.states
        ),
        failing_nodes=cache.status.failing_nodes,
        last_updated=cache.status.last_updated,
    )
    if wanted != cache.status:
        moment = datetime.fromtimestamp(int(now), UTC)
        wanted = wanted.model_copy(update={"last_updated": moment})
    return wanted.dump()


def _ready(cache: Cache, report: Report) -> Fact:
    words = [state.word for _, _, state in report.states]
    if cache.deleting:
        return Fact(READY, False, explain.DELETING, _first(report.leaving))
    if explain.ERROR in words:
        return Fact(READY, False, explain.ERROR, _message_of(report, explain.ERROR))
    if not any(word in _SERVING for word in words):
        return _not_serving(cache, report, words)
    word = explain.OUTDATED if explain.OUTDATED in words else explain.EXTRACTED
    serving = sum(word in _SERVING for word in words)
    message = f"{serving} of {len(words)} namespaces have the cache ({report.digest})"
    detail = _message_of(report, word)
    return Fact(READY, True, word, f"{message}; {detail}" if detail else message)


def _not_serving(cache: Cache, report: Report, words: list[str]) -> Fact:
    for word in _ORDER_WHILE_NONE_SERVES:
        if word in words:
            return Fact(READY, False, word, _message_of(report, word))
    if _refused(report):
        reason = report.resolved.reason
        return Fact(READY, False, explain.ERROR, f"{reason}: {report.resolved.message}")
    return Fact(READY, False, explain.PENDING, _why_no_target(cache, report))


def _why_no_target(cache: Cache, report: Report) -> str:
    if not cache.spec.shared:
        return (
            "per-node copies need GKM's node agent, which this version does not have: "
            "use ReadOnlyMany or ReadWriteMany storage (spec.accessModes)"
        )
    if not cache.key.namespace and not cache.spec.workload_namespaces:
        return "spec.workloadNamespaces is empty: name the namespaces that need the cache"
    shadowed = _message_of(report, SHADOWED)
    return shadowed or report.resolved.message


def _progressing(report: Report) -> Fact:
    if report.leaving:
        return Fact(PROGRESSING, True, "Removing", _first(report.leaving))
    if report.resolved.reason == RESOLVING:
        return Fact(PROGRESSING, True, RESOLVING, report.resolved.message)
    moving = [
        f"{name}: {state.message}"
        for name, _, state in report.states
        if state.word not in (explain.EXTRACTED, SHADOWED)
    ]
    if moving:
        return Fact(PROGRESSING, True, "Copying", _first(moving))
    return Fact(PROGRESSING, False, "Settled", "nothing is waiting")


def _degraded(report: Report) -> Fact:
    if _refused(report):
        return Fact(DEGRADED, True, report.resolved.reason, report.resolved.message)
    message = _message_of(report, explain.ERROR)
    if message:
        reasons = (s.reason for _, _, s in report.states if s.word == explain.ERROR)
        return Fact(DEGRADED, True, next(filter(None, reasons), "CopyFailed"), message)
    message = _message_of(report, explain.EXTRACTED)
    if message:
        return Fact(DEGRADED, True, "NotOnAllNodes", message)
    return Fact(DEGRADED, False, "AsExpected", "no copy has failed")


def _refused(report: Report) -> bool:
    """Whether the image could not be resolved, as opposed to not yet."""
    return not report.resolved.true and report.resolved.reason != RESOLVING


def _message_of(report: Report, word: str) -> str:
    """Messages of the namespaces in this state, each named, the first three of them."""
    found = [f"{name}: {s.message}" for name, _, s in report.states if s.word == word and s.message]
    return _first(found)


def _first(messages: Sequence[str]) -> str:
    shown = "; ".join(messages[:3])
    return shown + (f"; and {len(messages) - 3} more" if len(messages) > 3 else "")
