"""Looks for the node's GPUs, now and again: drivers come late, and change while the agent runs."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Protocol

from gkm.agent.picture import Picture
from gkm.api.errors import Rejected
from gkm.core.gpu import Gpu
from gkm.core.nodegpus import believed, reported
from gkm.core.nodereport import CLUSTER, Look, read
from gkm.core.nodeview import ThisNode
from gkm.gpus import Inventory as Found
from gkm.gpus import detect

_log = logging.getLogger(__name__)

_EVERY = 60.0
"""Seconds between two looks; one takes milliseconds."""


class Detect(Protocol):
    """``gpus.detect``, or what a test puts in its place."""

    def __call__(self, simulated: str, labels: Mapping[str, str]) -> Found: ...


class Inventory:
    """The node's GPUs as they were last seen; calls ``changed`` when they are others.

    ``simulated`` stands for GPUs of all nodes; the annotation of a Node goes before it.
    """

    def __init__(
        self,
        simulated: str,
        picture: Picture,
        changed: Callable[[], None],
        find: Detect = detect,
    ) -> None:
        self.look = Look(None)
        self.looked = asyncio.Event()
        """Set after the first look."""
        self._simulated = simulated
        self._picture = picture
        self._changed = changed
        self._find = find
        self._again = asyncio.Event()

    def wake(self) -> None:
        """Look now: the Node's labels or annotations changed."""
        self._again.set()

    async def run(self) -> None:
        """Look for ever; the picture must be complete, for it holds the labels and what was told.

        A driver that hangs holds up the looks for GPUs, and nothing else.
        """
        while True:
            self._again.clear()
            await self._look()
            self.looked.set()
            with suppress(TimeoutError):
                async with asyncio.timeout(_EVERY):
                    await self._again.wait()

    async def _look(self) -> None:
        node = self._picture.node
        if node is None:
            return
        before = self.look.gpus if self.look.gpus is not None else self._told(node)
        new = await self._found(node, before)
        if new != self.look:
            _log.info("GPUs: %s; %s", _words(new.gpus), new.message or "nothing is doubtful")
            self.look = new
            self._changed()

    async def _found(self, node: ThisNode, before: tuple[Gpu, ...] | None) -> Look:
        simulated = node.simulated or self._simulated
        try:
            found = await asyncio.to_thread(self._find, simulated, node.labels)
        except Rejected as word:  # the user mistyped: what was known stays
            return Look(before, word.message)
        gpus = believed(found.gpus, certain=found.certain, before=before)
        doubtful = not gpus or not found.certain
        return Look(gpus, "; ".join(found.notes) if doubtful else "")

    def _told(self, node: ThisNode) -> tuple[Gpu, ...] | None:
        """What the agent reported before it was started again."""
        own = self._picture.own.get(CLUSTER)
        return reported(read(own.status)) if own and own.owners == (node.uid,) else None


def _words(gpus: tuple[Gpu, ...] | None) -> str:
    if gpus is None:
        return "not known yet"
    return ", ".join(f"{gpu.index} {gpu.product}" for gpu in gpus) or "none"
