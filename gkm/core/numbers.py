"""How many nodes and pods a Cache concerns, from what is there now and from what agents report."""

from collections.abc import Iterable, Sequence

from gkm.api.cache import Counts
from gkm.core import explain
from gkm.core.observe import Copy
from gkm.core.pin import Pin
from gkm.core.rollup import SERVING, Place
from gkm.core.targets import Meant, Standing
from gkm.core.view import Entry, View

Entries = Sequence[tuple[str, Entry]]
"""What agents say, each with its node."""


def counts(
    view: View, pin: Pin, nodes: Iterable[Standing], places: Iterable[Place], entries: Entries
) -> Counts | None:
    """Count one Cache; None in a cluster without agents, where nobody knows.

    A node counts once, whatever it has in however many namespaces: with an error before in use
    before not in use. One that has a copy, or pods, counts although it is not meant for the Cache.
    """
    if not view.reports:
        return None
    states = list(places)
    meant = {one.node.name for one in nodes if one.meant is Meant.YES}
    meant |= {one.node for one in states if one.node}
    serving = {one.node for one in states if one.node and one.state.word in SERVING}
    if any(not one.node and one.state.word in SERVING for one in states):
        serving = meant  # one volume for all of them
    failed = {one.node for one in states if one.node and one.state.word == explain.ERROR}
    used = {node for node, entry in entries if entry.pods}
    meant |= used
    pods = dict.fromkeys((explain.RUNNING, explain.OUTDATED, explain.DELETING), 0)
    for _, entry in entries:
        pods[_word(view, pin, entry)] += entry.pods
    return Counts(
        node_cnt=len(meant),
        node_in_use_cnt=len(used - failed),
        node_not_in_use_cnt=len(serving - used - failed),
        node_error_cnt=len(failed),
        pod_running_cnt=pods[explain.RUNNING],
        pod_deleting_cnt=pods[explain.DELETING],
        pod_outdated_cnt=pods[explain.OUTDATED],
    )


def known_entries(view: View, copies: Iterable[Copy]) -> Entries:
    """What agents say of claims of these copies: anybody may make claims that look alike."""
    claims = (claim for one in copies for claim in (one.staging, one.serving) if claim)
    ours = {(claim.namespace, claim.name) for claim in claims}
    return [pair for pair in view.entries if (pair[1].namespace, pair[1].claim) in ours]


def _word(view: View, pin: Pin, entry: Entry) -> str:
    """What the pods of an entry use; who wants what is not for an agent to know."""
    if view.cache is None or view.cache.deleting:
        return explain.DELETING
    return explain.RUNNING if entry.digest == pin.digest else explain.OUTDATED
