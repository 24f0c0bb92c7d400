"""Asks registries what images are, in threads: one that is slow delays only its own images."""

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
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
_BUG_PAUSE = 60.0
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
        """Ask what an image is; True if the answer is there already, else it comes later."""
        earlier, running = self._asked.get(key, (None, None))
        if running is not None:
            if earlier != question:
                running.cancel()  # its end is news, and brings us back here
            return False
        task = asyncio.create_task(self._resolve(question, memory))
        self._asked[key] = question, task
        task.add_done_callback(partial(self._done, key))
        done, _ = await asyncio.wait({task}, timeout=_PATIENCE)
        return bool(done)

    def _done(self, key: CacheKey, _: asyncio.Task[None]) -> None:
        self._asked.pop(key, None)
        self._answered(key)

    async def _resolve(self, question: Resolve, memory: Memory) -> None:
        answer: ImageFacts | Trouble
        try:
            answer = await self._look_up(question)
        except (Retry, Rejected) as word:
            old = memory.resolution if isinstance(memory.resolution, Trouble) else None
            answer = trouble(old, word, time.time())
        except Exception as bug:  # noqa: BLE001 - whatever it was, it is tried again at leisure
            _log.exception("bug while looking up %s", question.image)
            answer = trouble(None, Retry("InternalError", repr(bug), after=_BUG_PAUSE), time.time())
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
        facts = await self._in_turn(registry, question.image)
        required(facts.labels)
        return facts

    async def _in_turn(self, registry: Registry, image: str) -> ImageFacts:
        """Ask in a thread; the turn is over when the thread is, whoever still waits for it."""
        turn, loop = self._turns[Reference.parse(image).registry], asyncio.get_running_loop()

        def over(_: object) -> None:
            with suppress(RuntimeError):  # the program ended first
                loop.call_soon_threadsafe(turn.release)

        await turn.acquire()
        asked = self._pool.submit(registry.resolve, image)
        asked.add_done_callback(over)
        return await asyncio.wrap_future(asked)
