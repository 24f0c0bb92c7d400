"""Odd and hostile AdmissionReviews, endless, from a seed: what the webhook must survive.

``python -m tests.reviews NUMBER`` sends so many to a server of its own and says what it answered.
"""

import asyncio
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

from tests.webhooks import connected

Json = dict[str, Any]

STRANGE: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1e308, 2**70, "", "x" * 300, "\ud800", "a/b~c", "__proto__", "\0"),
    *([], {}, [None], [[]], {"": ""}, [{}], {"name": []}, "shared", "local", "gkm-layer-0", "/"),
    *(["overlay", "/run/gkm/data", "/layer"], ["overlay", "--check", "/run/gkm/more"]),
    *({"name": "gkm-layer-0"}, {"name": "gkm-check-0"}, "data=shared,data=local"),
)
NOT_JSON: tuple[bytes, ...] = (
    *(b"", b"[]", b"null", b"{", b"NaN", b'"x"', b"[" * 100_000, b"\xff\xfe\x00", b"\x1f\x8b\x08"),
    b'{"a":' * 50_000,
    b'{"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {"uid": NaN}}',
)


def review(uid: Any = "uid-1", namespace: str = "team", **pod: Any) -> Json:
    """A review that is answered with a patch, but for what ``pod`` changes in the pod's spec."""
    spec = {
        "nodeName": "node-1",
        "initContainers": [{"name": "first", "image": "i"}],
        "containers": [
            {
                "name": "main",
                "image": "i",
                "env": [{"name": "A", "value": "b"}],
                "resources": {"limits": {"cpu": "1"}},
                "volumeMounts": [
                    {"name": "data", "mountPath": "/cache"},
                    {"name": "more", "mountPath": "/more", "readOnly": True},
                ],
            }
        ],
        "volumes": [
            {"name": "data", "persistentVolumeClaim": {"claimName": "shared"}},
            {"name": "more", "persistentVolumeClaim": {"claimName": "local"}},
        ],
        "securityContext": {"runAsUser": 5},
        "affinity": {"nodeAffinity": {}},
    }
    meta = {"generateName": "p-", "labels": {"gkm.io/pvc-mutation": "true"}, "annotations": {}}
    return {
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": uid,
            "kind": {"group": "", "version": "v1", "kind": "Pod"},
            "operation": "CREATE",
            "namespace": namespace,
            "object": {"metadata": meta, "spec": spec | pod},
        },
    }


def debugging(one: Json) -> Json:
    """The same pod as it runs, and somebody who adds a container to look inside."""
    request = one["request"]
    pod = request["object"]
    meta = pod["metadata"] | {"annotations": {"gkm.io/mutated": "data=shared,more=local"}}
    look = {"name": "look", "volumeMounts": [{"name": "data", "mountPath": "/look"}]}
    old = {"metadata": meta, "spec": pod["spec"]}
    new = {"metadata": meta, "spec": pod["spec"] | {"ephemeralContainers": [look]}}
    action = {"operation": "UPDATE", "subResource": "ephemeralcontainers"}
    return one | {"request": request | action | {"object": new, "oldObject": old}}


def bodies(seed: int) -> Iterator[bytes]:
    """Bodies without end: good reviews with some parts replaced, and things that are no reviews."""
    chance = random.Random(seed)
    while True:
        if chance.random() < 0.05:
            yield chance.choice(NOT_JSON)
            continue
        one = review(f"uid-{chance.random()}")
        if chance.random() < 0.3:
            one = json.loads(json.dumps(debugging(one)))
        pod = one["request"]["object"]
        for _ in range(chance.randint(0, 4)):
            spoil(one if chance.random() < 0.1 else pod, chance)
        raw = json.dumps(one).encode()
        if chance.random() < 0.05:
            place = chance.randrange(len(raw))
            raw = raw[:place] + chance.randbytes(chance.randint(0, 3)) + raw[place + 1 :]
        yield raw


def spoil(value: Any, chance: random.Random) -> None:
    """Change one random part of a JSON value in place."""
    while True:
        keys = list(value) if isinstance(value, dict) else list(range(len(value)))
        if not keys:
            return
        key = chance.choice(keys)
        deeper = isinstance(value[key], dict | list) and chance.random() < 0.85
        if deeper and value[key]:
            value = value[key]
            continue
        if chance.random() < 0.2:
            del value[key]
        elif chance.random() < 0.2 and isinstance(value, list):
            value.append(value[key])
        else:
            value[key] = json.loads(json.dumps(chance.choice(STRANGE)))
        return


def uid_of(body: bytes) -> str:
    """The uid that an answer to this body must carry; empty if it is no review."""
    try:
        one = json.loads(body)
    except (ValueError, RecursionError):
        return ""
    request = one.get("request") if isinstance(one, dict) else None
    uid = request.get("uid") if isinstance(request, dict) else None
    if not isinstance(one, dict) or not isinstance(uid, str):
        return ""
    kind = (one.get("apiVersion"), one.get("kind"))
    return uid if kind == ("admission.k8s.io/v1", "AdmissionReview") else ""


def fault(body: bytes, status: int, answer: bytes) -> str:
    """What is wrong with an answer; empty if nothing is."""
    uid = uid_of(body)
    if not uid:
        # A constant such as NaN is no JSON, but Python's reader takes it.
        return "" if status in (400, 413) else f"{status} for what is no review"
    if status == 400 and (b"NaN" in body or b"Infinity" in body):
        return ""
    if status != 200:
        return f"{status} for a review"
    response = json.loads(answer)["response"]
    if response["uid"] != uid:
        return "another uid"
    if "fault" in response.get("status", {}).get("message", ""):
        return "a fault of ours"
    return ""


async def _run(number: int) -> int:
    seen: Counter[str] = Counter()
    source = bodies(1)
    started = time.monotonic()
    async with connected() as post:
        for _ in range(number):
            body = next(source)
            status, answer = await post(body)
            seen[f"status {status}"] += 1
            seen[f"FAULT {fault(body, status, answer)}"] += bool(fault(body, status, answer))
    seconds = time.monotonic() - started
    for what, times in sorted((+seen).items()):
        print(f"{times:>8}  {what}")
    print(f"{number} reviews in {seconds:.0f} s")
    return int(any(what.startswith(("FAULT", "status 5")) for what in +seen))


if __name__ == "__main__":
    sys.exit(asyncio.run(_run(int(sys.argv[1]))))
