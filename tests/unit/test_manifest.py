"""Manifests, indexes and configs that strangers wrote: read, or refused in words."""

import contextlib
import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gkm.api.errors import Rejected
from gkm.oci import manifest, media

DIGEST = f"sha256:{'0' * 64}"
ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.sampled_from(["", DIGEST, media.OCI_MANIFEST, media.OCI_INDEX, "linux"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["mediaType", "digest", "size", "platform", "os", "Labels", "diff_ids"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
DOCUMENTS = st.dictionaries(
    st.sampled_from(["mediaType", "layers", "manifests", "config", "rootfs"]), ANYTHING
)


@given(DOCUMENTS)
def test_whatever_a_document_holds_it_is_read_or_refused(written: dict[str, Any]) -> None:
    raw = json.dumps(written).encode()
    document = manifest.load(raw, "manifest")
    with contextlib.suppress(Rejected):
        manifest.parse_config(raw)
    with contextlib.suppress(Rejected):
        if manifest.is_index(document):
            manifest.pick_platform(document, "amd64")
        else:
            manifest.parse_manifest(document)
