"""Asks registries what images are, in threads: one that is slow delays only its own images."""

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import aiohttp

from gkm.api.errors import Rejected, Retry
from gkm.api.names import CacheKey
from gkm.core.actions import Resolve
from gkm.core.image import ImageFacts, Reference
from gkm.core.retry import UNAVAILABLE, trouble
from gkm.core.view import Looked, Trouble
from gkm.kernels import required
from gkm.kube.client import Client
from gkm.kube.errors import ApiError
from gkm.oci.registry import Registry
from gkm.oci.settings import RegistrySettings
from gkm.operator.fleet import Memory
from gkm.operator.logins import keychain

_log = logging.getLogger(__name__)
_THREADS, _OF_ONE_REGISTRY = 16, 4
_PATIENCE = 1.0
"""An answer that comes sooner is acted on in the same pass, without a status write in between.
Only the pass that asks waits: those that wait are not there for other Caches."""


class Resolver:
    """One question per Cache at a time; answers go into the Cache's memory."""

    def __init__(
        self, client: Client, settings: RegistrySettings, answered: Callable[[CacheKey], None]
    ) -> None:
        self._client = client
        self._settings = settings
        self._answered = answered
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="resolve")
        self._asked: dict[CacheKey, tuple[Resolve, asyncio.Task[None]]] = {}
        self._turns = defaultdict[str, asyncio.Semaphore](
            partial(asyncio.Semaphore, _OF_ONE_REGISTRY)
        )

    async def ask(self, key: CacheKey, question: Resolve, memory: Memory) -> bool:
        """Ask what an image is; True if the answer is there already, else it comes later.

        Raises whatever a bug of ours raised in the asking.
        """
        earlier, running = self._asked.get(key, (None, None))
        if running is not None:
            if earlier != question:
                running.cancel()  # its end is news, and brings us back here
            return False
        task = asyncio.create_task(self._resolve(question, memory))
        self._asked[key] = question, task
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

    async def _resolve(self, question: Resolve, memory: Memory) -> None:
        answer: ImageFacts | Trouble
        try:
            answer = await self._look_up(question)
        except (Retry, Rejected) as word:
            old = memory.resolution if isinstance(memory.resolution, Trouble) else None
            answer = trouble(old, word, time.time())
        if memory.image == question.image:
            memory.resolution, memory.looked = answer, Looked(time.time(), question.pinned)

    async def _look_up(self, question: Resolve) -> ImageFacts:
        try:
            logins = await keychain(self._client, question.secrets)
        except ApiError as error:
            raise error.word() from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            said = "the Secrets of spec.imagePullSecrets cannot be read"
            raise Retry(UNAVAILABLE, f"{said}: {error!r}") from error
        registry = Registry(self._settings, logins)
        loop = asyncio.get_running_loop()
        async with self._turns[Reference.parse(question.image).registry]:
            facts = await loop.run_in_executor(self._pool, registry.resolve, question.image)
        required(facts.labels)
        return facts
