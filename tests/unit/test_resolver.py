"""Whom a registry that does not answer keeps waiting: nobody whose image is elsewhere."""

import asyncio
import socket
import time
from collections.abc import Iterator

import pytest

from gkm.api.names import CACHE, CacheKey
from gkm.core.actions import Resolve
from gkm.core.image import ImageFacts
from gkm.core.view import Trouble
from gkm.kube.access import Access
from gkm.kube.client import Client
from gkm.oci.settings import RegistrySettings
from gkm.operator.fleet import Memory
from gkm.operator.resolver import Resolver
from tests.images import Image, cache_files, scripted

LABELS = {"cache.triton.image/summary": "null"}


@pytest.fixture
def silent() -> Iterator[str]:
    """A registry that accepts connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        host, port = server.getsockname()
        yield f"{host}:{port}"


async def test_many_images_of_a_silent_registry_do_not_hold_up_another_registrys(
    silent: str,
) -> None:
    with scripted() as script:
        reference = script.add(Image([cache_files({"a": b"1"})], labels=LABELS))
        settings = RegistrySettings(plain_http=frozenset({script.host, silent}))
        client = Client(Access("http://127.0.0.1:1", ""))  # without Secrets it is not asked
        resolver = Resolver(client, settings, lambda _: None)
        stuck = [
            asyncio.create_task(_ask(resolver, f"stuck-{n}", f"{silent}/k/c:v1")) for n in range(40)
        ]
        await asyncio.sleep(0.2)
        found = await asyncio.wait_for(_ask(resolver, "good", reference), 5)
        assert isinstance(found.resolution, ImageFacts)
        for one in await asyncio.gather(*stuck):
            assert one.resolution is None


async def test_a_corrected_image_does_not_wait_for_the_answer_about_the_former(silent: str) -> None:
    with scripted() as script:
        reference = script.add(Image([cache_files({"a": b"1"})], labels=LABELS))
        settings = RegistrySettings(plain_http=frozenset({script.host, silent}))
        client = Client(Access("http://127.0.0.1:1", ""))  # without Secrets it is not asked
        again = asyncio.Event()
        resolver = Resolver(client, settings, lambda _: again.set())
        await _ask(resolver, "kernels", f"{silent}/k/c:v1")
        assert (await _ask(resolver, "kernels", reference)).resolution is None
        await asyncio.wait_for(again.wait(), 5)
        found = await asyncio.wait_for(_ask(resolver, "kernels", reference), 5)
        assert isinstance(found.resolution, ImageFacts)


async def _ask(resolver: Resolver, name: str, image: str) -> Memory:
    memory = Memory(image=image)
    await resolver.ask(CacheKey(CACHE, "team-a", name), Resolve(image), memory)
    return memory


async def test_a_bug_in_the_asking_is_told_and_tried_again_at_leisure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def bug(*_: object) -> None:
        raise KeyError("bug")

    monkeypatch.setattr("gkm.operator.resolver.keychain", bug)
    resolver = Resolver(Client(Access("", "")), RegistrySettings(), lambda _: None)
    found = (await _ask(resolver, "kernels", "r.test/k/c:v1")).resolution
    assert isinstance(found, Trouble)
    assert found.reason == "InternalError"
    assert found.again > time.time() + 30


async def test_a_turn_is_over_when_its_thread_is_though_nobody_waits_any_more(silent: str) -> None:
    settings = RegistrySettings(plain_http=frozenset({silent}))
    resolver = Resolver(Client(Access("", "")), settings, lambda _: None)
    for number in range(6):
        task = asyncio.create_task(_ask(resolver, f"kernels-{number}", f"{silent}/k/c:v1"))
        await asyncio.sleep(0.05)
        for _, asked in list(resolver._asked.values()):
            asked.cancel()
        await task
    assert resolver._pool._work_queue.qsize() == 0
    assert len(resolver._pool._threads) == 4
