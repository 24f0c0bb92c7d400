"""The operator killed at every write of a Cache's life, on real kubelets: all ends as ever.

``tests/faults`` sweeps every point by itself, without kubelets; here one life meets all of them.
"""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
import yaml

from gkm.kube.access import from_kubeconfig
from tests.cluster.control import render_kubeconfig
from tests.e2e.actors import VOLUMES, Actors, no_operator, reading
from tests.e2e.audit import OPERATOR, Ledger, resource
from tests.faults.program import Program, Spawner
from tests.faults.proxy import Proxy
from tests.faults.rules import KILLS, Rule
from tests.stage import NAMESPACE, Stage

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("compiled", "alone")]
EVERY_WRITE = [Rule(KILLS[number % len(KILLS)], number) for number in range(1, 60)]


@pytest.fixture
async def proxy(stage: Stage, tmp_path: Path) -> AsyncIterator[Proxy]:
    """In place of the installed operators one that runs here, behind a proxy that can kill it."""
    access = from_kubeconfig(stage.kubeconfig)
    spawner = Spawner("tests.faults.operator_main:main")
    operator = Program("killed", spawner, tmp_path / "operator.log")
    proxy = Proxy(access.server, access.tls(), tmp_path / "trace.jsonl", operator.kill)
    with no_operator(stage):
        await spawner.start()
        await proxy.start()
        operator.environment = environment(stage, tmp_path, proxy.port)
        try:
            async with kept(stage, operator, proxy):
                yield proxy
        finally:
            operator.terminate()
            await operator.gone()
            await spawner.stop()
            await proxy.stop()


def environment(stage: Stage, folder: Path, port: int) -> dict[str, str]:
    account = ("gkm-operator", "-n", NAMESPACE, "--duration=1h")
    token = stage.kubectl("create", "token", *account).strip()
    config = render_kubeconfig("proxy", f"http://127.0.0.1:{port}", b"", token)
    (folder / "kubeconfig").write_text(yaml.safe_dump(config))
    return {
        "KUBECONFIG": str(folder / "kubeconfig"),
        "GKM_NAMESPACE": NAMESPACE,
        "GKM_IMAGE": stage.gkm_image,
        "GKM_HOST_PATH": stage.host_path,
        "GKM_REGISTRY": json.dumps({"plainHttp": [stage.registry]}),
        "GKM_PROBE_PORT": "18079",
    }


@asynccontextmanager
async def kept(stage: Stage, operator: Program, proxy: Proxy) -> AsyncIterator[None]:
    """Start the operator, and again each time that it is killed; its Lease is given back."""
    free = ("patch", "lease", "gkm-operator", "-n", NAMESPACE, "--type=merge", "-p")

    async def keep() -> None:
        while True:
            await operator.start()
            await operator.killed.wait()
            await operator.gone()
            await asyncio.to_thread(stage.kubectl, *free, '{"spec":{"holderIdentity":""}}')
            proxy.resume()

    task = asyncio.create_task(keep())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def made(ledger: Ledger) -> Counter[str]:
    """Children that were made: what was refused, because it was there, does not count."""
    mine = (e for e in ledger.requests(OPERATOR) if e["verb"] == "create")
    good = (resource(e["objectRef"]) for e in mine if e["responseStatus"]["code"] < 300)
    return Counter(name for name in good if name not in ("events", "leases"))


@pytest.mark.parametrize("volumes", VOLUMES)
async def test_a_life_in_which_every_write_kills_the_operator_is_like_any_other(
    actors: Actors, log: Path, proxy: Proxy, expected: str, volumes: str
) -> None:
    here = actors.namespace("killed")
    ledger = Ledger.from_now(log)
    proxy.begin(EVERY_WRITE)
    await asyncio.to_thread(actors.cache, here, "kernels", **VOLUMES[volumes])
    await asyncio.to_thread(actors.wait_ready, "gkmcache", here, "kernels")
    actors.pod(here, "reader", "kernels", reading(3))
    ended = await asyncio.to_thread(actors.wait_pod, here, "reader", "Succeeded", "Failed")
    assert (ended, set(actors.logs(here, "reader").split())) == ("Succeeded", {expected})
    await asyncio.to_thread(actors.delete, "pod", here, "reader")
    await asyncio.to_thread(actors.delete, "gkmcache", here, "kernels")
    await asyncio.to_thread(actors.wait_clean)
    killed = len(EVERY_WRITE) - proxy.rulebook.left
    print(f"{volumes}: killed at {killed} writes, {dict(made(ledger))}")
    assert killed >= 10
    ours = {"persistentvolumes": 1} if volumes == "made by GKM" else {}
    twice = {"persistentvolumeclaims": 3 if ours else 2, "jobs": 2 if ours else 1}
    assert made(ledger) == Counter(ours | twice)
