"""The real webhook, on a port that is given, because several programs share this machine."""

import os
import sys

from tests.faults.word import at_the_word
from webhook import app

if __name__ == "__main__":
    vars(app)["_PORT"] = int(os.environ["GKM_PORT"])
    sys.exit(at_the_word(app.main))
