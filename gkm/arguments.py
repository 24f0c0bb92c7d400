"""A command line parser whose complaints are one line, for every program of GKM."""

import argparse
from typing import NoReturn


class Parser(argparse.ArgumentParser):
    """``argparse`` without the usage text before each error; wrong usage exits with 2."""

    def error(self, message: str) -> NoReturn:
        """Print one line and exit."""
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")
