"""F140: what hostile labels do to the operator, which reads them before any Job runs."""

import time

import pytest

from gkm.api.errors import Rejected
from gkm.core.gputargets import from_labels
from gkm.core.image import LARGEST_CACHE, storage_request
from gkm.oci.registry import Registry
from gkm.oci.settings import RegistrySettings
from tests.extract.images import GOOD, image

SUMMARY, SIZE = "cache.triton.image/summary", "cache.triton.image/cache-size-bytes"
MIB = 1 << 20
HOSTILE = {
    "numbers": '{"targets":[{"backend":"cuda","arch":' + "9" * MIB + "}]}",
    "short-numbers": '{"targets":[{"backend":"cuda","arch":' + "9" * 5000 + "}]}",
    "deep": '{"targets":' * 5000,
    "deeper": "[" * 90_000,
    "wrong-types": '{"targets":[1,null,"x",[],{"backend":[],"arch":{},"warp_size":"x"}]}',
    "targets-an-object": '{"targets":{}}',
    "minus": '{"targets":[{"backend":"cuda","arch":-1,"warp_size":-32}]}',
    "many": '{"targets":[' + ",".join(["{}"] * 40_000) + "]}",
    "no-json": "\u0000{",
    "twins": '{"targets":[],"targets":[{"backend":"hip"}]}',
}
SIZES = ("0", "-1", "1e30", "9" * 15, "9" * 16, "9" * MIB, str(1 << 63), "NaN", "\u0663")


def labels_of(registry: str, repository: str, **labels: str) -> tuple[int, object]:
    """What the operator makes of an image with these labels: bytes to ask for, and targets."""
    named = {SUMMARY: labels["summary"], SIZE: labels["size"]}
    pinned = image(GOOD, labels=named).push(registry, repository)
    facts = Registry(RegistrySettings(frozenset({registry}))).resolve(pinned)
    return storage_request(facts), from_labels(facts.labels)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_summary_is_a_doubt_at_worst(registry: str, name: str) -> None:
    started = time.process_time()
    request, targets = labels_of(registry, f"f140/{name}", summary=HOSTILE[name], size="4")
    assert len(repr(targets)) < 1000
    assert request == 1 << 30
    assert time.process_time() - started < 1


@pytest.mark.parametrize("size", SIZES, ids=lambda size: size[:16])
def test_no_size_makes_a_giant_claim(registry: str, size: str) -> None:
    request, _ = labels_of(registry, "f140/size", summary="{}", size=size)
    assert 1 << 30 <= request < LARGEST_CACHE * 2


@pytest.mark.parametrize(
    ("summary", "rule"),
    [("x" * (5 * MIB), "at most 4 MiB"), ("[" * MIB, "more than 100000 values")],
)
def test_a_summary_that_fills_the_config_is_refused(registry: str, summary: str, rule: str) -> None:
    with pytest.raises(Rejected, match=rule):
        labels_of(registry, "f140/large", summary=summary, size="4")
