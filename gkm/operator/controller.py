"""The loop: take a key, plan, apply until there is nothing to do, write the status once, remember.

Level-triggered: whatever woke it, a pass looks at everything there is of one Cache. What the API
server or a registry refuses becomes a ``Trouble`` of the copy that it was for, so that it shows in
that Cache's status and holds up nobody else.
"""

import logging
import time
from typing import Any

import aiohttp

from gkm.api import names
from gkm.api.errors import Rejected, Retry
from gkm.api.names import CacheKey
from gkm.core.actions import CheckUse, Create, Inquire, Plan, Read, Resolve, Write
from gkm.core.objects import EXTRACT
from gkm.core.plan import plan
from gkm.core.retry import LONGEST, patience, trouble, waits
from gkm.core.view import Cache, Settings
from gkm.kube.errors import ApiError
from gkm.operator.apply import Applier, NotLeading, Outdated
from gkm.operator.fleet import Fleet, Memory
from gkm.operator.queue import WorkQueue
from gkm.operator.resolver import Resolver
from gkm.operator.slots import Slots

_log = logging.getLogger(__name__)
Json = dict[str, Any]

_ROUNDS = 20
"""More steps than any copy needs in one go: a pass that would go on for ever comes back instead."""
_LATER, _CONFLICT = 5.0, 0.1
_BUG_PAUSE = 60.0


class Controller:
    """Works off the queue with a few workers."""

    def __init__(
        self,
        settings: Settings,
        fleet: Fleet,
        queue: WorkQueue[CacheKey],
        applier: Applier,
        resolver: Resolver,
        slots: Slots,
    ) -> None:
        self._settings = settings
        self._fleet = fleet
        self._queue = queue
        self._applier = applier
        self._resolver = resolver
        self._slots = slots

    async def work(self) -> None:
        """Take keys for ever; an error of ours in one Cache is logged and holds up only that."""
        while True:
            key = await self._queue.get()
            try:
                await self._reconcile(key)
            except NotLeading:
                pass
            except Outdated:
                self._queue.add_after(key, self._soon(key))
            except (Retry, Rejected, aiohttp.ClientError, TimeoutError, OSError) as error:
                self._later(key, error)
            except Exception:  # noqa: BLE001 - whatever it was, the others go on
                _log.exception("bug while reconciling %s", key)
                self._queue.add_after(key, _BUG_PAUSE)
            else:
                continue
            finally:
                self._queue.done(key)
            self._slots.planned(key, waits=False, begun=0)  # whoever failed stands in nobody's way

    async def _reconcile(self, key: CacheKey) -> None:
        self._applier.gate()
        for _ in range(_ROUNDS):
            view, memory = self._fleet.view(key), self._fleet.memory(key)
            wanted = plan(view, self._settings, time.time())
            memory.note_leaving(wanted.leaving, time.time())
            begun = _begun(wanted)
            self._slots.planned(key, waits=wanted.queued, begun=begun)
            with self._slots.promise(key, begun):
                moved = await self._apply_all(key, wanted, memory)
            if not moved:
                break
        else:
            self._queue.add_after(key, _LATER)
        await self._report(view.cache, wanted, memory)
        memory.failing = None
        if wanted.again is not None:
            self._queue.add_after(key, wanted.again - time.time())
        self._fleet.forget_if_gone(key)

    async def _apply_all(self, key: CacheKey, wanted: Plan, memory: Memory) -> bool:
        """Apply a plan's actions; False if it would be no use to plan again now."""
        failed: set[str] = set()
        moved = False
        for action in wanted.actions:
            if isinstance(action, Resolve):
                moved |= await self._resolver.ask(key, action, memory)
            elif failed.isdisjoint(_copies(action)):
                moved = True
                if not await self._apply(key, action, memory):
                    failed.update(_copies(action))
        return moved

    async def _apply(self, key: CacheKey, action: Write | Read, memory: Memory) -> bool:
        try:
            await self._applier.apply(action, memory)
        except Outdated:
            if not action.copy:
                raise
            return False
        except (Retry, Rejected) as word:
            if not action.copy:
                raise
            for copy in _copies(action):
                memory.troubles[copy] = trouble(memory.troubles.get(copy), word, time.time())
            _log.warning("%s: %s", key, word)
            return False
        if not isinstance(action, CheckUse | Inquire):
            memory.troubles.pop(action.copy, None)
        return True

    async def _report(self, cache: Cache | None, wanted: Plan, memory: Memory) -> None:
        """Write the status if it differs, and only then say so in events.

        ``cache`` is what was planned from: its version is the fence.
        """
        if cache is None or wanted.status is None:
            return
        if wanted.status == cache.status.dump():
            memory.unsaid = None
            return
        if memory.unsaid is not None and waits(memory.unsaid.again, time.time()):
            self._queue.add_after(cache.key, memory.unsaid.again - time.time())
            return
        await self._write_status(cache, wanted.status, memory)
        for event in wanted.events:
            _log.info("%s: %s: %s", cache.key, event.reason, event.message)
            if not memory.may_tell(time.time()):
                continue
            try:
                await self._applier.post(cache, event)
            except (ApiError, aiohttp.ClientError, TimeoutError) as error:
                _log.warning("%s: event %s was lost: %r", cache.key, event.reason, error)

    async def _write_status(self, cache: Cache, status: Json, memory: Memory) -> None:
        """Write a status; one that is refused is not tried again with each change of a child."""
        try:
            await self._applier.write_status(cache, status)
        except (Retry, Rejected) as word:
            after = word.after if isinstance(word, Retry) else None
            again = Retry(word.reason, word.message, after=after)
            memory.unsaid = trouble(memory.unsaid, again, time.time())
            raise
        memory.unsaid = None

    def _soon(self, key: CacheKey) -> float:
        """Seconds until a pass that met with a conflict is made again: soon, if not for ever."""
        memory, now = self._fleet.memory(key), time.time()
        since = memory.failing = memory.failing or now
        return min(_LATER, max(_CONFLICT, now - since))

    def _later(self, key: CacheKey, error: Exception) -> None:
        memory, now = self._fleet.memory(key), time.time()
        since = memory.failing = memory.failing or now
        if isinstance(error, Rejected):
            pause = patience(since, now, str(key), LONGEST)
        else:
            asked = (error.after or 0.0) if isinstance(error, Retry) else 0.0
            pause = max(asked, patience(since, now, str(key)))
        _log.warning("%s: %r; again in %.0f s", key, error, pause)
        self._queue.add_after(key, pause)


def _copies(action: Write | Read) -> tuple[str, ...]:
    """The copies that an action is for."""
    if isinstance(action, CheckUse):
        return tuple(look.copy for look in action.looks)
    return (action.copy,)


def _begun(wanted: Plan) -> int:
    """How many extractions a plan begins."""
    made = (action for action in wanted.actions if isinstance(action, Create))
    return sum(one.body["metadata"]["labels"][names.LABEL_ROLE] == EXTRACT for one in made)
