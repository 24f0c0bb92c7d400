"""The real webhook, on a port that is given, because several programs share this machine."""

import os

from webhook import app


def main(arguments: list[str]) -> int:
    """Run it."""
    vars(app)["_PORT"] = int(os.environ["GKM_PORT"])
    return app.main(arguments)
