"""Few writes while something changes, none while nothing does: counted in the audit log."""

import json
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gkm.api.names import LABEL_MUTATION
from gkm.core.observe import POD_PATIENCE
from tests import stage as staging
from tests.e2e.actors import VOLUMES, Actors, eventually
from tests.e2e.audit import AGENT, OPERATOR, WEBHOOK, Ledger
from tests.e2e.test_per_node import nodes
from tests.stage import NAMESPACE, Stage

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("compiled", "alone")]
EVENTS, NUDGE = "create events", "patch persistentvolumeclaims"
STATUS = "patch gkmcaches/status"
IDLE_SECONDS = 60
CREATED = Counter(
    {
        "patch gkmcaches": 1,  # the finalizer
        "create persistentvolumeclaims": 2,  # staging, serving
        "create jobs": 1,
        "patch gkmcaches/status": 2,  # Downloading, Extracted
        "patch persistentvolumes": 1,  # reserved
        "delete jobs": 1,
        "delete persistentvolumeclaims": 1,  # staging
    }
)
DELETED = Counter(
    {
        "patch gkmcaches/status": 1,
        "delete persistentvolumeclaims": 1,
        "patch gkmcaches": 1,
    }
)
UPDATED = CREATED + Counter({"delete persistentvolumeclaims": 1}) - Counter({"patch gkmcaches": 1})
"""A new image: what came before goes as soon as nobody uses it."""
VOLUME = Counter({"create persistentvolumes": 1})
RECLAIMED = Counter(
    {
        "patch persistentvolumes": 1,  # handed to GKM's own namespace
        "create persistentvolumeclaims": 1,
        "create jobs": 1,  # empties it
        "delete jobs": 1,
        "delete persistentvolumes": 1,
        "delete persistentvolumeclaims": 1,
    }
)
"""What a volume that GKM makes takes more, to come and to go."""
MOST = {"provisioned": (10, 11, 6), "made by GKM": (11, 18, 10)}
"""Writes that coming, changing and going may take, nudges counted in."""
MADE = {
    "provisioned": (CREATED, UPDATED, DELETED),
    "made by GKM": (CREATED + VOLUME, UPDATED + VOLUME + RECLAIMED, DELETED + RECLAIMED),
}


def check(what: str, ledger: Ledger, expected: Counter[str], most: int, since: float) -> None:
    """Compare with exactly this; what a slow cluster adds stands apart.

    That is the nudges of a slow binder and, where somebody kept GKM waiting, what the status said
    of it and that it was over. ``since``: when it began, on the monotonic clock.
    """
    waited = time.monotonic() - since >= POD_PATIENCE
    time.sleep(1)
    found = ledger.writes()
    events, nudges = found.pop(EVENTS, 0), found.pop(NUDGE, 0)
    told = found[STATUS] - expected[STATUS]
    print(f"{what}: {dict(found)}, {nudges} nudges, {events} events, {told} waits told")
    assert found - Counter({STATUS: told}) == expected
    assert 0 <= told <= (2 if waited else 0)
    assert events <= 3
    assert expected.total() + nudges <= most


@pytest.mark.parametrize("volumes", VOLUMES)
def test_a_copy_takes_exactly_these_writes_to_come_to_change_and_to_go(
    actors: Actors, stage: Stage, log: Path, other_image: str, volumes: str
) -> None:
    here, other = actors.namespace("counted"), other_image.rpartition("@")[2]
    created, updated, deleted = MADE[volumes]
    ledger, began = Ledger.from_now(log), time.monotonic()
    actors.cache(here, "kernels", **VOLUMES[volumes])
    actors.wait_ready("gkmcache", here, "kernels")
    check("apply to Extracted", ledger, created, MOST[volumes][0], began)
    ledger, began = Ledger.from_now(log), time.monotonic()
    actors.cache(here, "kernels", image=stage.cache_reference("v2"), **VOLUMES[volumes])
    eventually("the other image serves", lambda: other in _served(actors, here))
    eventually("claim and volume alone are left", lambda: len(actors.leftovers()) == 2)
    check("another image", ledger, updated, MOST[volumes][1], began)
    ledger, began = Ledger.from_now(log), time.monotonic()
    actors.delete("gkmcache", here, "kernels")
    check("deletion", ledger, deleted, MOST[volumes][2], began)


def _served(actors: Actors, namespace: str) -> str:
    """The message of a Cache that is settled; empty while it is not."""
    cache = actors.get("gkmcache", namespace, "kernels")
    reasons = [c["reason"] for c in cache["status"]["conditions"]]
    settled = reasons[:2] == ["Extracted", "Settled"]
    return _message(actors, namespace) if settled else ""


PER_NODE = Counter(
    {
        "create persistentvolumes": 1,
        "create persistentvolumeclaims": 2,
        "create jobs": 1,
        "patch persistentvolumes": 1,
        "delete jobs": 1,
        "delete persistentvolumeclaims": 1,
    }
)
LEFT = RECLAIMED + Counter({"delete persistentvolumeclaims": 1})
REPORTED = Counter({"create gkmcachenodes": 1, "patch gkmcachenodes/status": 2})
"""Of each node: what the operator writes, and what its agent does."""


def test_a_copy_on_each_node_takes_exactly_these_writes_to_come_and_to_go(
    actors: Actors, stage: Stage, log: Path
) -> None:
    here, count = actors.namespace("each"), len(nodes(stage))
    ledger = Ledger.from_now(log)
    actors.cache(here, "kernels", accessModes=["ReadWriteOnce"])
    counts = f"{count} copies"
    eventually(counts, lambda: f"{count} of {count}" in _message(actors, here))
    time.sleep(3)
    written, reported = ledger.writes(), ledger.writes(AGENT)
    print(f"operator: {dict(written)}; agents: {dict(reported)}")
    status, events = written.pop(STATUS), written.pop(EVENTS, 0)
    nudges = written.pop(NUDGE, 0)
    of_all = Counter({"patch gkmcaches": 1})
    assert written - of_all == Counter({what: n * count for what, n in PER_NODE.items()})
    assert reported == Counter({what: n * count for what, n in REPORTED.items()})
    assert 2 <= status <= 2 + 2 * count
    assert nudges + events <= 3
    ledger = Ledger.from_now(log)
    actors.delete("gkmcache", here, "kernels")
    time.sleep(3)
    written, reported = ledger.writes(), ledger.writes(AGENT)
    print(f"deletion: operator: {dict(written)}; agents: {dict(reported)}")
    status, nudges = written.pop(STATUS), written.pop(NUDGE, 0)
    of_all = Counter({"patch gkmcaches": 1, EVENTS: 1})
    assert written - of_all == Counter({what: n * count for what, n in LEFT.items()})
    assert 1 <= status <= 1 + 2 * count
    assert nudges <= 3


def _message(actors: Actors, namespace: str) -> str:
    return str(actors.ready("gkmcache", namespace, "kernels")["message"])


def test_a_pod_that_starts_or_stops_costs_one_write_of_each(
    actors: Actors, stage: Stage, log: Path
) -> None:
    here, node = actors.namespace("users"), nodes(stage)[0]
    actors.cache(here, "kernels", accessModes=["ReadWriteOnce"])
    actors.wait_ready("gkmcache", here, "kernels")
    time.sleep(5)
    _costs_one_of_each(actors, log, here, "Running", lambda: _use(actors, here, node))
    _costs_one_of_each(actors, log, here, "Extracted", lambda: actors.delete("pod", here, "user"))


def _costs_one_of_each(
    actors: Actors, log: Path, namespace: str, reason: str, change: Callable[[], None]
) -> None:
    ledger = Ledger.from_now(log)
    change()

    def shown() -> bool:
        return bool(actors.ready("gkmcache", namespace, "kernels")["reason"] == reason)

    eventually(reason, shown)
    time.sleep(3)
    written, reported = ledger.writes(), ledger.writes(AGENT)
    print(f"{reason}: operator {dict(written)}, agent {dict(reported)}")
    written.pop(EVENTS, 0)
    assert written == Counter({STATUS: 1})
    assert reported == Counter({"patch gkmcachenodes/status": 1})


def _use(actors: Actors, namespace: str, node: str) -> None:
    command = ["/opt/gkm/bin/python", "-c", "import time; time.sleep(600)"]
    labels = {LABEL_MUTATION: "true"}
    actors.pod(namespace, "user", "kernels", command, labels=labels, nodeName=node)
    actors.wait_pod(namespace, "user", "Running")


@pytest.fixture
def looking_often(stage: Stage) -> Iterator[None]:
    """GKM installed so that it sweeps, lists and watches anew every ten seconds."""
    staging.install(stage, print, operator={"resyncSeconds": 10})
    yield
    staging.install(stage, print)


def tag(image: str, name: str) -> str:
    """Let a tag mean an image that is in the registry (``repository@digest``)."""
    repository, _, digest = image.partition("@")
    host, _, path = repository.partition("/")
    kind = "application/vnd.oci.image.manifest.v1+json"
    where = f"http://{host}/v2/{path}/manifests/"
    asked = urllib.request.Request(where + digest, headers={"Accept": kind})
    with urllib.request.urlopen(asked) as answer:
        body = answer.read()
    header = {"Content-Type": kind}
    put = urllib.request.Request(where + name, data=body, headers=header, method="PUT")
    urllib.request.urlopen(put).close()
    return f"{repository}:{name}"


@pytest.mark.usefixtures("looking_often")
def test_nothing_is_written_while_nothing_changes_nor_on_a_restart(
    actors: Actors, stage: Stage, log: Path, compiled: str, other_image: str
) -> None:
    """Nor when a tag that is followed is looked up in vain; when it has moved, it is an update."""
    here = actors.namespace("quiet")
    followed = tag(compiled, "moving")
    actors.cache(here, "followed", image=followed, refresh="1m")
    for volumes, storage in VOLUMES.items():
        actors.cache(here, volumes.replace(" ", "-").lower(), **storage)
    actors.cache(here, "per-node", accessModes=["ReadWriteOnce"])
    for _, namespace, name in actors.caches:
        actors.wait_ready("gkmcache", namespace, name)
    time.sleep(2)
    idle = Ledger.from_now(log)
    time.sleep(IDLE_SECONDS)
    assert _all_writes(idle) == {}
    restart = Ledger.from_now(log)
    for program in ("deployment/gkm-operator", "deployment/gkm-webhook", "daemonset/gkm-agent"):
        stage.kubectl("rollout", "restart", "-n", NAMESPACE, program)
    for program in ("deployment/gkm-operator", "deployment/gkm-webhook", "daemonset/gkm-agent"):
        stage.kubectl("rollout", "status", "-n", NAMESPACE, program, "--timeout=120s")
    eventually("a replica of the new ones leads", lambda: _leads(stage))
    time.sleep(IDLE_SECONDS / 3)
    assert _all_writes(restart) == {}
    actors.cache(here, "other")
    actors.wait_ready("gkmcache", here, "other")
    tag(other_image, "moving")

    def moved() -> bool:
        status = actors.get("gkmcache", here, "followed")["status"]
        return str(status["resolvedDigest"]) == other_image.rpartition("@")[2]

    eventually("the tag that moved is followed", moved)
    actors.wait_ready("gkmcache", here, "followed")


def _all_writes(ledger: Ledger) -> dict[str, Counter[str]]:
    """Who wrote what."""
    found = {user: ledger.writes(user) for user in (OPERATOR, AGENT, WEBHOOK)}
    return {user: writes for user, writes in found.items() if writes}


def _leads(stage: Stage) -> bool:
    lease = json.loads(stage.kubectl("get", "lease", "gkm-operator", "-n", NAMESPACE, "-o", "json"))
    holder = lease["spec"]["holderIdentity"].rpartition("_")[0]
    pods = stage.kubectl("get", "pods", "-n", NAMESPACE, "-o", "name").split()
    return f"pod/{holder}" in pods
