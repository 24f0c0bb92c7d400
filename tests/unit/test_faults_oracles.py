"""Each oracle of the fault harness sees what it is there for, and nothing else."""

from typing import Any

from gkm.api import names
from gkm.api.names import CacheKey, copy_id, waiting_name
from tests.faults import oracles
from tests.faults.canonical import Words, differences, differing, flat, meanings
from tests.faults.recorder import CLAIM, POD, VOLUME, Seen

Json = dict[str, Any]
DIGEST = "sha256:" + "a" * 64
UID = "11111111-2222-3333-4444-555555555555"


def seen(event: str, kind: str, uid: str, obj: Json) -> Seen:
    meta = {"namespace": "space", "name": uid, "uid": uid, "resourceVersion": "1"}
    return Seen(1, event, kind, {**obj, "metadata": {**meta, **obj.get("metadata", {})}})


def claim(*, going: bool = False) -> Json:
    labels = {names.LABEL_ROLE: "serving"}
    meta: Json = {"name": "kernels", "labels": labels}
    meta |= {"deletionTimestamp": "now"} if going else {}
    return {"metadata": meta, "spec": {}, "status": {"phase": "Bound"}}


def volume(digest: str) -> Json:
    meta = {"annotations": {names.ANNOTATION_DIGEST: digest}}
    return {"metadata": meta, "spec": {"claimRef": {"uid": "claim"}}}


def pod(phase: str) -> Json:
    volumes = [{"name": "cache", "persistentVolumeClaim": {"claimName": "kernels"}}]
    return {"spec": {"volumes": volumes}, "status": {"phase": phase}}


def extracted() -> Json:
    told = {"namespace": "space", "claim": "kernels", "phase": "Extracted"}
    spec = {"accessModes": ["ReadOnlyMany"]}
    return {"spec": spec, "status": {"resolvedDigest": DIGEST, "namespaces": [told]}}


def test_a_claim_may_be_deleted_only_when_every_pod_that_names_it_is_over() -> None:
    before = seen("ADDED", CLAIM, "claim", claim())
    after = seen("MODIFIED", CLAIM, "claim", claim(going=True))
    for phase, bad in (("Pending", True), ("Running", True), ("Succeeded", False)):
        history = [before, seen("ADDED", POD, "reader", pod(phase)), after, after]
        assert len(oracles.violations(history)) == bad


def test_extracted_is_said_only_of_a_bound_claim_on_a_volume_of_the_digest() -> None:
    told = seen("MODIFIED", names.CACHE, "cache", extracted())
    bound = seen("ADDED", CLAIM, "claim", claim())
    right, wrong = (seen("ADDED", VOLUME, "volume", volume(d)) for d in (DIGEST, "sha256:other"))
    assert oracles.violations([bound, right, told]) == []
    assert "there is no claim" in oracles.violations([right, told])[0]
    assert "no volume" in oracles.violations([bound, told])[0]
    assert "sha256:other" in oracles.violations([bound, wrong, told])[0]


def test_what_is_made_again_is_counted_under_one_name() -> None:
    first, second = (
        seen("ADDED", POD, name, {"metadata": {"generateName": "kernels-"}}) for name in "ab"
    )
    words = Words({})
    wanted = oracles.counts([first], words)
    found = oracles.counts([first, second, seen("DELETED", POD, "a", first.obj)], words)
    assert oracles.unequal(wanted, found) == [
        "O2: CREATE Pod space/kernels-*: 2 times, expected 1",
        "O2: DELETE Pod space/kernels-*: 1 times, expected 0",
    ]


def test_copies_have_the_name_of_what_they_are_and_uids_and_times_none() -> None:
    key = CacheKey(names.CACHE, "space", "kernels")
    name = copy_id(key, UID, "space", "", DIGEST)
    nodes = {"node-uid": "NODE"}
    words = Words(meanings([(key, UID)], {"space": "SPACE"}, {DIGEST: "IMAGE"}, nodes))
    assert words.text(f"kernels-{name} of {DIGEST}") == "kernels-COPY(SPACE,,IMAGE) of IMAGE"
    name = copy_id(key, UID, "space", "node-uid", DIGEST)
    assert words.text(f"kernels-{name}") == "kernels-COPY(SPACE,NODE,IMAGE)"
    assert words.text(waiting_name(key, UID, "node-uid")) == "WAITING(GKMCache,NODE)"
    obj = {"metadata": {"uid": UID, "name": f"pvc-{UID}"}, "at": ["2026-01-01T00:00:00Z"], "n": {}}
    assert words.value(obj) == {"metadata": {"name": "pvc-UID"}, "at": ["TIME"], "n": {}}


def test_end_states_differ_but_for_what_differs_without_a_fault() -> None:
    sizes = ((1, 1), (2, 1), (3, 2))
    one, two, three = (dict(flat("Claim", {"size": s, "bound": b})) for s, b in sizes)
    mask = differing(one, two)
    assert differences(one, three, mask) == ["Claim bound: 2, expected 1"]
    assert differences(one, {}, mask) == ["Claim bound: 'absent', expected 1"]


def test_a_traceback_in_the_log_is_told_with_what_follows() -> None:
    log = "INFO fine\nERROR bug while reconciling x\nTraceback (most recent call last):\n  File"
    assert "reconciling" in oracles.tracebacks(log)[0]
    assert oracles.tracebacks("INFO fine\nWARNING watch of Pod") == []
