"""The real agent, with its pace made quicker.

How long a change settles, how far two reports are apart, and how long an entry that goes is kept
(``reporter``) are shorter: the same reports in the same order, fewer changes in each. An entry may
so be taken away and made again while a copy is between its claims, which counts as no difference
(``oracles.NOT_COUNTED``). The probe port is given, because several programs share this machine.
"""

import os
from functools import partial

from gkm.agent import app, reporter
from gkm.kube import probes


def _scale() -> None:
    reporter._SETTLE, reporter._BETWEEN, reporter._REMOVAL = 0.05, 0.1, 0.4
    vars(app)["serve"] = partial(probes.serve, port=int(os.environ["GKM_PROBE_PORT"]))


def main(arguments: list[str]) -> int:
    """Run it."""
    _scale()
    return app.main(arguments)
