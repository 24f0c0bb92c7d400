"""How the operator writes: only as leader, never over somebody else, and what it makes of a no."""

import copy
from typing import Any, cast

import pytest

from gkm.api.errors import Retry
from gkm.core.actions import CheckUse, Create, Delete, DropStaging, Look, Patch, Reserve
from gkm.core.objects import STAGING, CopyRef, marks
from gkm.core.view import Use
from gkm.kube.client import Client, Scope
from gkm.kube.errors import ApiError
from gkm.operator.apply import Applier, NotLeading, Outdated
from gkm.operator.fleet import Fleet, Memory
from gkm.operator.slots import Slots
from tests.unit.world import DIGEST, KEY

Json = dict[str, Any]
CLAIM, VOLUME = "PersistentVolumeClaim", "PersistentVolume"


class Server:
    """As much of an API server as the applier needs; remembers what was asked of it."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str, str], Json] = {}
        self.asked: list[str] = []
        self.conflicts = 0

    async def get(self, kind: str, namespace: str, name: str) -> Json | None:
        self.asked.append(f"get {kind}")
        return copy.deepcopy(self.objects.get((kind, namespace, name)))

    async def list(self, kind: str, scope: Scope) -> tuple[list[Json], str]:
        self.asked.append(f"list {kind}")
        here = (kind, scope.namespace)
        found = [o for (k, n, _), o in self.objects.items() if (k, n) == here]
        return found, "9"

    async def create(self, kind: str, namespace: str, body: Json) -> Json:
        self.asked.append(f"create {kind}")
        place = (kind, namespace, body["metadata"]["name"])
        if place in self.objects:
            raise ApiError(409, "AlreadyExists", "there is one")
        body["metadata"] |= {"uid": "new", "resourceVersion": "5"}
        self.objects[place] = body
        return body

    async def patch(self, kind: str, namespace: str, name: str, body: Json, _: str = "") -> Json:
        self.asked.append(f"patch {kind}")
        if self.conflicts:
            self.conflicts -= 1
            raise ApiError(409, "Conflict", "somebody was faster")
        found = self.objects[kind, namespace, name]
        found["spec"] = {**found["spec"], **body.get("spec", {})}
        return found

    async def delete(self, kind: str, namespace: str, name: str, _uid: str) -> Json | None:
        self.asked.append(f"delete {kind}")
        return self.objects.pop((kind, namespace, name), None)


class Stand:
    """An applier with its surroundings."""

    def __init__(self) -> None:
        self.server, self.leading, self.memory = Server(), True, Memory()
        self.fleet = Fleet(lambda _: None, Slots(32, lambda _: None))
        self.applier = Applier(cast("Client", self.server), self.fleet, lambda: self.leading)

    async def apply(self, action: Any) -> None:
        await self.applier.apply(action, self.memory)

    def add(self, kind: str, namespace: str, obj: Json) -> None:
        self.server.objects[kind, namespace, obj["metadata"]["name"]] = obj


@pytest.fixture
def at() -> Stand:
    return Stand()


def claim(**annotations: str) -> Json:
    labels, own = marks(CopyRef("copy", KEY, "uid", "a", DIGEST), STAGING)
    meta = {"namespace": "a", "name": "c", "labels": labels, "annotations": own | annotations}
    return {"metadata": meta, "spec": {}}


def stored(obj: Json) -> Json:
    obj["metadata"] |= {"uid": "c-uid", "resourceVersion": "3"}
    return obj


def volume(policy: str = "Retain", *, provisioned: bool = True) -> Json:
    by = {"pv.kubernetes.io/provisioned-by": "x"} if provisioned else {}
    return {
        "metadata": {"name": "v", "uid": "v-uid", "resourceVersion": "4", "annotations": by},
        "spec": {"claimRef": {"uid": "c-uid"}, "persistentVolumeReclaimPolicy": policy},
        "status": {"phase": "Bound"},
    }


RESERVE = Reserve("a", "c", "c-uid", "v", "serving", {}, {}, ("ReadOnlyMany",), "copy")


async def test_nothing_is_written_without_the_lease(at: Stand) -> None:
    at.leading = False
    at.add(VOLUME, "", volume())
    at.add(CLAIM, "a", stored(claim()))
    writes = [
        Create(CLAIM, claim(), "copy"),
        Patch(VOLUME, "", "v", {}, "copy"),
        Delete(CLAIM, "a", "c", "c-uid", "copy"),
        DropStaging("a", "c", "c-uid", "v", "copy"),
        RESERVE,
    ]
    for action in writes:
        with pytest.raises(NotLeading):
            await at.apply(action)
    assert {word.split()[0] for word in at.server.asked} <= {"get"}


async def test_what_a_lost_reply_left_behind_is_found_to_be_ours(at: Stand) -> None:
    at.add(CLAIM, "a", stored(claim()))
    await at.apply(Create(CLAIM, claim(), "copy"))
    assert [found.uid for found in at.fleet.view(KEY).claims] == ["c-uid"]


@pytest.mark.parametrize("theirs", [{"gkm.io/target": "b"}, {"gkm.io/resolved-digest": "x"}])
async def test_a_name_that_somebody_else_has_is_not_taken_over(
    at: Stand, theirs: dict[str, str]
) -> None:
    at.add(CLAIM, "a", stored(claim(**theirs)))
    with pytest.raises(Retry, match="NameTaken"):
        await at.apply(Create(CLAIM, claim(), "copy"))
    assert at.fleet.view(KEY).claims == ()


async def test_after_a_conflict_the_present_state_is_known(at: Stand) -> None:
    at.add(CLAIM, "a", stored(claim()))
    at.server.conflicts = 1
    with pytest.raises(Outdated):
        await at.apply(Patch(CLAIM, "a", "c", {"metadata": {}}, "copy"))
    assert at.fleet.view(KEY).claims[0].version == "3"


async def test_a_serving_name_that_is_taken_keeps_the_volume_where_it_is(at: Stand) -> None:
    at.add(VOLUME, "", volume())
    at.add(CLAIM, "a", stored(claim()))
    at.add(CLAIM, "a", {"metadata": {"name": "serving"}})
    with pytest.raises(Retry, match="NameTaken"):
        await at.apply(RESERVE)
    assert "patch PersistentVolume" not in at.server.asked


async def test_a_staging_claim_that_is_gone_keeps_its_volume_from_being_reserved(at: Stand) -> None:
    at.add(VOLUME, "", volume())
    with pytest.raises(Retry, match="ClaimGone"):
        await at.apply(RESERVE)
    assert "patch PersistentVolume" not in at.server.asked


@pytest.mark.parametrize(
    ("found", "patched"),
    [(volume(), True), (volume("Delete"), False), (volume(provisioned=False), False)],
    ids=["retained by its class", "deleted by its class", "an administrator's"],
)
async def test_half_a_cache_is_kept_by_no_class_but_an_administrators_volume_stays(
    at: Stand, found: Json, patched: bool
) -> None:
    at.add(VOLUME, "", copy.deepcopy(found))
    at.add(CLAIM, "a", stored(claim()))
    await at.apply(DropStaging("a", "c", "c-uid", "v", "copy"))
    assert ("patch PersistentVolume" in at.server.asked) is patched
    assert at.server.asked[-1] == f"delete {CLAIM}"


async def test_the_users_of_a_claim_are_asked_for_live(at: Stand) -> None:
    pod = {"persistentVolumeClaim": {"claimName": "c"}}
    at.add("Pod", "a", {"metadata": {"name": "p"}, "spec": {"volumes": [pod]}})
    await at.apply(CheckUse("a", (Look("c", "c-uid", "copy"),)))
    use = at.memory.uses["c-uid"]
    assert isinstance(use, Use)
    assert use.pods == ("p",)
