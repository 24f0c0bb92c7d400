"""The agent against an API server in memory: what it writes, how often, and how it recovers."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer

from gkm.agent import app
from gkm.api import names
from gkm.api.names import CLUSTER_CACHE, CacheKey
from gkm.core.objects import STAGING
from gkm.core.retry import Failure
from gkm.gpus import Inventory as Found
from gkm.gpus.simulated import parse
from gkm.kube.probes import application
from tests.kubeapi import KubeApi, served
from tests.nodeclaims import DIGEST, NODE, NODE_UID, OTHER, claim_of, copy_of

Json = dict[str, Any]

COPY, OLD = copy_of(), copy_of(digest=OTHER)
SERVING_NAME, STAGING_NAME, OLD_NAME = COPY.serving_names[-1], COPY.staging, OLD.serving_names[-1]
CLAIMS, PODS, NODES = "persistentvolumeclaims", "pods", "nodes"
OWN, CLUSTER_OWN = "gkmcachenodes", "clustergkmcachenodes"


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same order of pauses, ten times shorter."""
    monkeypatch.setattr("gkm.agent.reporter._SETTLE", 0.03)
    monkeypatch.setattr("gkm.agent.reporter._BETWEEN", 0.1)
    monkeypatch.setattr("gkm.agent.reporter._REMOVAL", 1.0)
    monkeypatch.setattr("gkm.kube.supervise._FIRST_PAUSE", 0.05)
    monkeypatch.setattr("gkm.kube.informer._SHORTEST_WATCH", 0.02)


def node(uid: str = NODE_UID, simulated: str = "type=H100,count=2") -> Json:
    annotations = {names.ANNOTATION_SIMULATED: simulated}
    return {"metadata": {"name": NODE, "uid": uid, "annotations": annotations}}


def pod(name: str, *claims: str, phase: str = "Running") -> Json:
    volumes = [{"name": one, "persistentVolumeClaim": {"claimName": one}} for one in claims]
    meta = {"name": name, "namespace": "ns"}
    spec = {"nodeName": NODE, "volumes": volumes}
    return {"metadata": meta, "spec": spec, "status": {"phase": phase}}


def no_driver(simulated: str, labels: Mapping[str, str]) -> Found:
    assert not labels
    return Found(parse(simulated) if simulated else ())


@asynccontextmanager
async def agent_of(api: KubeApi) -> AsyncIterator[app.Agent]:
    async with served(api) as client:
        agent = app.Agent(app.Settings(NODE), client)
        agent.inventory._find = no_driver
        task = asyncio.create_task(agent.run())
        try:
            yield agent
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


async def until(what: Callable[[], object], seconds: float = 8.0) -> None:
    async with asyncio.timeout(seconds):
        while not what():  # noqa: ASYNC110 - a state of the server, which tells nobody
            await asyncio.sleep(0.01)


async def quiet(api: KubeApi, seconds: float = 0.6) -> None:
    """Wait until nothing was written for a while."""
    count = -1
    while count != len(api.writes):
        count = len(api.writes)
        await asyncio.sleep(seconds)


def entry(api: KubeApi) -> Json:
    """What the GKMCacheNode of the namespace says of the cache."""
    found = api.objects.get((OWN, "ns", NODE), {}).get("status", {})
    said: Json = found.get("caches", {}).get("cache", {}).get(DIGEST, {})
    return said


def word(api: KubeApi) -> str:
    return str(entry(api).get("conditions", [{}])[0].get("reason", ""))


def gpus(api: KubeApi) -> list[Json]:
    found = api.objects.get((CLUSTER_OWN, "", NODE), {}).get("status", {})
    return list(found.get("gpus", []))


async def test_a_start_writes_the_report_once_and_a_second_start_nothing() -> None:
    api = KubeApi()
    api.put(NODES, node())
    async with agent_of(api) as agent:
        await agent.reporter.reported.wait()
        await quiet(api)
    first = [f"POST {CLUSTER_OWN}", f"PATCH {CLUSTER_OWN}/{NODE}/status"]
    assert api.writes == first
    created = api.bodies[0]["metadata"]
    assert created["labels"] == {names.MANAGED_BY: "gkm", "kubernetes.io/hostname": NODE}
    owner = {"apiVersion": "v1", "kind": "Node", "name": NODE, "uid": NODE_UID}
    assert created["ownerReferences"] == [owner]
    assert gpus(api)[0]["ids"] == [0, 1]

    api.down = False
    async with agent_of(api) as agent:
        await agent.reporter.reported.wait()
        await quiet(api)
    assert api.writes == first


async def test_a_copy_costs_a_creation_and_two_patches_and_a_pod_one() -> None:
    api = KubeApi()
    api.put(NODES, node())
    async with agent_of(api) as agent:
        await agent.reporter.reported.wait()
        api.writes.clear()
        api.put(CLAIMS, claim_of(COPY, STAGING))
        await until(lambda: word(api) == "Downloading")
        api.remove(CLAIMS, "ns", STAGING_NAME)
        await asyncio.sleep(0.2)
        api.put(CLAIMS, claim_of(COPY))
        await until(lambda: word(api) == "Extracted")
        await quiet(api)
        patch = f"PATCH {OWN}/ns/{NODE}/status"
        assert api.writes == [f"POST {OWN}/ns", patch, patch]
        since = entry(api)["conditions"][0]["lastTransitionTime"]

        api.put(PODS, pod("user", SERVING_NAME, phase="Pending"))
        await until(lambda: word(api) == "Running")
        api.put(PODS, pod("user", SERVING_NAME))
        await quiet(api)
        assert api.writes == [f"POST {OWN}/ns", patch, patch, patch]
        assert entry(api)["conditions"][0]["lastTransitionTime"] == since

        api.put(PODS, pod("user", SERVING_NAME, phase="Succeeded"))
        await until(lambda: word(api) == "Extracted")


async def test_a_burst_is_one_patch() -> None:
    api = KubeApi()
    api.put(NODES, node())
    api.put(CLAIMS, claim_of(COPY))
    async with agent_of(api):
        await until(lambda: word(api) == "Extracted")
        await quiet(api)
        before = len(api.writes)
        for number in range(50):
            api.put(PODS, pod(f"user-{number}", SERVING_NAME))
        await until(lambda: entry(api)["claims"][0].get("pods") == 50)
        assert len(api.writes) - before <= 2


async def test_a_failed_extraction_is_said_with_its_message() -> None:
    failure = Failure("job", "input", "PullFailed", "the registry is away", 1, 0.0, final=False)
    api = KubeApi()
    api.put(NODES, node())
    api.put(CLAIMS, claim_of(COPY, STAGING, **{names.ANNOTATION_FAILED: failure.to_json()}))
    async with agent_of(api):
        await until(lambda: word(api) == "Error")
    assert entry(api)["conditions"][0]["message"] == "the registry is away"


async def test_what_is_gone_is_taken_away_and_an_empty_object_too() -> None:
    api = KubeApi()
    api.put(NODES, node())
    api.put(CLAIMS, claim_of(COPY))
    api.put(CLAIMS, claim_of(OLD))
    async with agent_of(api):
        await until(lambda: word(api) == "Extracted")
        await quiet(api)
        api.remove(CLAIMS, "ns", OLD_NAME)
        status = api.objects[OWN, "ns", NODE]["status"]
        assert OTHER in status["caches"]["cache"]
        await until(lambda: OTHER not in api.objects[OWN, "ns", NODE]["status"]["caches"]["cache"])
        api.remove(CLAIMS, "ns", SERVING_NAME)
        await until(lambda: (OWN, "ns", NODE) not in api.objects)
        await quiet(api)
        assert [one.split()[0] for one in api.writes].count("DELETE") == 1
        assert (CLUSTER_OWN, "", NODE) in api.objects


async def test_a_replaced_node_gets_reports_of_its_own() -> None:
    api = KubeApi()
    api.put(NODES, node())
    api.put(CLAIMS, claim_of(COPY))
    async with agent_of(api):
        await until(lambda: word(api) == "Extracted")
        await quiet(api)
        old = api.objects[CLUSTER_OWN, "", NODE]["metadata"]["uid"]
        api.remove(NODES, "", NODE)
        api.put(NODES, node("another-uid", simulated="none"))
        await until(lambda: gpus(api) == [] and (OWN, "ns", NODE) not in api.objects)
        new = api.objects[CLUSTER_OWN, "", NODE]["metadata"]
        assert new["uid"] != old
        assert new["ownerReferences"][0]["uid"] == "another-uid"
        await quiet(api)
        deleted = [one for one in api.writes if one.startswith("DELETE")]
        assert sorted(deleted) == [f"DELETE {CLUSTER_OWN}/{NODE}", f"DELETE {OWN}/ns/{NODE}"]


async def test_a_namespace_that_goes_is_tried_ever_more_rarely() -> None:
    api = KubeApi()
    api.terminating.add("ns")
    api.put(NODES, node())
    api.put(CLAIMS, claim_of(COPY))
    async with agent_of(api) as agent:
        await agent.reporter.reported.wait()
        await asyncio.sleep(2)
        assert 2 <= api.writes.count(f"POST {OWN}/ns") <= 12
        api.terminating.clear()
        await until(lambda: word(api) == "Extracted", 10)


async def test_an_api_server_that_was_away_gets_what_changed_meanwhile() -> None:
    api = KubeApi()
    api.put(NODES, node())
    async with agent_of(api) as agent:
        await agent.reporter.reported.wait()
        await quiet(api)
        before = list(api.writes)
        api.cut()
        await asyncio.sleep(0.3)
        api.put(CLAIMS, claim_of(COPY))
        api.down = False
        await until(lambda: word(api) == "Extracted")
        await quiet(api)
        assert api.writes == [*before, f"POST {OWN}/ns", f"PATCH {OWN}/ns/{NODE}/status"]


async def test_an_object_that_somebody_else_changed_is_put_right() -> None:
    api = KubeApi()
    api.put(NODES, node())
    async with agent_of(api) as agent:
        await agent.reporter.reported.wait()
        right = json.dumps(api.objects[CLUSTER_OWN, "", NODE]["status"], sort_keys=True)
        wrong = api.objects[CLUSTER_OWN, "", NODE] | {"status": {"gpus": "rubbish", "caches": {}}}
        api.put(CLUSTER_OWN, wrong)
        await until(
            lambda: (
                json.dumps(api.objects[CLUSTER_OWN, "", NODE]["status"], sort_keys=True) == right
            )
        )


async def test_a_report_that_is_not_kept_is_not_written_again_and_again() -> None:
    api = KubeApi()
    api.unknown.add("gpus")
    api.put(NODES, node())
    async with agent_of(api) as agent:
        await asyncio.sleep(2)
        assert 2 <= len(api.writes) <= 12
        assert not agent.reporter.reported.is_set()
        api.unknown.clear()
        await agent.reporter.reported.wait()


async def test_simulated_gpus_are_followed_and_a_mistake_in_them_is_said() -> None:
    api = KubeApi()
    api.put(NODES, node())
    async with agent_of(api) as agent:
        await agent.reporter.reported.wait()
        api.put(NODES, node(simulated="type=MI210"))
        await until(lambda: gpus(api)[0]["arch"] == "gfx90a")
        api.put(NODES, node(simulated="type=rubbish"))
        own = (CLUSTER_OWN, "", NODE)
        await until(lambda: "rubbish" in api.objects[own]["status"].get("gpuMessage", ""))
        assert gpus(api)[0]["arch"] == "gfx90a"


async def test_claims_that_users_make_up_stop_no_report() -> None:
    api = KubeApi()
    api.put(NODES, node())
    said = {"other": "x" * 100_000, names.ANNOTATION_FAILED: "x" * 100_000}
    for number in range(250):
        cache = CacheKey(CLUSTER_CACHE, "", f"forged-{number}")
        api.put(CLAIMS, claim_of(copy_of(cache, "team"), STAGING, **said))
        other = claim_of(copy_of(cache, "team"), STAGING)
        other["metadata"]["name"] = f"no-name-of-ours-{number}"
        api.put(CLAIMS, other)
    api.put(CLAIMS, claim_of(copy_of(CacheKey(CLUSTER_CACHE, "", "cache"))))
    async with agent_of(api) as agent:
        await agent.reporter.reported.wait()
        await until(lambda: gpus(api))
        status = api.objects[CLUSTER_OWN, "", NODE]["status"]
        assert status["claimsLeftOut"] == 51
        assert DIGEST in status["caches"]["cache"]
        assert len(json.dumps(status)) < 200_000
        assert max(len(one.failed) for one in agent.picture.claims) == 0


async def test_probes() -> None:
    alive, reported = time.monotonic(), asyncio.Event()
    probes = application(lambda: alive, reported.is_set)
    async with TestClient(TestServer(probes)) as client:
        assert (await client.get("/healthz")).status == 200
        assert (await client.get("/readyz")).status == 503
        alive -= 121  # F41
        reported.set()
        assert (await client.get("/healthz")).status == 503
        assert (await client.get("/readyz")).status == 200


async def test_an_old_and_a_new_agent_of_one_node_do_not_fight() -> None:  # F61
    api = KubeApi()
    api.put(NODES, node())
    async with agent_of(api) as old, agent_of(api) as new:
        await old.reporter.reported.wait()
        await new.reporter.reported.wait()
        api.put(CLAIMS, claim_of(COPY))
        await until(lambda: word(api) == "Extracted")
        await quiet(api)
        before = len(api.writes)
        await asyncio.sleep(2)
        assert len(api.writes) == before
        assert before <= 12
