"""Puts things into a real registry that `gkm push` would not: images without a cache, new tags."""

import hashlib
import json
import urllib.request
from typing import Any

Json = dict[str, Any]
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"


def image(registry: str, repository: str, tag: str, labels: dict[str, str]) -> None:
    """Push an image without layers."""
    base = f"http://{registry}/v2/{repository}"
    config = {"architecture": "amd64", "os": "linux", "config": {"Labels": labels}}
    config |= {"rootfs": {"type": "layers", "diff_ids": []}}
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": blob(base, json.dumps(config).encode(), CONFIG),
        "layers": [],
    }
    send("PUT", f"{base}/manifests/{tag}", json.dumps(manifest).encode(), MANIFEST)


def tag(registry: str, repository: str, old: str, new: str) -> None:
    """Give the image behind one tag another one."""
    base = f"http://{registry}/v2/{repository}/manifests"
    request = urllib.request.Request(f"{base}/{old}", headers={"Accept": MANIFEST})
    with urllib.request.urlopen(request, timeout=60) as answer:
        send("PUT", f"{base}/{new}", answer.read(), answer.headers["Content-Type"])


def blob(base: str, body: bytes, media_type: str) -> Json:
    """Upload a blob to the repository at ``base``; returns its descriptor."""
    digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
    place = send("POST", f"{base}/blobs/uploads/", b"", "")
    join = "&" if "?" in place else "?"
    send("PUT", f"{place}{join}digest={digest}", body, "application/octet-stream")
    return {"mediaType": media_type, "digest": digest, "size": len(body)}


def send(method: str, url: str, body: bytes, media_type: str) -> str:
    """Send a request; returns where the registry says to go on."""
    headers = {"Content-Type": media_type} if media_type else {}
    request = urllib.request.Request(url, body, headers, method=method)
    with urllib.request.urlopen(request, timeout=60) as answer:
        return str(answer.headers["Location"])
