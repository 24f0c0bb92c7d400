"""The real operator, with waits that only cost wall time made shorter.

What is shortened, and why no order of writes changes by it:

* the time between the two pod lists before a claim is deleted (``retire``): there still are two
  lists, apart, both empty; the harness makes no pod in between;
* first retry pauses (``retry``) and the pause of a failed emptying Job (``observe``): the
  same tries in the same order, sooner;
* the pace at which the Lease is renewed and asked for (``lease``): its duration and margin, which
  decide who may write, are as they are.

With ``GKM_REAL_TIME`` nothing is shortened. The probe port is given, because two operators share
this machine. The program then waits for a line ``go`` on its standard input, so that a successor
can be kept ready with its imports done; it ends when that input ends, so that it cannot outlive
the harness.
"""

import os
import sys
import threading
from functools import partial

from gkm.core import observe, retire, retry
from gkm.kube import lease, probes
from gkm.operator import app

_SCALE = 10.0


def _scale() -> None:
    vars(app)["serve"] = partial(probes.serve, port=int(os.environ["GKM_PROBE_PORT"]))
    if "GKM_REAL_TIME" in os.environ:
        return
    retire.APART /= _SCALE
    retire._STALE /= _SCALE
    retry._FIRST_SECONDS /= _SCALE
    retry._SOON_SECONDS /= _SCALE
    observe._EMPTYING_PAUSE /= _SCALE
    lease._RENEW /= 3


def _end_with_the_harness() -> None:
    sys.stdin.read()
    os._exit(0)


def main() -> int:
    """Wait for the word, then run the operator."""
    _scale()
    if sys.stdin.readline() != "go\n":
        return 0
    threading.Thread(target=_end_with_the_harness, daemon=True).start()
    return app.main([])


if __name__ == "__main__":
    sys.exit(main())
