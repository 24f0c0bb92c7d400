"""The parts of the fault harness that are not seen to be wrong when they are: disks and gate."""

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.faults.disks import Disks
from tests.faults.gate import Gate
from tests.faults.rules import Fault, Rule

Json = dict[str, Any]
HANDSHAKE, FINISHED = b"\x16\x03\x03" + b"\x02\x00" + b"h" * 512, b"\x17\x03\x03\x00\x02ok"
REVIEW = b"\x17\x03\x03" + b"\x02\x00" + b"r" * 512


def volume(path: Path, node: str = "") -> Json:
    rule = {"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}
    terms = {"nodeSelectorTerms": [{"matchExpressions": [rule]}]}
    affinity = {"nodeAffinity": {"required": terms}} if node else {}
    return {"spec": {"hostPath": {"path": str(path)}, **affinity}}


def test_one_path_is_another_folder_on_each_node_and_on_each_life_of_it(tmp_path: Path) -> None:
    disks = Disks(tmp_path)
    path = disks.shared / "kernels"
    first, second, shared = (volume(path, node) for node in ("a", "b", ""))
    (disks.mounted(first) / "file").touch()
    assert disks.folder(shared) == path
    assert len({disks.folder(one) for one in (first, second, shared)}) == 3
    before = disks.folder(first)
    disks.renew("a")
    assert not before.exists()
    assert disks.folder(first) != before


@pytest.mark.parametrize(
    ("fault", "seen", "answered"),
    [
        (None, 2, 2),
        (Fault.KILL_BEFORE, 1, 1),
        (Fault.KILL_AFTER_COMMIT, 2, 1),
        (Fault.KILL_AFTER_REPLY, 2, 2),
    ],
)
async def test_the_webhook_dies_at_a_review_and_at_nothing_else(
    fault: Fault | None, seen: int, answered: int
) -> None:
    came: list[bytes] = []
    killed = asyncio.Event()

    async def webhook(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError):
            await reader.readexactly(len(HANDSHAKE + FINISHED))
            while True:
                came.append(await reader.readexactly(len(REVIEW)))
                writer.write(REVIEW)
        writer.close()

    server = await asyncio.start_server(webhook, "127.0.0.1", 0)
    gate = Gate("127.0.0.1", server.sockets[0].getsockname()[1], killed.set)
    gate.begin([Rule(fault, 2)] if fault else [])
    await gate.start()
    reader, writer = await asyncio.open_connection("127.0.0.1", gate.port)
    writer.write(HANDSHAKE + FINISHED)
    answers = 0
    with suppress(asyncio.IncompleteReadError, ConnectionError):
        for _ in range(2):
            writer.write(REVIEW)
            await reader.readexactly(len(REVIEW))
            answers += 1
    assert (len(came), answers, gate.rulebook.number) == (seen, answered, 2)
    assert killed.is_set() is (fault is not None)
    writer.close()
    await gate.stop()
    server.close()
    await asyncio.sleep(0.1)  # what was closed is gone a moment later
