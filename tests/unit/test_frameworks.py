"""An image that GKM cannot bring is refused when it is looked up, not when a Job runs."""

import asyncio

import pytest

from gkm.api.errors import Rejected
from gkm.api.names import CACHE, CacheKey
from gkm.core.actions import Resolve
from gkm.core.image import FRAMEWORKS, ImageFacts, environment
from gkm.core.view import Trouble
from gkm.kernels import known, required
from gkm.kube.access import Access
from gkm.kube.client import Client
from gkm.operator.fleet import Memory
from gkm.operator.resolver import Resolver
from tests.images import Image, Script, cache_files, scripted

TRITON, INDUCTOR, VLLM = ({f"cache.{name}.image/summary": "null"} for name in FRAMEWORKS)
SOMETHING = {"maintainer": "somebody"}


def test_the_labels_name_the_framework() -> None:
    assert required(TRITON).name == "triton"
    assert required(VLLM).name == "vllm"
    assert required(INDUCTOR).name == "inductor"
    assert required({**VLLM, **INDUCTOR, **TRITON}).name == "triton"
    with pytest.raises(Rejected, match="NotACacheImage"):
        required(SOMETHING)


def test_what_is_recognised_is_supported() -> None:
    assert [one.name for one in known()] == ["vllm", "inductor", "triton"]


def test_the_workload_is_told_where_the_cache_is() -> None:
    assert environment(INDUCTOR) == ("TORCHINDUCTOR_CACHE_DIR",)
    assert environment(VLLM) == ("VLLM_CACHE_ROOT",)


def look_up(script: Script, labels: dict[str, str]) -> ImageFacts | Trouble | None:
    reference = script.add(Image([cache_files({"a": b"1"})], labels=labels))
    memory = Memory(image=reference)
    nobody = Client(Access("http://127.0.0.1:1", ""))  # without Secrets it is not asked
    resolver = Resolver(nobody, script.settings, lambda _: None)
    key, question = CacheKey(CACHE, "team-a", "kernels"), Resolve(reference)
    asyncio.run(resolver.ask(key, question, memory))
    return memory.resolution


def test_the_user_is_told_when_the_image_is_looked_up() -> None:
    with scripted() as script:
        for labels in (TRITON, VLLM, INDUCTOR):
            assert isinstance(look_up(script, labels), ImageFacts)
        refused = look_up(script, SOMETHING)
    assert isinstance(refused, Trouble)
    assert (refused.reason, refused.final) == ("NotACacheImage", True)
