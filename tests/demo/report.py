"""What the demo says at its end. Pure: results in, text out."""

from collections.abc import Sequence
from pathlib import Path

from tests.stage import Compiled, Stage


def hit(runs: Sequence[Compiled]) -> bool:
    """Whether every run found every kernel and ran no stage of the compiler."""
    return bool(runs) and all(run.hits and not run.misses and not run.stages for run in runs)


def comparison(cold: Compiled, mounted: Sequence[Compiled]) -> str:
    """Two lines: the same pod without and with the cache (the first of ``mounted``)."""
    one = mounted[0]
    word = "HIT" if hit(mounted) else "MISS"
    times = cold.seconds / max(one.seconds, 0.001)
    nothing = f"{sum(hit([run]) for run in mounted)} of {len(mounted)} pods compiled nothing"
    return f"cold:    {_run(cold)}\nmounted: {_run(one)}: {word}, {times:.1f}x, {nothing}"


def _run(run: Compiled) -> str:
    return (
        f"{run.seconds:6.3f} s for {run.hits + run.misses} kernels, "
        f"{run.misses} compiled in {run.stages} stages"
    )


def next_steps(stage: Stage, kubeconfig: Path) -> str:
    """Where to go on from here."""
    return f"""
The cluster keeps running; `make demo-down` removes it.
  kubeconfig  {kubeconfig}
  registry    {stage.registry} (plain http; from here and from the cluster)
Try next:
  {environment(kubeconfig)}
  kubectl describe gkmcache kernels --namespace team-a
  kubectl logs workload --namespace team-a
  kubectl explain gkmcache.spec
"""


def environment(kubeconfig: Path) -> str:
    """The line after which `kubectl` is ours and speaks to the demo's cluster."""
    return f"export KUBECONFIG={kubeconfig} PATH=$PWD/.venv/bin:$PATH"
