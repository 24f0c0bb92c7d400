"""The real operator, with waits that only cost wall time made shorter.

What is shortened, and why no order of writes changes by it:

* the time between the two pod lists before a claim is deleted (``retire``): there still are two
  lists, apart, both empty; the harness makes no pod in between;
* for how long a webhook may be behind (``steps``): the lists still begin only after that time, and
  the webhook that runs here is behind by milliseconds;
* first retry pauses (``retry``) and the pause of a failed emptying Job (``observe``): the
  same tries in the same order, sooner;
* the pace at which the Lease is renewed and asked for (``lease``): its duration and margin, which
  decide who may write, are as they are;
* how soon the webhook's certificate is looked after again (``certificate``): only the first look
  finds anything to do.

With ``GKM_REAL_TIME`` nothing is shortened. The probe port is given, because several programs share
this machine.
"""

import os
from functools import partial

from gkm.core import observe, retire, retry, steps
from gkm.kube import lease, probes
from gkm.operator import app, certificate

_SCALE = 10.0


def _scale() -> None:
    vars(app)["serve"] = partial(probes.serve, port=int(os.environ["GKM_PROBE_PORT"]))
    if "GKM_REAL_TIME" in os.environ:
        return
    retire.APART /= _SCALE
    retire._STALE /= _SCALE
    steps.BEHIND = 1.0
    retry._FIRST_SECONDS /= _SCALE
    retry._SOON_SECONDS /= _SCALE
    observe._EMPTYING_PAUSE /= _SCALE
    lease._RENEW /= 3
    vars(certificate)["_RETRY_SECONDS"] = 0.5


def main(arguments: list[str]) -> int:
    """Run it."""
    _scale()
    return app.main(arguments)
