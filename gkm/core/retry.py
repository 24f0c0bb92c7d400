"""When a failed extraction is tried again, and how the failure is remembered.

The memory is one annotation on the staging claim, so that it survives a restart of the operator
and dies with the claim. Attempts are counted per input: an edit starts anew.
"""

import hashlib
import json
from dataclasses import asdict, dataclass, replace

from gkm.api.errors import Rejected, Retry
from gkm.core.outcome import EXIT_REJECTED
from gkm.core.view import Job, JobPod, Trouble

UNAVAILABLE = "ApiServerUnavailable"
QUOTA_EXCEEDED = "QuotaExceeded"
_FIRST_SECONDS = 5.0
LONGEST = 300.0
_SOON_SECONDS, _AWAY_SECONDS = 2.0, 40.0
_MOST_ATTEMPTS = 1_000_000
_LONGEST_REASON, _LONGEST_MESSAGE = 64, 1024
"""Characters that are believed of an annotation, which anybody may write."""
_LOG = "see its log"
_REMEDIES = {
    "OOMKilled": "raise extraction.resources.limits.memory of GKM's chart",
    "DeadlineExceeded": "raise extraction.deadlineSeconds of GKM's chart if it is only slow",
}


@dataclass(frozen=True)
class Failure:
    """A failed extraction: which Job, from which input, why, how often, and when (epoch s)."""

    job: str
    input: str
    reason: str
    message: str
    attempts: int
    at: float
    final: bool
    """Only new input helps: there is no next attempt."""

    def to_json(self) -> str:
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":"))

    @classmethod
    def parse(cls, text: str) -> "Failure | None":
        """Read the annotation; None if it is empty or not ours."""
        try:
            raw = json.loads(text)
            return cls(
                job=str(raw["job"]),
                input=str(raw["input"]),
                reason=str(raw["reason"])[:_LONGEST_REASON],
                message=str(raw["message"])[:_LONGEST_MESSAGE],
                attempts=min(max(int(raw["attempts"]), 1), _MOST_ATTEMPTS),
                at=float(raw["at"]),
                final=raw["final"] is True,
            )
        except (ValueError, TypeError, KeyError, ArithmeticError, RecursionError):
            return None

    def after(self, earlier: "Failure | None") -> "Failure":
        """Count this failure on top of an earlier one from the same input."""
        if earlier is None or earlier.input != self.input:
            return self
        return replace(self, attempts=earlier.attempts + 1)

    def due(self) -> float:
        """Time of the next attempt: growing, jittered, at most five minutes away."""
        return self.at + backoff(self.attempts, self.job)


def failure_of(job: Job, pod: JobPod | None, now: float) -> Failure:
    """Say in a user's words why a Job failed: its own outcome, else what the platform says."""
    final = pod is not None and pod.exit_code == EXIT_REJECTED
    if pod is not None and pod.outcome is not None:
        reason, message = pod.outcome.reason, pod.outcome.message
    else:
        reason = (pod.ended if pod else "") or job.failed or "Failed"
        code = f" (exit code {pod.exit_code})" if pod and pod.exit_code is not None else ""
        message = f"the extraction Job ended with {reason}{code}; {_REMEDIES.get(reason, _LOG)}"
    return Failure(job.uid, job.input_hash, reason, message, 1, now, final)


def backoff(attempts: int, seed: str) -> float:
    """Seconds to wait after ``attempts`` failures (from 1): doubling, spread over [0.5, 1]."""
    longest = min(LONGEST, _FIRST_SECONDS * 2.0 ** min(attempts - 1, 16))
    return longest * _spread(f"{seed}/{attempts}")


def patience(since: float, now: float, seed: str, longest: float = _AWAY_SECONDS) -> float:
    """Seconds to wait while the API server is away: up to half as long as it has been.

    By time and not by failures, of which a burst of changes makes many in a moment.
    """
    return min(longest, max(_SOON_SECONDS, (now - since) / 2)) * _spread(f"{seed}/{now}")


def _spread(seed: str) -> float:
    """A number in [0.5, 1] that differs from seed to seed."""
    return 0.5 + hashlib.sha256(seed.encode()).digest()[0] / 510


def waits(again: float, now: float) -> bool:
    """Whether it is too soon; a time that no pause reaches is of a clock that was wrong."""
    return now < again <= now + LONGEST


def trouble(old: Trouble | None, word: Retry | Rejected, now: float) -> Trouble:
    """Remember why something could not be done; pauses grow while it goes wrong again."""
    if isinstance(word, Rejected):
        return Trouble(word.reason, word.message, again=0.0, final=True)
    attempts, since = (old.attempts + 1, old.since) if old is not None else (1, now)
    away = word.reason == UNAVAILABLE
    own = patience(since, now, word.message) if away else backoff(attempts, word.message)
    pause = max(min(word.after or 0.0, LONGEST), own)
    return Trouble(word.reason, word.message, now + pause, attempts=attempts, since=since)


def telling(trouble: Trouble) -> bool:
    """Whether trouble is worth a user's attention: the API server is away now and then."""
    return trouble.reason != UNAVAILABLE or trouble.attempts >= 3
