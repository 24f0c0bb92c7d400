"""Asks registries what images are, in a few threads, so that a slow one delays nobody else."""

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from gkm.api.errors import Rejected, Retry
from gkm.api.names import CacheKey
from gkm.core.image import ImageFacts
from gkm.core.retry import trouble
from gkm.core.view import Trouble
from gkm.kernels import required
from gkm.oci.registry import Registry
from gkm.operator.fleet import Memory

_log = logging.getLogger(__name__)
_THREADS = 4
_PATIENCE = 1.0
"""An answer that comes sooner is acted on in the same pass, without a status write in between."""


class Resolver:
    """One question per Cache at a time; answers go into the Cache's memory."""

    def __init__(self, registry: Registry, answered: Callable[[CacheKey], None]) -> None:
        self._registry = registry
        self._answered = answered
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="resolve")
        self._asked: dict[CacheKey, asyncio.Task[None]] = {}

    async def ask(self, key: CacheKey, image: str, memory: Memory) -> bool:
        """Ask for ``image``; True if the answer is there already, else it comes later.

        Raises whatever a bug of ours raised in the asking.
        """
        task = self._asked.get(key)
        if task is None:
            task = asyncio.create_task(self._resolve(image, memory))
            self._asked[key] = task
            task.add_done_callback(partial(self._done, key))
        done, _ = await asyncio.wait({task}, timeout=_PATIENCE)
        for asked in done:
            if not asked.cancelled():
                asked.result()
        return bool(done)

    def _done(self, key: CacheKey, task: asyncio.Task[None]) -> None:
        self._asked.pop(key, None)
        if not task.cancelled() and task.exception() is not None:
            _log.error("bug while resolving for %s", key, exc_info=task.exception())
        self._answered(key)

    async def _resolve(self, image: str, memory: Memory) -> None:
        loop = asyncio.get_running_loop()
        answer: ImageFacts | Trouble
        try:
            work = partial(self._registry.resolve, image)
            answer = await loop.run_in_executor(self._pool, work)
            required(answer.labels)
        except (Retry, Rejected) as word:
            old = memory.resolution if isinstance(memory.resolution, Trouble) else None
            answer = trouble(old, word, time.time())
        if memory.image == image:
            memory.resolution = answer
