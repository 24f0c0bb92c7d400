"""References, and what the labels of an image lead to."""

import pytest

from gkm.api.errors import Rejected
from gkm.core.image import LARGEST_CACHE, ImageFacts, Reference, framework, storage_request

DIGEST = "sha256:" + "a" * 64
MIB = 1024 * 1024


@pytest.mark.parametrize(
    ("text", "registry", "repository", "tag", "digest"),
    [
        ("quay.io/gkm/cache:v1", "quay.io", "gkm/cache", "v1", ""),
        ("localhost:5000/repo", "localhost:5000", "repo", "latest", ""),
        ("localhost/repo:x", "localhost", "repo", "x", ""),
        ("10.0.0.1:5000/a/b:1.2", "10.0.0.1:5000", "a/b", "1.2", ""),
        ("[::1]:5000/repo", "[::1]:5000", "repo", "latest", ""),
        ("busybox", "docker.io", "library/busybox", "latest", ""),
        ("me/cache:1", "docker.io", "me/cache", "1", ""),
        ("index.docker.io/me/cache", "docker.io", "me/cache", "latest", ""),
        (f"quay.io/a@{DIGEST}", "quay.io", "a", "", DIGEST),
        (f"quay.io/a:v1@{DIGEST}", "quay.io", "a", "v1", DIGEST),
    ],
)
def test_a_reference_has_these_parts(
    text: str, registry: str, repository: str, tag: str, digest: str
) -> None:
    assert Reference.parse(text) == Reference(registry, repository, tag, digest)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "quay.io/",
        "quay.io/UPPER",
        "quay.io/a:",
        "quay.io/a@sha256:abc",
        f"quay.io/a@{DIGEST.upper()}",
        "quay.io/a b",
        "quay.io/a:v1\n",
        "quay.io/../a",
        "-bad.host/a",
        "https://quay.io/a",
        "quay.io/" + "a" * 2000,
    ],
)
def test_a_bad_reference_says_what_was_found_and_expected(text: str) -> None:
    with pytest.raises(Rejected) as caught:
        Reference.parse(text)
    assert caught.value.reason == "BadReference"
    assert "expected [registry/]repository" in caught.value.message


def test_pinned_leaves_the_tag_out() -> None:
    assert Reference.parse("quay.io/a:v1").pinned(DIGEST) == f"quay.io/a@{DIGEST}"


def _facts(packed: int, **labels: str) -> ImageFacts:
    named = {key.replace("_", "."): value for key, value in labels.items()}
    return ImageFacts(
        DIGEST, {f"cache.{k}.image/cache-size-bytes": v for k, v in named.items()}, packed
    )


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        (_facts(1, triton=str(5_000 * MIB)), 5_564 * MIB),
        (_facts(1, vllm=str(5_000 * MIB)), 5_564 * MIB),
        (_facts(1, triton="9" * 15), LARGEST_CACHE * 11 // 10 + 64 * MIB),
        (_facts(1 << 40), LARGEST_CACHE * 11 // 10 + 64 * MIB),
        (_facts(1, triton="72152"), 1024 * MIB),
        (_facts(1000 * MIB), 4000 * MIB),
        (_facts(1000 * MIB, triton="many"), 4000 * MIB),
        (_facts(1000 * MIB, triton="-5"), 4000 * MIB),
        (_facts(1000 * MIB, triton="0"), 4000 * MIB),
        (_facts(1000 * MIB, triton="1e30"), 4000 * MIB),
        (_facts(0), 1024 * MIB),
    ],
)
def test_storage_request(facts: ImageFacts, expected: int) -> None:
    assert storage_request(facts) == expected


def test_framework_follows_the_summary_label() -> None:
    triton, vllm = "cache.triton.image/summary", "cache.vllm.image/summary"
    assert framework({triton: "", vllm: ""}) == "triton"
    assert framework({vllm: "null"}) == "vllm"
    assert framework({"org.opencontainers.image.title": "x"}) is None
