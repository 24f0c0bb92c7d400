"""Turns the one next step of a copy into API writes.

Pure: the objects come from ``core.objects``, the order of writes within a step is part of the
step, and every write may be repeated after a crash.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from gkm.api import names
from gkm.core import objects
from gkm.core.actions import (
    CLAIM,
    JOB,
    VOLUME,
    Action,
    CheckUse,
    Create,
    Delete,
    DropStaging,
    Json,
    Look,
    Patch,
    Reserve,
)
from gkm.core.copy import Claim as ClaimState
from gkm.core.copy import Observed, Step
from gkm.core.observe import Copy
from gkm.core.quantity import to_bytes
from gkm.core.retire import next_list, unused_since_two_lists
from gkm.core.retry import failure_of
from gkm.core.view import Cache, Child, Claim, Node, Settings, Use, Volume

BEHIND = 300.0
"""Seconds by which a webhook may be behind: with less news than that it is not ready."""


@dataclass(frozen=True)
class Ground:
    """What a step may need besides the copy itself. ``cache`` is None once the Cache is gone."""

    cache: Cache | None
    wish: objects.Wish
    image: str
    """``repository@digest``."""
    now: float
    uses: Mapping[str, Use]
    nodes: Mapping[str, Node]
    successors: frozenset[tuple[str, str]]
    """Places where a copy that is wanted serves."""
    leaving: Mapping[str, float]
    """Since when (epoch s) each copy, by id, has been on its way out."""
    seen: frozenset[tuple[str, str]]
    """Claims, by namespace and name, that agents report pods of."""

    @property
    def settings(self) -> Settings:
        return self.wish.settings


@dataclass(frozen=True)
class Move:
    """One copy at its next step."""

    copy: Copy
    seen: Observed
    ground: Ground
    serving: str
    """Name that the serving claim is to have."""

    @property
    def id(self) -> str:
        return self.copy.ref.id

    @property
    def cache(self) -> Cache:
        """The Cache; only copies that somebody wants ask for it."""
        if self.ground.cache is None:
            msg = "a step that needs the Cache was taken for a copy that nobody wants"
            raise AssertionError(msg)
        return self.ground.cache

    @property
    def volume(self) -> Volume:
        if self.copy.volume is None:
            msg = "a step that needs the volume was taken for a copy without one"
            raise AssertionError(msg)
        return self.copy.volume


def actions(step: Step, move: Move) -> tuple[Action, ...]:
    """Give the API writes of a step, in order."""
    build = _BUILDERS.get(step)
    return build(move) if build else ()


def _stage(move: Move) -> tuple[Action, ...]:
    cache = move.cache
    wanted: list[Action] = []
    if objects.makes_volume(cache.spec, move.ground.settings):
        node = move.ground.nodes.get(move.copy.ref.node)
        hostname = node.labels.get(names.LABEL_HOSTNAME, node.name) if node else ""
        body = objects.host_path_volume(cache, move.copy.ref, move.ground.wish, hostname)
        wanted.extend(_volume_of_size(body, move))
        if not _known_to_binder(move.copy.volume):
            released = move.seen.stale_ref and not wanted
            return _rearm(move) if released else tuple(wanted)
    if move.copy.staging is None:
        body = objects.staging_claim(cache, move.copy.ref, move.ground.wish)
        wanted.append(Create(CLAIM, body, move.id))
    return tuple(wanted)


def _volume_of_size(body: Json, move: Move) -> tuple[Action, ...]:
    """Make our volume, or give one that is there the size that is asked for now."""
    volume, capacity = move.copy.volume, body["spec"]["capacity"]
    if volume is None:
        return (Create(VOLUME, body, move.id),)
    if to_bytes(volume.capacity) == to_bytes(capacity["storage"]):  # 1024Mi is stored as 1Gi
        return ()
    ref = objects.claim_ref(move.copy.ref.target, move.copy.ref.staging)
    fenced = {"resourceVersion": volume.version}
    patch = {"metadata": fenced, "spec": {"capacity": capacity, "claimRef": ref}}
    return (Patch(VOLUME, "", volume.name, patch, move.id),)


def _known_to_binder(volume: Volume | None) -> bool:
    """Whether the binder has seen for whom the volume is reserved.

    A claim that does not name its volume is looked at again only after 15 s if it came before.
    """
    if volume is None:
        return False
    return volume.phase == "Available" or volume.storage_class != objects.HOST_PATH_CLASS


def _rearm(move: Move) -> tuple[Action, ...]:
    volume = move.volume
    if _binder_is_next(move):
        return ()
    return (_point(volume, volume.claim_namespace, volume.claim_name, move.id),)


def _binder_is_next(move: Move) -> bool:
    """Whether the volume's claim is gone and the binder has yet to write so.

    To write at the same moment would be a conflict; its write is news that brings us back here.
    """
    return move.seen.stale_ref and move.volume.phase == "Bound"


def _nudge(move: Move) -> tuple[Action, ...]:
    """Change the pending claims that the volume is meant for.

    The binder's two workers conflict in half of all cases, and a claim that failed is looked at
    again only at the next resync (15 s) or when it changes.
    """
    copy, seen = move.copy, move.seen
    states = (
        (copy.staging, seen.staging),
        (copy.serving, seen.serving),
        (copy.reclaim, seen.reclaim),
    )
    mark = {names.ANNOTATION_NUDGE: f"{move.ground.now:.3f}"}
    return tuple(
        _annotate(claim, mark, move.id)
        for claim, state in states
        if claim is not None and state is ClaimState.NUDGE
    )


def _run(move: Move) -> tuple[Action, ...]:
    if move.copy.staging is None:
        return ()
    cache = move.cache
    job = objects.extract_job(
        cache, move.copy.ref, move.copy.staging.uid, move.ground.settings, move.ground.image
    )
    return (Create(JOB, job, move.id),)


def _record(move: Move) -> tuple[Action, ...]:
    if move.copy.staging is None or move.copy.job is None:
        return ()
    failure = failure_of(move.copy.job, move.copy.pod_of(move.copy.job), move.ground.now).after(
        move.copy.failure
    )
    mark = {names.ANNOTATION_FAILED: failure.to_json()}
    return (_annotate(move.copy.staging, mark, move.id),)


def _annotate(claim: Claim, annotations: Mapping[str, str | None], copy: str) -> Patch:
    body = {"metadata": {"resourceVersion": claim.version, "annotations": dict(annotations)}}
    return Patch(CLAIM, claim.namespace, claim.name, body, copy)


def _drop_job(move: Move) -> tuple[Action, ...]:
    jobs = [
        job for job in (move.copy.job, move.copy.emptying) if job is not None and not job.deleting
    ]
    return tuple(_delete(JOB, job) for job in jobs)


def _drop_staging(move: Move) -> tuple[Action, ...]:
    """Delete everything that is unfinished."""
    wanted: list[Action] = [*_drop_job(move), *_drop_unfit_reclaim(move)]
    claim = move.copy.staging
    if claim is not None and not claim.deleting:
        handed_on = move.copy.volume is not None
        if handed_on or not claim.volume:
            wanted.append(_delete(CLAIM, claim))
        else:
            place = (claim.namespace, claim.name, claim.uid)
            wanted.append(DropStaging(*place, claim.volume, move.id))
    return tuple(wanted)


def _reserve(move: Move) -> tuple[Action, ...]:
    if move.copy.staging is None:
        return ()
    labels, annotations = objects.marks(move.copy.ref, objects.SERVING)
    annotations[names.ANNOTATION_TARGETS] = move.ground.wish.targets
    pod = move.copy.pod_of(move.copy.job)
    if pod is not None and pod.outcome is not None:
        annotations[names.ANNOTATION_OUTCOME] = pod.outcome.to_json()
    return (
        Reserve(
            namespace=move.copy.ref.target,
            staging=move.copy.staging.name,
            staging_uid=move.copy.staging.uid,
            volume=move.copy.staging.volume,
            serving=move.serving,
            labels=labels,
            annotations=annotations,
            access_modes=(objects.serving_mode(move.copy.ref),),
            copy=move.id,
        ),
    )


def _publish(move: Move) -> tuple[Action, ...]:
    return (Create(CLAIM, objects.serving_claim(move.copy.ref, move.volume), move.id),)


def _unpublish(move: Move) -> tuple[Action, ...]:
    """Clear away what is unfinished at once, and the serving claim once nobody uses it."""
    wanted = list(_drop_staging(move))
    claim = move.copy.serving
    if claim is None:
        return tuple(wanted)
    use, now = move.ground.uses.get(claim.uid), move.ground.now
    word = _superseded(move, use)
    if _is_empty(move):
        return (*wanted, _delete(CLAIM, claim))
    if word not in ("", claim.superseded):
        wanted.append(_annotate(claim, {names.ANNOTATION_SUPERSEDED: word}, move.id))
    if now < looked_for_from(move.ground, move.copy):
        return tuple(wanted)
    if unused_since_two_lists(use, now):
        return (*wanted, _delete(CLAIM, claim))
    seen = (claim.namespace, claim.name) in move.ground.seen
    if use is None or now < use.checked or now >= next_list(use, seen=seen):
        look = Look(claim.name, claim.uid, move.id)
        wanted.append(CheckUse(claim.namespace, (look,)))
    return tuple(wanted)


def _is_empty(move: Move) -> bool:
    """Whether a per-node claim has lost its volume: who deletes it takes nothing from anybody.

    And as long as it is there, every new pod of its node gets it again.
    """
    lost = move.seen.serving is ClaimState.UNFIT or move.copy.volume is None
    return bool(move.copy.ref.node_uid) and lost


def looked_for_from(ground: Ground, copy: Copy) -> float:
    """From when on the users of a copy are looked for.

    A webhook that is a little behind may send pods to an earlier copy after another serves; where
    none does, the pods that it sends would wait in any case.
    """
    if not waits_for_webhooks(ground, copy):
        return 0.0
    return ground.leaving.get(copy.ref.id, ground.now) + BEHIND


def waits_for_webhooks(ground: Ground, copy: Copy) -> bool:
    """Whether a copy that is not wanted stays for a while although another serves its node."""
    return bool(copy.ref.node_uid) and copy.ref.place in ground.successors


def _superseded(move: Move, use: Use | None) -> str:
    """The mark that tells the node's agent what its pods use; where there are none, none."""
    used = use is not None and use.pods
    cache = move.ground.cache
    if cache is None or cache.deleting:
        return names.DELETING if used else ""
    return names.OUTDATED if used or move.copy.ref.place in move.ground.successors else ""


def _restore(move: Move) -> tuple[Action, ...]:
    if move.copy.serving is None:
        return ()
    return (_annotate(move.copy.serving, {names.ANNOTATION_SUPERSEDED: None}, move.id),)


def _drop_unfit_reclaim(move: Move) -> tuple[Action, ...]:
    claim = move.copy.reclaim
    if claim is None or move.seen.reclaim is not ClaimState.UNFIT:
        return ()
    return (_delete(CLAIM, claim),)


def _reclaim(move: Move) -> tuple[Action, ...]:
    unfit = _drop_unfit_reclaim(move)
    if unfit:
        return (*_drop_job(move), *unfit)
    volume, claim = move.volume, move.copy.reclaim
    wanted: list[Action] = list(_drop_job(move))
    if _binder_is_next(move):
        return tuple(wanted)
    place = (move.ground.settings.namespace, move.copy.ref.reclaim)
    if move.seen.stale_ref or (volume.claim_namespace, volume.claim_name) != place:
        wanted.append(_point(volume, *place, move.id))
    if claim is None and _known_to_binder(volume):
        body = objects.reclaim_claim(move.copy.ref, volume, move.ground.settings)
        wanted.append(Create(CLAIM, body, move.id))
    return tuple(wanted)


def _empty(move: Move) -> tuple[Action, ...]:
    return (Create(JOB, objects.empty_job(move.copy.ref, move.ground.settings), move.id),)


def _discard(move: Move) -> tuple[Action, ...]:
    """Delete the volume first: that it goes is what says that it was emptied."""
    wanted: list[Action] = []
    volume, claim = move.copy.volume, move.copy.reclaim
    if volume is not None and volume.host_path and not volume.deleting:
        wanted.append(_delete(VOLUME, volume))
    wanted.extend(_drop_job(move))
    if claim is not None and not claim.deleting:
        wanted.append(_delete(CLAIM, claim))
    return tuple(wanted)


def _let_go(move: Move) -> tuple[Action, ...]:
    """Leave the volume as it is; without our labels it is no child of the Cache any more."""
    labels, annotations = objects.marks(move.copy.ref, objects.SERVING)
    meta = {
        "resourceVersion": move.volume.version,
        "labels": dict.fromkeys(labels),
        "annotations": dict.fromkeys((*annotations, names.ANNOTATION_TARGETS)),
    }
    return (Patch(VOLUME, "", move.volume.name, {"metadata": meta}, move.id),)


def _delete(kind: str, child: Child) -> Delete:
    return Delete(kind, child.namespace, child.name, child.uid, child.copy)


def _point(volume: Volume, namespace: str, name: str, copy: str) -> Patch:
    """Point the volume at a claim by name, fenced: a change in between makes the patch fail."""
    spec: dict[str, object] = {"claimRef": objects.claim_ref(namespace, name)}
    if volume.provisioned:
        spec["persistentVolumeReclaimPolicy"] = "Delete"
    body = {"metadata": {"resourceVersion": volume.version}, "spec": spec}
    return Patch(VOLUME, "", volume.name, body, copy)


_Builder = Callable[[Move], tuple[Action, ...]]
_BUILDERS: dict[Step, _Builder] = {
    Step.STAGE: _stage,
    Step.REARM: _rearm,
    Step.NUDGE: _nudge,
    Step.RUN: _run,
    Step.RECORD: _record,
    Step.DROP_JOB: _drop_job,
    Step.DROP_STAGING: _drop_staging,
    Step.RESERVE: _reserve,
    Step.PUBLISH: _publish,
    Step.RESTORE: _restore,
    Step.UNPUBLISH: _unpublish,
    Step.RECLAIM: _reclaim,
    Step.EMPTY: _empty,
    Step.DISCARD: _discard,
    Step.LET_GO: _let_go,
}
