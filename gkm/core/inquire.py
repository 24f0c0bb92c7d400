"""When to ask the cluster's own events why a child does not get on, and which of them to believe.

A claim that nobody provisions and a Job whose pods are refused say so in events and nowhere else.
Those are not watched: they are listed for the one object, when it has waited for longer than it
should have, and then every half minute.
"""

import re
from collections.abc import Iterable
from typing import Any

from gkm.core.actions import CLAIM, JOB, Inquire
from gkm.core.copy import Claim as ClaimState
from gkm.core.copy import Job as JobState
from gkm.core.copy import Observed
from gkm.core.observe import POD_PATIENCE, STORAGE_PATIENCE, Copy
from gkm.core.view import Claim, Job, Said

Json = dict[str, Any]
_AGAIN = 30.0
_TELLING = ("ExternalProvisioning",)
"""Reasons that are worth showing though the event is no warning."""


def waits(one: Copy, seen: Observed) -> Claim | Job | None:
    """The child that an unfinished copy waits for although the next move is not ours."""
    if seen.job is not JobState.RUNNING:
        return None
    if one.pod_of(one.job) is None:
        return one.job
    return one.staging if seen.staging is ClaimState.PENDING else None


def due(child: Claim | Job, said: Said | None) -> float:
    """Time at which the events of a waiting child are to be listed (again)."""
    patience = STORAGE_PATIENCE if isinstance(child, Claim) else POD_PATIENCE
    return said.checked + _AGAIN if said is not None else child.created + patience


def inquiry(child: Claim | Job) -> Inquire:
    """The action that lists the events of ``child``."""
    kind = CLAIM if isinstance(child, Claim) else JOB
    return Inquire(kind, child.namespace, child.name, child.uid, child.copy)


def heard(events: Iterable[Json], name: str, now: float) -> Said:
    """What the last telling event says; ``name`` is the object's, for the names made from it.

    The names of pods that were never made differ in each event: they are left out, so that the
    same complaint is the same text.
    """
    telling = [e for e in events if e.get("type") == "Warning" or e.get("reason") in _TELLING]
    if not telling:
        return Said("", now)
    last = max(telling, key=_time)
    message = re.sub(rf"{re.escape(name)}-[a-z0-9]{{5}}\b", name, last.get("message") or "")
    return Said(f"{last.get('reason', '')}: {message}", now)


def _time(event: Json) -> str:
    series = (event.get("series") or {}).get("lastObservedTime")
    found: str = series or event.get("lastTimestamp") or event.get("eventTime") or ""
    return found
