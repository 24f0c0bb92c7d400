"""The API server's own record of who did what: the only count that cannot flatter us."""

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.stage import NAMESPACE

Json = dict[str, Any]
OPERATOR = f"system:serviceaccount:{NAMESPACE}:gkm-operator"
WEBHOOK = f"system:serviceaccount:{NAMESPACE}:gkm-webhook"
AGENT = f"system:serviceaccount:{NAMESPACE}:gkm-agent"
WRITES = frozenset({"create", "update", "patch", "delete", "deletecollection"})


@dataclass(frozen=True)
class Ledger:
    """Requests that the API server answered from ``start`` (bytes into the log) on."""

    log: Path
    start: int = 0

    @classmethod
    def from_now(cls, log: Path) -> "Ledger":
        return cls(log, log.stat().st_size)

    def requests(self, user: str) -> list[Json]:
        """Requests of one user to resources, by their ``objectRef``, verb and answer."""
        with self.log.open("rb") as file:
            file.seek(self.start)
            entries = [json.loads(line) for line in file if line.endswith(b"\n")]
        return [e for e in entries if e["user"].get("username") == user and "objectRef" in e]

    def writes(self, user: str = OPERATOR) -> Counter[str]:
        """A user's writes by what they are, Lease renewals apart."""
        found = (e for e in self.requests(user) if e["verb"] in WRITES)
        names = (f"{e['verb']} {resource(e['objectRef'])}" for e in found)
        return Counter(name for name in names if "leases" not in name)


def resource(ref: Json) -> str:
    """``resource`` or ``resource/subresource``, as RBAC rules name it."""
    return "/".join(filter(None, (ref["resource"], ref.get("subresource"))))
