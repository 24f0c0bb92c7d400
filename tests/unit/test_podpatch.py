"""What becomes of a pod: a table of pods."""

from typing import Any

import pytest

from gkm.api import names
from gkm.api.errors import Rejected
from gkm.api.names import CACHE, CLUSTER_CACHE, CacheKey
from gkm.core.jsonpatch import diff
from gkm.core.known import Known, KnownCache, Published
from gkm.core.podlayer import Program
from gkm.core.podpatch import patch

Json = dict[str, Any]
PROGRAM = Program("registry.test/gkm:1", "IfNotPresent")
NODE, NODE_UID = "node-1", "uid-of-node-1"
OLD, NEW = "sha256:" + "1" * 64, "sha256:" + "2" * 64


def cache(name: str, **change: Any) -> KnownCache:
    key = change.pop("key", CacheKey(CACHE, "team", name))
    values: Json = {"shared": True, "mount_path": "/cache", "digest": NEW}
    return KnownCache(key, f"uid-of-{name}", **values | change)


def known(*caches: KnownCache, **change: Any) -> Known:
    values: Json = {"claims": {}, "nodes": {NODE: NODE_UID}, "hosts": {"host-1": NODE}}
    return Known(caches={one.key: one for one in caches}, **values | change)


SHARED, LOCAL = cache("shared"), cache("local", shared=False)
BOTH = known(SHARED, LOCAL)
TARGET = ("team", LOCAL.uid, NODE_UID)
WAITING = names.waiting_name(LOCAL.key, LOCAL.uid, NODE_UID)


def pod(claim: str = "shared", *, mounts: list[Json] | None = None, **spec: Any) -> Json:
    if mounts is None:
        mounts = [{"name": "data", "mountPath": "/cache", "readOnly": True}]
    return {
        "metadata": {"generateName": "p-", "labels": {names.LABEL_MUTATION: "true"}},
        "spec": {
            "containers": [{"name": "main", "image": "i", "volumeMounts": mounts}],
            "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": claim}}],
            **spec,
        },
    }


def on_node(terms: list[Json]) -> Json:
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}
    return {"nodeAffinity": required}


def pinned(*nodes: str) -> Json:
    field = {"key": "metadata.name", "operator": "In", "values": list(nodes)}
    return {"matchFields": [field]}


def patched(what: Json, picture: Known = BOTH) -> Json:
    return patch(what, "team", picture, PROGRAM).pod


def claim_of(what: Json) -> str:
    source: Json = what["spec"]["volumes"][0]["persistentVolumeClaim"]
    assert source["readOnly"] is True
    name: str = source["claimName"]
    return name


def mounts_of(what: Json, part: str = "containers", place: int = 0) -> list[tuple[str, str, bool]]:
    mounts = what["spec"][part][place]["volumeMounts"]
    return [(m["name"], m["mountPath"], m.get("readOnly", False)) for m in mounts]


def test_a_shared_cache_keeps_its_name_and_is_mounted_as_asked() -> None:
    result = patched(pod())
    assert claim_of(result) == "shared"
    assert mounts_of(result) == [("data", "/cache", True)]
    assert "initContainers" not in result["spec"]
    assert result["metadata"]["annotations"] == {names.ANNOTATION_MUTATED: "data=shared"}


@pytest.mark.parametrize(
    "where",
    [
        {"affinity": on_node([pinned(NODE)])},
        {"affinity": on_node([pinned(NODE), pinned(NODE)]), "nodeName": "other"},
        {"nodeName": NODE},
        {"affinity": on_node([pinned(NODE), {"matchExpressions": []}]), "nodeName": NODE},
        {"nodeSelector": {"kubernetes.io/hostname": "host-1"}},
        {"nodeSelector": {"kubernetes.io/hostname": NODE}},
    ],
)
def test_the_node_is_found_wherever_it_is_said(where: Json) -> None:
    assert claim_of(patched(pod("local", **where))) == WAITING


@pytest.mark.parametrize(
    "where",
    [
        {},
        {"affinity": on_node([pinned(NODE), pinned("other")])},
        {"affinity": on_node([pinned(NODE, "other")])},
        {"affinity": on_node([{"matchExpressions": [{"key": "a", "operator": "Exists"}]}])},
        {"nodeSelector": {"disk": "fast"}},
    ],
)
def test_a_pod_without_a_node_is_told_how_to_get_one(where: Json) -> None:
    with pytest.raises(Rejected, match=r"local.*DaemonSet.*nodeName.*hostname.*accessModes"):
        patched(pod("local", **where))


def test_an_unknown_node_is_named() -> None:
    with pytest.raises(Rejected, match="node elsewhere"):
        patched(pod("local", nodeName="elsewhere"))


@pytest.mark.parametrize(
    ("claims", "chosen"),
    [
        ({}, WAITING),
        ({"1": Published("a", OLD, "2026-01-01")}, "a"),
        ({"1": Published("a", OLD, "2026-01-02"), "2": Published("b", NEW, "2026-01-01")}, "b"),
        ({"1": Published("a", OLD, "2026-01-01"), "2": Published("b", OLD, "2026-01-02")}, "b"),
    ],
)
def test_the_wanted_content_comes_first_then_the_newest_then_the_name_to_wait_for(
    claims: dict[str, Published], chosen: str
) -> None:
    picture = known(LOCAL, claims={TARGET: claims})
    assert claim_of(patched(pod("local", nodeName=NODE), picture)) == chosen


def warnings(what: Json, picture: Known) -> tuple[str, ...]:
    return patch(what, "team", picture, PROGRAM).warnings


def test_who_creates_a_pod_that_has_to_wait_is_told_for_what() -> None:
    asked = pod("local", nodeName=NODE)
    asked["spec"]["volumes"].append(asked["spec"]["volumes"][0] | {"name": "again"})
    (said,) = warnings(asked, BOTH)
    assert "waits for GKMCache team/local to be brought to node node-1" in said
    assert "`kubectl describe gkmcache local -n team`" in said
    assert warnings(patched(asked), BOTH) == (said,)
    there = known(LOCAL, claims={TARGET: {"1": Published(WAITING, OLD, "2026")}})
    assert warnings(asked, there) == ()
    assert warnings(pod(), BOTH) == ()


def test_a_clusters_cache_is_described_without_a_namespace() -> None:
    key = CacheKey(CLUSTER_CACHE, "", "all")
    everybodys = cache("all", key=key, shared=False, namespaces=frozenset({"team"}))
    (said,) = warnings(pod("all", nodeName=NODE), known(everybodys))
    assert "`kubectl describe clustergkmcache all` says" in said


def test_a_namespaces_own_cache_comes_before_the_clusters() -> None:
    cluster = cache("shared", key=CacheKey(CLUSTER_CACHE, "", "shared"), mount_path="/else")
    elsewhere = known(KnownCache(cluster.key, "u", True, "/else", namespaces=frozenset({"team"})))
    mounts = mounts_of(patched(pod(), elsewhere))
    assert mounts == [("data", "/cache", True), ("data", "/else", True)]
    both = known(SHARED, *elsewhere.caches.values())
    assert mounts_of(patched(pod(), both)) == [("data", "/cache", True)]
    with pytest.raises(Rejected):
        patched(pod(), known(cluster))


def test_a_pod_without_caches_is_told_what_was_found() -> None:
    with pytest.raises(Rejected, match=r"namespace team \(its claims are: own\): create the GKMC"):
        patched(pod("own"))
    with pytest.raises(Rejected, match="it has none"):
        patched(pod(volumes=[]))


def test_a_cache_that_is_being_deleted_takes_no_pods() -> None:
    with pytest.raises(Rejected, match="GKMCache team/shared is being deleted"):
        patched(pod(), known(cache("shared", deleting=True)))


def test_a_pod_that_would_keep_all_others_waiting_is_refused() -> None:
    mounts = [{"name": "data", "mountPath": f"/{n}"} for n in range(100_000)]
    with pytest.raises(Rejected, match="too many"):
        patched(pod(mounts=mounts))


@pytest.mark.parametrize(
    "wrong",
    [
        [],
        {"spec": []},
        {"spec": {"volumes": {}}},
        {"spec": {"volumes": [None]}},
        {"spec": {"containers": [{"volumeMounts": [{"name": 7}]}]}},
        {"metadata": {"annotations": {names.ANNOTATION_MUTATED: 1}}},
    ],
)
def test_what_is_no_pod_is_refused(wrong: Any) -> None:
    with pytest.raises(Rejected, match="no pod"):
        patched(wrong)


def test_a_writable_mount_gets_a_layer_that_an_init_container_of_ours_fills() -> None:
    user = {"name": "first", "image": "i"}
    asked = pod(mounts=[{"name": "data", "mountPath": "/cache"}], initContainers=[user])
    result = patched(asked)
    layer = "gkm-layer-0"
    assert mounts_of(result) == [(layer, "/cache", False), ("data", "/run/gkm/data", True)]
    assert result["spec"]["volumes"][1] == {"name": layer, "emptyDir": {}}
    ours, theirs = result["spec"]["initContainers"]
    assert theirs is user
    assert (ours["image"], ours["args"]) == (PROGRAM.image, ["overlay", "/run/gkm/data", "/layer"])
    assert mounts_of(result, "initContainers") == [
        ("data", "/run/gkm/data", True),
        (layer, "/layer", False),
    ]
    security = ours["securityContext"]
    assert security["runAsNonRoot"]
    assert security["runAsUser"] == 1000
    assert security["capabilities"] == {"drop": ["ALL"]}
    assert "env" not in ours


@pytest.mark.parametrize(("user", "own"), [(None, 1000), (0, 1000), (5000, None)])
def test_the_layers_program_runs_as_the_pods_user_but_never_as_root(
    user: int | None, own: int | None
) -> None:
    mounts = [{"name": "data", "mountPath": "/cache"}]
    result = patched(pod(mounts=mounts, securityContext={"runAsUser": user}))
    assert result["spec"]["initContainers"][0]["securityContext"].get("runAsUser") == own


def test_a_pod_with_guaranteed_resources_stays_so() -> None:
    asked = pod(mounts=[{"name": "data", "mountPath": "/cache"}])
    resources = patched(asked)["spec"]["initContainers"][0]["resources"]
    assert "cpu" not in resources["limits"]
    asked["spec"]["containers"][0]["resources"] = {"limits": {"cpu": "4", "memory": "1Gi"}}
    resources = patched(asked)["spec"]["initContainers"][0]["resources"]
    assert resources["limits"] == resources["requests"]


def local(*mounts: Json, **spec: Any) -> Json:
    return pod(
        "local", mounts=[{"name": "data"} | mount for mount in mounts], nodeName=NODE, **spec
    )


READER, WRITER = {"mountPath": "/cache", "readOnly": True}, {"mountPath": "/x"}


def test_a_per_node_cache_that_is_only_read_is_checked_before_the_pod_starts() -> None:
    user = {"name": "first", "volumeMounts": [{"name": "data", **READER}]}
    result = patched(local(READER, initContainers=[user]))
    ours, theirs = result["spec"]["initContainers"]
    assert (ours["name"], ours["image"]) == ("gkm-check-0", PROGRAM.image)
    assert ours["args"] == ["overlay", "--check", "/run/gkm/data"]
    assert mounts_of(result, "initContainers") == [("data", "/run/gkm/data", True)]
    assert theirs["volumeMounts"] == user["volumeMounts"]
    layered = patched(local(WRITER))["spec"]["initContainers"][0]
    for part in ("resources", "securityContext", "imagePullPolicy"):
        assert ours[part] == layered[part]
    assert patched(result) == result


@pytest.mark.parametrize("mounts", [[], [WRITER], [READER, WRITER]])
def test_only_what_is_mounted_and_has_no_layer_is_checked(mounts: list[Json]) -> None:
    result = patched(local(*mounts))
    inits = [one["name"] for one in result["spec"].get("initContainers", ())]
    assert inits == (["gkm-layer-0"] if mounts else [])
    assert patched(result) == result


def test_a_check_that_is_there_stays_when_another_webhook_adds_a_writer() -> None:
    result = patched(local(READER))
    writer = {"name": "late", "volumeMounts": [{"name": "data", **WRITER}]}
    result["spec"]["containers"].append(writer)
    again = patched(result)
    inits = [one["name"] for one in again["spec"]["initContainers"]]
    assert inits == ["gkm-layer-0", "gkm-check-0"]
    assert again["spec"]["initContainers"][1] is result["spec"]["initContainers"][0]
    assert patched(again) == again


def test_each_container_gets_what_it_asked_for() -> None:
    asked = pod(mounts=[{"name": "data", "mountPath": "/cache", "subPath": "a"}])
    reader = {"name": "data", "mountPath": "/else", "readOnly": True, "subPath": "a"}
    asked["spec"]["containers"] += [
        {"name": "reader", "volumeMounts": [reader]},
        {"name": "stranger", "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}]},
    ]
    result = patched(asked)
    assert result["spec"]["containers"][0]["volumeMounts"][0]["subPath"] == "a"
    assert mounts_of(result, place=1) == [("data", "/else", True), ("data", "/cache", True)]
    assert "subPath" not in result["spec"]["containers"][1]["volumeMounts"][1]
    assert result["spec"]["containers"][2] is asked["spec"]["containers"][2]


def test_a_layer_elsewhere_is_also_where_the_rewritten_paths_lead() -> None:
    result = patched(pod(mounts=[{"name": "data", "mountPath": "/home/.triton/"}]))
    assert mounts_of(result) == [
        ("gkm-layer-0", "/home/.triton/", False),
        ("gkm-layer-0", "/cache", False),
        ("data", "/run/gkm/data", True),
    ]


def test_what_lies_at_the_mount_path_already_stays_alone_there() -> None:
    mounts: list[Json] = [
        {"name": "data", "mountPath": "/else", "readOnly": True},
        {"name": "own", "mountPath": "/cache/"},
    ]
    assert mounts_of(patched(pod(mounts=mounts))) == [
        ("data", "/else", True),
        ("own", "/cache/", False),
    ]


def test_variables_are_set_unless_the_user_set_them() -> None:
    asked = pod()
    asked["spec"]["containers"][0]["env"] = [{"name": "A", "value": "own"}]
    asked["spec"]["containers"].append({"name": "stranger"})
    result = patched(asked, known(cache("shared", environment=("A", "B"))))
    assert result["spec"]["containers"][0]["env"] == [
        {"name": "A", "value": "own"},
        {"name": "B", "value": "/cache"},
    ]
    assert "env" not in result["spec"]["containers"][1]


def test_two_caches_and_two_volumes_of_one_cache_get_layers_of_their_own() -> None:
    mounts = [{"name": name, "mountPath": f"/{name}"} for name in ("data", "more", "again")]
    asked = pod(mounts=mounts, nodeName=NODE)
    asked["spec"]["volumes"] += [
        {"name": "gkm-layer-1", "emptyDir": {}},
        {"name": "more", "persistentVolumeClaim": {"claimName": "local"}},
        {"name": "again", "persistentVolumeClaim": {"claimName": "local"}},
        {"name": "own", "persistentVolumeClaim": {"claimName": "own"}},
    ]
    result = patched(asked)
    sources = {v["name"]: v.get("persistentVolumeClaim") for v in result["spec"]["volumes"]}
    assert sources["more"] == sources["again"] == {"claimName": WAITING, "readOnly": True}
    assert sources["own"] == {"claimName": "own"}
    fills = [(c["name"], c["args"][1]) for c in result["spec"]["initContainers"]]
    assert fills == [
        ("gkm-layer-0", "/run/gkm/data"),
        ("gkm-layer-2", "/run/gkm/more"),
        ("gkm-layer-3", "/run/gkm/again"),
    ]
    assert patched(result) == result


def test_a_changed_picture_changes_the_claim_and_nothing_else() -> None:
    first = patched(pod("local", mounts=[{"name": "data", "mountPath": "/x"}], nodeName=NODE))
    better = names.child_name("local", "abcdefghijklm")
    published = known(LOCAL, claims={TARGET: {"1": Published(better, NEW, "2026")}})
    where = "/spec/volumes/0/persistentVolumeClaim/claimName"
    assert diff(first, patched(first, published)) == [
        {"op": "replace", "path": where, "value": better}
    ]


def test_an_annotation_that_came_with_a_copied_template_binds_nothing() -> None:
    asked = pod("own")
    asked["metadata"]["annotations"] = {names.ANNOTATION_MUTATED: "data=local,,x"}
    with pytest.raises(Rejected, match="own"):
        patched(asked)
