"""How the cluster speaks: one line per step with its seconds, and one error type.

Nobody should see a traceback for a machine that merely lacks something.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Log = Callable[[str], None]
"""Takes one line for a person to read."""


class ClusterError(Exception):
    """The cluster cannot go on; the message is one that a person can act on."""


@contextmanager
def step(log: Log, what: str) -> Iterator[None]:
    """Report what was done, and how long it took, once it is done."""
    start = time.monotonic()
    yield
    log(f"{what}: {time.monotonic() - start:.1f} s")
