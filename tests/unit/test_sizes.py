"""F122: objects stay small however much there is to say, far below what an API server takes."""

import json
from dataclasses import replace

from gkm.api.cache import CacheSpec, CacheStatus
from gkm.api.names import CLUSTER_CACHE, CacheKey
from gkm.core import explain
from gkm.core.conditions import pinned
from gkm.core.explain import State
from gkm.core.gputargets import Target, Targets
from gkm.core.nodereport import Look, report
from gkm.core.nodeview import NodeClaim, ThisNode
from gkm.core.pin import Pin
from gkm.core.rollup import Place, Report, status
from gkm.core.view import Cache
from gkm.gpus.simulated import parse

KIB = 1024
DIGEST = "sha256:" + "ab" * 32
FAILED = State(explain.ERROR, "FailedScheduling: " + "0/300 nodes are available " * 40, "Pending")


def test_a_status_of_1000_failing_namespaces_on_300_nodes_is_below_half_an_api_servers_limit() -> (
    None
):
    spec = CacheSpec(image="r.test/k:v1", access_modes=("ReadWriteOnce",))
    cache = Cache(CacheKey(CLUSTER_CACHE, "", "kernels"), "uid", "1", 1, spec, CacheStatus())
    names = [f"{'a-namespace-with-a-long-name':.>50}-{number}" for number in range(1000)]
    places = [Place(name, f"node-{n}", FAILED) for name in names for n in range(300)]
    pin = Pin(pinned(DIGEST), spec.image, DIGEST, current=True)
    assert len(json.dumps(status(cache, Report(pin, places), 0.0))) < 500 * KIB


def test_a_report_of_100_caches_on_a_node_of_8_gpus_is_below_100_kib() -> None:
    node, look = ThisNode("worker-1", "node-uid"), Look(parse("type=H100,count=8"))
    targets = Targets(tuple(Target("cuda", str(arch), 32) for arch in range(75, 90))).to_json()
    keys = [CacheKey(CLUSTER_CACHE, "", f"a-cache-with-a-rather-long-name-{n}") for n in range(100)]
    one = NodeClaim("ns", "c", keys[0], DIGEST, "serving", shared=False, node_uid="node-uid")
    claims = [replace(one, name=f"claim-{k.name}", key=k, targets=targets) for k in keys]
    found = report(node, look, claims, [])[""]
    assert len(found.caches) == 100
    assert len(json.dumps(found.dump())) < 100 * KIB
