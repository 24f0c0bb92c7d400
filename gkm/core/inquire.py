"""When to ask the cluster's own events why a child does not get on, and which of them to believe.

And when to ask an extraction that takes long how far it is: its log says so.

A claim that nobody provisions, a Job whose pods are refused and a pod that cannot mount say so in
events and nowhere else. Those are not watched: they are listed for the one object, when it has
waited for longer than it should have, and then every half minute.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from gkm.core.actions import CLAIM, JOB, LOG, POD, Inquire
from gkm.core.copy import Claim as ClaimState
from gkm.core.copy import Job as JobState
from gkm.core.copy import Observed
from gkm.core.observe import POD_PATIENCE, STORAGE_PATIENCE, Copy
from gkm.core.progress import Progress
from gkm.core.view import Job, Said

Json = dict[str, Any]
_AGAIN = 30.0
LONG = 30.0
"""Seconds after which an extraction is asked how far it is: most are over by then."""
_TELLING = "ExternalProvisioning"
"""Worth showing though it is no warning; repeated all the time, so only when there is no other."""
_COMBINED = "(combined from similar events): "
_VARYING = re.compile(r'"[^"]*"|[0-9a-f-]{8,}|[0-9]+')
"""Names of pods that were never made, request ids, numbers: they differ in each event."""


@dataclass(frozen=True)
class Silent:
    """A child that an unfinished copy waits for, and since when (epoch s) that is too long."""

    kind: str
    namespace: str
    name: str
    uid: str
    since: float

    def due(self, said: Said | None) -> float:
        """Time at which its events are to be listed (again)."""
        known = said is not None and said.log is (self.kind == LOG)
        return said.checked + _AGAIN if said is not None and known else self.since

    def inquiry(self, copy: str) -> Inquire:
        """The action that lists its events, on behalf of a copy."""
        return Inquire(self.kind, self.namespace, self.name, self.uid, copy)


def silent(one: Copy, seen: Observed) -> Silent | None:
    """The child that the copy waits for, where the next move is neither ours nor explained."""
    for job, state in ((one.job, seen.job), (one.emptying, seen.emptying)):
        if job is not None and state is JobState.RUNNING:
            return _behind(one, seen, job)
    return None


def _behind(one: Copy, seen: Observed, job: Job) -> Silent | None:
    pod, claim = one.pod_of(job), one.staging
    if pod is None:
        return Silent(JOB, job.namespace, job.name, job.uid, job.created + POD_PATIENCE)
    if claim is not None and seen.staging is ClaimState.PENDING:
        late = claim.created + STORAGE_PATIENCE
        return Silent(CLAIM, claim.namespace, claim.name, claim.uid, late)
    if pod.phase == "Pending" and not pod.waiting:
        return Silent(POD, pod.namespace, pod.name, pod.uid, job.created + STORAGE_PATIENCE)
    if pod.started and job is one.job:
        return Silent(LOG, pod.namespace, pod.name, pod.uid, pod.started + LONG)
    return None


def heard(events: Iterable[Json], earlier: Said | None, now: float) -> Said:
    """What the last warning says; the same complaint keeps its text, so that it is written once."""
    every = list(events)
    warnings = [event for event in every if event.get("type") == "Warning"]
    telling = warnings or [event for event in every if event.get("reason") == _TELLING]
    if not telling:
        return Said("", now)
    last = max(telling, key=_time)
    text = (last.get("message") or "").removeprefix(_COMBINED)
    message = f"{last.get('reason', '')}: {text}"
    if earlier is not None and _constant(earlier.message) == _constant(message):
        message = earlier.message
    return Said(message, now)


def far(log: str, now: float) -> Said:
    """How far an extraction is, by its log."""
    return Said(str(Progress.last(log) or ""), now, log=True)


def _constant(message: str) -> str:
    return _VARYING.sub("", message)


def _time(event: Json) -> str:
    series = (event.get("series") or {}).get("lastObservedTime")
    found: str = series or event.get("lastTimestamp") or event.get("eventTime") or ""
    return found
