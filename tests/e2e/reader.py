"""Runs in a pod: reads the whole cache again and again, and says what it saw each time."""

import hashlib
import os
import sys
import time


def tree(root: str) -> str:
    """Hash of every path and every byte below ``root``, without GKM's own folder."""
    total = hashlib.sha256()
    for folder, names, files in os.walk(root):
        names[:] = sorted(name for name in names if name != ".gkm")
        for name in sorted(files):
            path = os.path.join(folder, name)  # noqa: PTH118 - the same text runs in the pod
            total.update(os.path.relpath(path, root).encode() + b"\0")
            with open(path, "rb") as file:  # noqa: PTH123 - likewise
                total.update(hashlib.sha256(file.read()).digest())
    return total.hexdigest()


if __name__ == "__main__":
    _root, _rounds, _pause = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    for _ in range(_rounds):
        print(tree(_root), flush=True)
        time.sleep(_pause)
