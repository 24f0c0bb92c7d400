"""The real operator, with waits that only cost wall time made shorter.

What is shortened, and why no order of writes changes by it:

* the time between the two pod lists before a claim is deleted (``retire``): there still are two
  lists, apart, both empty; the harness makes no pod in between;
* for how long a webhook may be behind (``steps``): the lists still begin only after that time, and
  the webhook that runs here is behind by milliseconds;
* first retry pauses (``retry``, ``app``) and the pause of a failed emptying Job (``observe``): the
  same tries in the same order, sooner;
* the pace at which the Lease is renewed and asked for (``lease``): its duration and margin, which
  decide who may write, are as they are;
* how soon the webhook's certificate is looked after again (``certificate``): only the first look
  finds anything to do.

The probe port is given, because several programs share this machine.
"""

import os

from gkm.core import observe, retire, retry, steps
from gkm.kube import lease
from gkm.operator import app, certificate

_SCALE = 10.0


def _scale() -> None:
    retire.APART /= _SCALE
    retire._STALE /= _SCALE
    steps.BEHIND = 1.0
    retry._FIRST_SECONDS /= _SCALE
    observe._EMPTYING_PAUSE /= _SCALE
    app._RETRY_SECONDS /= _SCALE
    lease._RENEW /= 3
    vars(certificate)["_RETRY_SECONDS"] = 0.5
    app._PROBES = f"http://127.0.0.1:{os.environ['GKM_PROBE_PORT']}/healthz"


def main(arguments: list[str]) -> int:
    """Run it."""
    _scale()
    return app.main(arguments)
