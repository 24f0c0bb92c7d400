"""Conditions of a Cache: Ready first, then those that explain it.

| type        | True when                                     | reasons |
|-------------|-----------------------------------------------|---------|
| Ready       | at least one copy serves and none has failed  | the words of ``core.explain`` |
| Progressing | something moves or waits            | Resolving, Copying, Removing / Settled |
| Resolved    | ``spec.image`` is pinned to a digest          | Pinned, RefreshFailed |
|             |                                               | / the registry's reason |
| Degraded    | a wanted copy failed, or the image did, or    | the failure's word, AgentDown, |
|             | nodes or their agents cannot be reached       | NotOnAllNodes, NoCompatibleNode |
|             |                                               | / AsExpected |
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from gkm.api.cache import Condition

READY = "Ready"
PROGRESSING = "Progressing"
RESOLVED = "Resolved"
DEGRADED = "Degraded"

RESOLVING = "Resolving"
"""Reason of the condition Resolved while the registry is being asked."""

REFRESH_FAILED = "RefreshFailed"
"""Reason of the condition Resolved while a pinned tag cannot be looked up again."""

_LONGEST_MESSAGE = 1024


@dataclass(frozen=True)
class Fact:
    """A condition without its bookkeeping."""

    type: str
    true: bool
    reason: str
    message: str = ""


def pinned(digest: str) -> Fact:
    """``spec.image`` is resolved."""
    return Fact(RESOLVED, True, "Pinned", f"the image is {digest}")


def resolving(image: str) -> Fact:
    """The registry is being asked."""
    return Fact(RESOLVED, False, RESOLVING, f"asking the registry what {image} is")


def unresolved(reason: str, message: str) -> Fact:
    """The registry could not be asked, or said no."""
    return Fact(RESOLVED, False, reason, message)


def not_refreshed(digest: str, reason: str, message: str) -> Fact:
    """The pin stands, but what the tag is now is not known."""
    said = f"the image is {digest}; looking it up again failed: {reason}: {message}"
    return Fact(RESOLVED, True, REFRESH_FAILED, said)


def merged(
    old: Iterable[Condition], facts: Iterable[Fact], generation: int, now: float
) -> list[Condition]:
    """Write the facts down, in their order; the time of a condition moves only with its status."""
    known = {condition.type: condition for condition in old}
    return [_condition(known.get(fact.type), fact, generation, now) for fact in facts]


def _condition(old: Condition | None, fact: Fact, generation: int, now: float) -> Condition:
    status = "True" if fact.true else "False"
    moved = old is None or old.status != status
    time = datetime.fromtimestamp(now, UTC) if moved or old is None else old.last_transition_time
    return Condition(
        type=fact.type,
        status=status,
        reason=fact.reason,
        message=fact.message[:_LONGEST_MESSAGE],
        observed_generation=generation,
        last_transition_time=time,
    )
