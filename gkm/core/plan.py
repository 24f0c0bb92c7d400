"""Decides everything about one Cache from one view of it: what to do, what to report, when again.

A pure function of its arguments: it never knows which event woke it, and repeated without a change
it gives a plan that writes nothing.
"""

from typing import Any

from gkm.api import names
from gkm.core import explain, objects, rollup, steps
from gkm.core.actions import LOG, Action, CheckUse, Create, Event, Look, Patch, Plan, Resolve
from gkm.core.conditions import READY
from gkm.core.copy import Step
from gkm.core.image import Reference
from gkm.core.inquire import Silent, silent
from gkm.core.judge import Judged, judge, volume_size
from gkm.core.observe import wake
from gkm.core.pin import Pin, pin
from gkm.core.report import PATIENCE, Scene
from gkm.core.retire import next_list
from gkm.core.targets import RELEASED_AFTER, Meant, Standing, standings, targets
from gkm.core.view import Cache, Settings, View

_MOST_LOGS = 3
"""Of one Cache: so many copies a status names."""
_IN_LINE = 30.0
"""Seconds after which a copy that waits for its turn asks again, in case nobody called it."""


def plan(view: View, settings: Settings, now: float) -> Plan:
    """Plan one Cache; ``now`` in seconds of the epoch."""
    cache, pinned = view.cache, pin(view, now)
    nodes = () if cache is None or cache.deleting else standings(view, pinned.compiled)
    goals = targets(view, nodes, now)
    judged = judge(view, settings, pinned, goals, now)
    ground = _ground(view, settings, pinned, judged, now)
    unwanted = _unwanted(nodes, judged)
    again = _again(ground, view, pinned, judged, unwanted)
    leaving = unwanted | _replaced(ground, judged)
    if cache is not None and cache.deleting and not judged:
        return Plan(_finalizer(cache, present=False), again=again)
    actions = _actions(ground, view, settings, pinned, judged)
    queued = any(one.in_line for one in judged)
    if cache is None:
        return Plan(actions, again=again, leaving=leaving, queued=queued)
    report = Scene(view, pinned, nodes, goals, judged, now).report()
    status = rollup.status(cache, report, now)
    return Plan(actions, status, _events(cache, status), again, leaving, queued)


def _unwanted(nodes: tuple[Standing, ...], judged: tuple[Judged, ...]) -> frozenset[str]:
    """The nodes (``Standing.key``) that have something of the Cache and are not meant for it."""
    used = {one.copy.ref.node_uid for one in judged}
    return frozenset(n.key for n in nodes if n.meant is Meant.NO and n.node.uid in used)


def _replaced(ground: steps.Ground, judged: tuple[Judged, ...]) -> frozenset[str]:
    """The copies (ids) that another serves in place of, but that a webhook may not know of yet."""
    going = (one.copy for one in judged if one.copy.serving and not one.seen.wanted)
    return frozenset(c.ref.id for c in going if steps.waits_for_webhooks(ground, c))


def _ground(
    view: View, settings: Settings, pinned: Pin, judged: tuple[Judged, ...], now: float
) -> steps.Ground:
    cache = view.cache
    size = volume_size(cache, pinned) if cache else 0
    image = Reference.parse(pinned.image).pinned(pinned.digest) if pinned.digest else ""
    wish = objects.Wish(size, pinned.compiled.to_json(), settings)
    successors = frozenset(one.copy.ref.place for one in judged if one.serves and one.seen.wanted)
    seen = frozenset((one.namespace, one.claim) for _, one in view.entries if one.pods)
    around = (view.uses, view.nodes, successors, view.leaving, seen)
    return steps.Ground(cache, wish, image, now, *around)


def _actions(
    ground: steps.Ground,
    view: View,
    settings: Settings,
    pinned: Pin,
    judged: tuple[Judged, ...],
) -> tuple[Action, ...]:
    cache = view.cache
    wanted: list[Action] = []
    for one in judged:
        move = steps.Move(one.copy, one.seen, ground, one.serving)
        wanted.extend(steps.actions(one.step, move))
    wanted = _together(wanted, judged, ground)
    wanted.extend(_inquiries(view, judged, ground.now))
    if cache is None:
        return tuple(wanted)
    if pinned.ask:
        wanted.insert(0, Resolve(cache.spec.image, _secrets(cache, settings), pinned.digest))
    if any(isinstance(action, Create) for action in wanted) and not cache.deleting:
        wanted[:0] = _finalizer(cache, present=True)
    return tuple(wanted)


def _together(
    wanted: list[Action], judged: tuple[Judged, ...], ground: steps.Ground
) -> list[Action]:
    """List the pods of a namespace once, for every claim there whose users are looked for."""
    due = dict.fromkeys(one.namespace for one in wanted if isinstance(one, CheckUse))
    looks: dict[str, list[Look]] = {namespace: [] for namespace in due}
    for one in judged:
        claim, copy = one.copy.serving, one.copy
        looked = one.step is Step.UNPUBLISH and ground.now >= steps.looked_for_from(ground, copy)
        if claim is not None and looked and claim.namespace in looks:
            looks[claim.namespace].append(Look(claim.name, claim.uid, copy.ref.id))
    others: list[Action] = [one for one in wanted if not isinstance(one, CheckUse)]
    return others + [CheckUse(namespace, tuple(found)) for namespace, found in looks.items()]


def _inquiries(view: View, judged: tuple[Judged, ...], now: float) -> list[Action]:
    due = (pair for pair in _silent(judged) if pair[1].due(view.said.get(pair[1].uid)) <= now)
    return [child.inquiry(one.copy.ref.id) for one, child in due]


def _silent(judged: tuple[Judged, ...]) -> list[tuple[Judged, Silent]]:
    """The copies that wait for somebody else, and for what."""
    every = ((one, silent(one.copy, one.seen)) for one in judged if one.step is Step.WAIT)
    waiting = [(one, child) for one, child in every if child is not None]
    logs = [child for _, child in waiting if child.kind == LOG][_MOST_LOGS:]
    return [(one, child) for one, child in waiting if child not in logs]


def _secrets(cache: Cache, settings: Settings) -> tuple[tuple[str, str], ...]:
    """Where the logins are with which the image is looked up."""
    namespace = cache.key.namespace or settings.namespace
    return tuple((namespace, secret.name) for secret in cache.spec.image_pull_secrets)


def _finalizer(cache: Cache, *, present: bool) -> tuple[Patch, ...]:
    """Put our finalizer on before the first child, take it off after the last."""
    if (names.FINALIZER in cache.finalizers) is present:
        return ()
    others = [name for name in cache.finalizers if name != names.FINALIZER]
    wanted = [*others, names.FINALIZER] if present else others
    body = {"metadata": {"finalizers": wanted, "resourceVersion": cache.version}}
    return (Patch(cache.key.kind, cache.key.namespace, cache.key.name, body, ""),)


def _events(cache: Cache, status: dict[str, Any]) -> tuple[Event, ...]:
    """One event when the word in the STATUS column changes; pods that come and go are no news."""
    ready = status["conditions"][0]
    before = next((c.reason for c in cache.status.conditions if c.type == READY), "")
    used_or_not = {explain.EXTRACTED, explain.RUNNING}
    if ready["reason"] in (before, explain.PENDING) or {before, ready["reason"]} <= used_or_not:
        return ()
    bad = ready["reason"] == explain.ERROR
    return (Event("Warning" if bad else "Normal", ready["reason"], ready["message"]),)


def _again(
    ground: steps.Ground,
    view: View,
    pinned: Pin,
    judged: tuple[Judged, ...],
    unwanted: frozenset[str],
) -> float | None:
    now = ground.now
    times = [pinned.again, *(time for one in judged for time in wake(one.copy))]
    times += [since + PATIENCE for since in view.silent.values()]
    times += [now + _IN_LINE for one in judged if one.in_line]
    times += [view.leaving.get(uid, now) + RELEASED_AFTER for uid in unwanted]
    times += [child.due(view.said.get(child.uid)) for _, child in _silent(judged)]
    times += [t.again for t in view.troubles.values() if not t.final]
    for one in judged:
        claim = one.copy.serving
        if one.step is Step.UNPUBLISH:
            times.append(steps.looked_for_from(ground, one.copy))
        if claim is not None and claim.uid in view.uses and one.step is Step.UNPUBLISH:
            seen = (claim.namespace, claim.name) in ground.seen
            times.append(next_list(view.uses[claim.uid], seen=seen))
    return min((time for time in times if now < time < float("inf")), default=None)
