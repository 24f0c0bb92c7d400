"""AdmissionReview v1: what is asked, and the answer, as bytes.

Strict about what must be there, blind to everything else: a newer API server may say more.
"""

import base64
import json
from dataclasses import dataclass
from typing import Any, Final, NoReturn

from gkm.api import names
from gkm.api.errors import Rejected
from gkm.core.jsonpatch import diff
from gkm.core.known import Known
from gkm.core.poddebug import patch_debug
from gkm.core.podlayer import Program
from gkm.core.podpatch import patch

Json = dict[str, Any]

_VERSION, _KIND = "admission.k8s.io/v1", "AdmissionReview"
_CREATE: Final = ("CREATE", "")
_DEBUG: Final = ("UPDATE", "ephemeralcontainers")
"""What ``kubectl debug`` does to a pod that runs."""


class BadReview(Exception):  # noqa: N818 - what it is, not that it is an error, is the point
    """What came is no review that could be answered; the text says why."""


@dataclass(frozen=True)
class Review:
    """The question: whether this may be done to this pod, in this namespace."""

    uid: str
    action: tuple[Any, Any]
    """The operation, and on which part of the pod."""
    namespace: Any
    pod: Any
    old: Any
    """The pod as it was, where it is not new."""


def decode(body: bytes) -> Review:
    """Read a review about pods. Raises BadReview."""
    try:
        review = json.loads(body, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise BadReview(f"the body is not JSON: {error}") from None
    if not isinstance(review, dict):
        raise BadReview("the body is no object")
    if (review.get("apiVersion"), review.get("kind")) != (_VERSION, _KIND):
        raise BadReview(f"only {_KIND} of {_VERSION} is answered")
    request = review.get("request")
    if not isinstance(request, dict):
        raise BadReview("the review has no request")
    uid = request.get("uid")
    if not isinstance(uid, str) or not uid:
        raise BadReview("the request has no uid")
    action = request.get("operation"), request.get("subResource") or ""
    pods = request.get("object"), request.get("oldObject")
    return Review(uid, action, request.get("namespace"), *pods)


@dataclass(frozen=True)
class Verdict:
    """Yes: what is to be changed, and what the user should know."""

    operations: list[Json]
    warnings: tuple[str, ...] = ()


def decide(review: Review, known: Known, program: Program) -> Verdict:
    """Say what becomes of the pod; nothing if it is none of ours. Raises Rejected."""
    pod = review.pod
    if review.action not in (_CREATE, _DEBUG):
        return Verdict([])
    if not isinstance(pod, dict) or not isinstance(review.namespace, str):
        raise Rejected("Malformed", "the request holds no pod, or no namespace")
    if not _asks(pod):
        return Verdict([])
    if review.action == _DEBUG:
        return Verdict(diff(pod, patch_debug(pod, review.old, review.namespace, known)))
    patched = patch(pod, review.namespace, known, program)
    return Verdict(diff(pod, patched.pod), patched.warnings)


def allow(review: Review, verdict: Verdict) -> bytes:
    """Encode the answer yes, with a patch and warnings if there are any."""
    response: Json = {"allowed": True}
    if verdict.operations:
        patch64 = base64.b64encode(json.dumps(verdict.operations).encode()).decode()
        response |= {"patchType": "JSONPatch", "patch": patch64}
    if verdict.warnings:
        response["warnings"] = [f"GKM: {warning}" for warning in verdict.warnings]
    return _encode(review, response)


def refuse(review: Review, message: str) -> bytes:
    """Encode the answer no; the user reads ``message``."""
    return _encode(review, {"allowed": False, "status": {"code": 403, "message": message}})


def _asks(pod: Json) -> bool:
    """Whether the pod carries our label; one whose labels cannot be read is looked at closer."""
    meta = pod.get("metadata")
    labels = meta.get("labels") if isinstance(meta, dict) else None
    return not isinstance(labels, dict) or labels.get(names.LABEL_MUTATION) == "true"


def _encode(review: Review, response: Json) -> bytes:
    response = {"uid": review.uid, **response}
    return json.dumps({"apiVersion": _VERSION, "kind": _KIND, "response": response}).encode()


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")
