"""The demo from the first to the last step; each prints a line with the seconds it took.

Every step may be repeated: on a running demo only the workloads start anew.
"""

import shutil
import sys
import tempfile
import time
from pathlib import Path

from tests import stage as staging
from tests.cluster import engine
from tests.cluster.report import step
from tests.demo import report
from tests.demo.workloads import DemoError, Workloads
from tests.stage import Stage

NAME = "gkm-demo"
NODES = 2
FOLDER = staging.ROOT / ".demo"
KUBECONFIG = FOLDER / "kubeconfig"
_SHOWN = KUBECONFIG.relative_to(staging.ROOT)
CACHES = (
    ("01-namespace/cache.yaml", ("gkmcache/kernels", "--namespace=team-a")),
    ("02-cluster/cache.yaml", ("clustergkmcache/kernels",)),
)
_STARTED = time.monotonic()


def up() -> int:
    """Run the whole demo; returns 1 if a workload had to compile anything."""
    made = staging.our_own(NAME, NODES, _log)
    FOLDER.mkdir(exist_ok=True)
    shutil.copy(made.kubeconfig, KUBECONFIG)
    try:
        return _on(made)
    except DemoError as error:
        what = f"{error}\nlook at it with:\n  {report.environment(_SHOWN)}\n  {error.look_at}"
        raise DemoError(what, error.look_at) from None


def down() -> int:
    """Remove the cluster and what the demo wrote into the checkout."""
    engine.down(NAME, _log)
    shutil.rmtree(FOLDER, ignore_errors=True)
    return 0


def _on(stage: Stage) -> int:
    """What a user does on a cluster of theirs."""
    try:
        staging.install(stage, _log)
    except RuntimeError as error:
        look_at = f"kubectl logs --namespace={staging.NAMESPACE} deployment/gkm-operator"
        raise DemoError(str(error), look_at) from None
    image = _push_a_cache(stage)
    workloads = Workloads(stage)
    with step(_log, "the Caches are Extracted"):
        workloads.remove()
        for manifest, _ in CACHES:
            # Pinned: had a tag been pushed again, the Cache would rightly stay with the old one.
            text = stage.example(manifest).replace(stage.cache_reference("v1"), image)
            stage.kubectl("apply", "--filename=-", stdin=text)
        for _, cache in CACHES:
            workloads.wait_extracted(cache)
    with step(_log, "the example's pod and Jobs ran on the mounted cache"):
        runs = workloads.run_examples()
    with step(_log, "one pod ran without a cache, then one with it, on the same node"):
        cold, mounted = workloads.run_cold_and_mounted()
    print(report.next_steps(stage, _SHOWN))
    print(stage.kubectl("get", "gkmcache,clustergkmcache", "--all-namespaces"))
    print(report.comparison(cold, [mounted, *runs]))
    sys.stdout.flush()
    return 0 if report.hit([mounted, *runs]) else 1


def _push_a_cache(stage: Stage) -> str:
    with tempfile.TemporaryDirectory() as folder:
        cache = Path(folder) / "cache"
        with step(_log, "compiled the example's kernels on this machine"):
            staging.compile_kernels(cache)
        with step(_log, "packed the cache and pushed it"):
            return staging.pack_and_push(stage, cache, "v1")


def _log(line: str) -> None:
    print(f"[{time.monotonic() - _STARTED:6.1f} s] {line}", flush=True)
