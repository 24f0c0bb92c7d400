"""What the agent of a node reports: pure, from what it sees to the status of each CacheNode.

| claim                           | phase                                     |
|---------------------------------|-------------------------------------------|
| staging, per node               | Downloading; Error after a failed attempt |
| serving                         | Running if pods here use it, else Extracted |
| serving, not wanted any more    | Outdated or Deleting                      |
| shared: serving, without a pod here | none: it is not on this node          |
| shared: staging                 | none: it comes to no node in particular   |
| of a node that had this name before | none                                  |

While a version has a staging and a serving claim in a namespace, the serving one speaks: what is
there counts for more than what comes.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from operator import itemgetter
from typing import Final

from gkm.api.cache import Condition, JsonObject
from gkm.api.cachenode import CacheEntry, CacheNodeStatus, ClaimEntry, NodeCounts
from gkm.api.names import DELETING, OUTDATED, CacheKey
from gkm.core import gputargets, nodegpus
from gkm.core.conditions import READY
from gkm.core.fit import Verdict, fit_node
from gkm.core.gpu import Gpu
from gkm.core.nodeview import NodeClaim, NodePod, ThisNode
from gkm.core.objects import SERVING
from gkm.core.retry import Failure

CLUSTER: Final = ""
"""Place of the ClusterGKMCacheNode; that of a GKMCacheNode is its namespace."""

_ERROR, _DOWNLOADING, _RUNNING, _EXTRACTED = "Error", "Downloading", "Running", "Extracted"
_ORDER: Final = (_ERROR, DELETING, OUTDATED, _RUNNING, _EXTRACTED, _DOWNLOADING)
"""Of several claims' phases the first is the entry's: what needs attention most. Downloading is
last, because it matters only while none serves."""
_GOOD: Final = frozenset({_EXTRACTED, _RUNNING, OUTDATED})
_LONGEST_MESSAGE: Final = 256
"""Characters: an object holds the entries of all caches of its node."""
_MOST_CLAIMS: Final = 200
"""Of one object. The API server refuses one of 1 MiB or so, and the node's GPUs with it."""


@dataclass(frozen=True)
class Look:
    """What the last look for GPUs found: None is "not known yet"; and why some may be missing."""

    gpus: tuple[Gpu, ...] | None
    message: str = ""


@dataclass(frozen=True)
class _Voice:
    """What one claim has to say."""

    claim: NodeClaim
    phase: str
    message: str
    users: frozenset[str]

    def entry(self) -> ClaimEntry:
        return ClaimEntry(
            namespace=self.claim.namespace,
            claim=self.claim.name,
            phase=self.phase,
            message=self.message,
            pods=len(self.users),
        )


def report(
    node: ThisNode, look: Look, claims: Iterable[NodeClaim], pods: Iterable[NodePod]
) -> dict[str, CacheNodeStatus]:
    """Return the status of each CacheNode that the node should have, by place, without times.

    The ClusterGKMCacheNode is always there, a GKMCacheNode only where it has an entry. Claims for
    which there is no room are only counted.
    """
    places: dict[str, list[_Voice]] = {CLUSTER: []}
    for voice in _voices(node.uid, claims, _users(pods)):
        places.setdefault(voice.claim.key.namespace, []).append(voice)
    return {place: _status(node.name, look, voices) for place, voices in places.items()}


def read(status: JsonObject) -> CacheNodeStatus:
    """Read a status back; one that cannot be read, so is not the agent's, counts as empty."""
    try:
        return CacheNodeStatus.model_validate(status)
    except ValueError:
        return CacheNodeStatus()


def stamped(new: CacheNodeStatus, old: CacheNodeStatus, now: datetime) -> CacheNodeStatus:
    """Date a report: entries that say what ``old`` says keep its times."""
    caches = {
        name: {
            digest: _stamped(entry, old.caches.get(name, {}).get(digest), now)
            for digest, entry in versions.items()
        }
        for name, versions in new.caches.items()
    }
    return new.model_copy(update={"caches": caches})


def _users(pods: Iterable[NodePod]) -> dict[tuple[str, str], frozenset[str]]:
    """Uids of the pods that use a claim, by the claim's namespace and name."""
    found: dict[tuple[str, str], set[str]] = {}
    for pod in pods:
        for claim in pod.claims:
            found.setdefault((pod.namespace, claim), set()).add(pod.uid)
    return {claim: frozenset(uids) for claim, uids in found.items()}


def _voices(
    uid: str, claims: Iterable[NodeClaim], users: Mapping[tuple[str, str], frozenset[str]]
) -> list[_Voice]:
    ordered = sorted(claims, key=_order)
    said = [_voice(one, users.get((one.namespace, one.name), frozenset())) for one in ordered]
    here = [voice for voice in said if _concerns(voice, uid)]
    served = {_version(voice.claim) for voice in here if voice.claim.role == SERVING}
    return [v for v in here if v.claim.role == SERVING or _version(v.claim) not in served]


def _chosen(voices: Iterable[_Voice]) -> list[_Voice]:
    """Pick those that an object has room for: of each namespace the oldest, in turn.

    Whoever forges any number of claims pushes out no older one of their own namespace, and takes
    no more room from the others than their namespace's share.
    """
    turns: Counter[str] = Counter()
    ranked: list[tuple[int, _Voice]] = []
    for voice in sorted(voices, key=_age):
        turns[voice.claim.namespace] += 1
        ranked.append((turns[voice.claim.namespace], voice))
    ranked.sort(key=itemgetter(0))  # stable: within a turn the oldest is first
    return sorted((voice for _, voice in ranked[:_MOST_CLAIMS]), key=lambda one: _order(one.claim))


def _order(claim: NodeClaim) -> tuple[CacheKey, str, str]:
    return claim.key, claim.namespace, claim.name


def _age(voice: _Voice) -> tuple[str, str, str]:
    return voice.claim.created, voice.claim.namespace, voice.claim.name


def _voice(claim: NodeClaim, users: frozenset[str]) -> _Voice:
    if claim.role == SERVING:
        phase = claim.superseded or (_RUNNING if users else _EXTRACTED)
        return _Voice(claim, phase, "", users)
    failure = Failure.parse(claim.failed)
    if failure is None:
        return _Voice(claim, _DOWNLOADING, "", frozenset())
    return _Voice(claim, _ERROR, failure.message[:_LONGEST_MESSAGE], frozenset())


def _concerns(voice: _Voice, uid: str) -> bool:
    return bool(voice.users) if voice.claim.shared else voice.claim.node_uid == uid


def _version(claim: NodeClaim) -> tuple[object, ...]:
    return claim.key, claim.digest, claim.namespace


def _status(name: str, look: Look, voices: list[_Voice]) -> CacheNodeStatus:
    versions: dict[str, dict[str, list[_Voice]]] = {}
    listed = _chosen(voices)
    for voice in listed:
        digests = versions.setdefault(voice.claim.key.name, {})
        digests.setdefault(voice.claim.digest, []).append(voice)
    return CacheNodeStatus(
        node_name=name if look.gpus is not None else "",
        counts=_counts(listed),
        gpus=nodegpus.groups(look.gpus or ()),
        gpu_message=look.message[:_LONGEST_MESSAGE],
        claims_left_out=len(voices) - len(listed),
        caches={
            cache: {digest: _entry(said, look.gpus) for digest, said in sorted(digests.items())}
            for cache, digests in sorted(versions.items())
        },
    )


def _counts(voices: list[_Voice]) -> NodeCounts:
    def pods(phase: str) -> int:
        return len({uid for voice in voices if voice.phase == phase for uid in voice.users})

    used = any(voice.users for voice in voices)
    served = any(voice.claim.role == SERVING for voice in voices)
    return NodeCounts(
        node_in_use_cnt=int(used),
        node_not_in_use_cnt=int(served and not used),
        node_error_cnt=int(any(voice.phase == _ERROR for voice in voices)),
        pod_running_cnt=pods(_RUNNING),
        pod_deleting_cnt=pods(DELETING),
        pod_outdated_cnt=pods(OUTDATED),
    )


def _entry(voices: list[_Voice], gpus: tuple[Gpu, ...] | None) -> CacheEntry:
    first = min(voices, key=lambda voice: _ORDER.index(voice.phase))
    ready = Condition(
        type=READY,
        status="True" if first.phase in _GOOD else "False",
        reason=first.phase,
        message=first.message,
    )
    entry = CacheEntry(conditions=(ready,), claims=tuple(voice.entry() for voice in voices))
    if gpus is None:
        return entry
    targets = next(filter(None, (voice.claim.targets for voice in voices)), "")
    fit = fit_node(gputargets.parse(targets), gpus)
    return entry.model_copy(
        update={
            "compatible_gpus": fit.numbers(Verdict.FITS),
            "incompatible_gpus": fit.numbers(Verdict.UNFIT),
            "fit": fit.message[:_LONGEST_MESSAGE],
        }
    )


def _stamped(new: CacheEntry, old: CacheEntry | None, now: datetime) -> CacheEntry:
    since = {one.status: one.last_transition_time for one in old.conditions} if old else {}
    conditions = tuple(
        one.model_copy(update={"last_transition_time": since.get(one.status) or now})
        for one in new.conditions
    )
    dated = {"conditions": conditions, "last_updated": (old and old.last_updated) or now}
    entry = new.model_copy(update=dated)
    return entry if entry == old else entry.model_copy(update={"last_updated": now})
