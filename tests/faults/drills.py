"""Faults that are no single write's: each does what the workload does, and more beside it."""

import asyncio
from typing import Any

from gkm.api import names
from gkm.core.objects import SERVING
from tests.faults.experiment import Act, Run, acting
from tests.faults.recorder import CLAIM
from tests.faults.stack import Stack
from tests.faults.world import World

Json = dict[str, Any]
CRASH_LOOP, NO_POD_LIST = "crash-loop", "no-pod-list"
_UP, _DOWN, _CRASHES = 3.0, 1.0, 15
"""Seconds, seconds, times: a minute."""
_BLIND = 4.0
"""Seconds; two pod lists are half a second apart here."""
_ROLE = "/apis/rbac.authorization.k8s.io/v1/clusterroles/gkm-operator"


async def _crash_loop(stack: Stack, world: World, run: Run) -> None:
    """F14: the operator dies again and again."""
    stack.rest = _DOWN
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(acting(stack, world, run))
            for _ in range(_CRASHES):
                await asyncio.sleep(_UP)
                stack.seat.operator.kill()
                await asyncio.sleep(_DOWN)
    finally:
        stack.rest = 0.0


async def _no_pod_list(stack: Stack, world: World, run: Run) -> None:
    """F28: nobody tells the operator which pods there are; nothing that serves may go."""
    rules = (await stack.client.send("GET", _ROLE))["rules"]
    blind = [_without_list(rule) if "pods" in rule["resources"] else rule for rule in rules]
    await stack.client.send("PATCH", _ROLE, {"rules": blind}, patch=True)
    try:
        before = _serving(stack)
        group = asyncio.create_task(acting(stack, world, run))
        await asyncio.sleep(_BLIND)
        gone = before - _serving(stack)
        run.problems += [f"S4: claim {name} is deleted, and no pod was listed" for name in gone]
    finally:
        await stack.client.send("PATCH", _ROLE, {"rules": rules}, patch=True)
    await group


def _without_list(rule: Json) -> Json:
    return rule | {"verbs": [verb for verb in rule["verbs"] if verb != "list"]}


def _serving(stack: Stack) -> set[str]:
    """Names of the claims that serve and stay."""
    return {
        claim["metadata"]["name"]
        for claim in stack.recorder.all(CLAIM)
        if claim["metadata"]["labels"].get(names.LABEL_ROLE) == SERVING
        if "deletionTimestamp" not in claim["metadata"]
    }


DRILLS: dict[str, Act] = {CRASH_LOOP: _crash_loop, NO_POD_LIST: _no_pod_list}
