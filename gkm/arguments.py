"""A command line parser whose complaints are one line, for every program of GKM."""

import argparse
from pathlib import Path
from typing import NoReturn

EXIT_CODES = (
    (0, "done; of gkm check: the cache fits a GPU; of gkm explain: it will be found"),
    (1, "gkm check: it fits none; gkm explain: it will not be found"),
    (2, "wrong usage"),
    (3, "gkm check, gkm explain: that is not known"),
    (10, "refused: only other input can help (another image, folder, option)"),
    (11, "failed: the world may fix it (a registry, a disk, a program that still writes)"),
    (130, "interrupted (Ctrl-C); 143: terminated; 141: nobody read the output"),
)
"""What every command for people exits with."""


def filled(text: str) -> str:
    """Take an argument as it stands, for ``type=``; empty, as ``"$UNSET"`` is, it is wrong usage.

    It would mean something that nobody asked for: the current folder, this machine.
    """
    if not text:
        raise argparse.ArgumentTypeError("it is empty; is a variable not set?")
    return text


def filled_path(text: str) -> Path:
    """Take a path, for ``type=``; empty, it is wrong usage."""
    return Path(filled(text))


class Parser(argparse.ArgumentParser):
    """``argparse`` without the usage text before each error; wrong usage exits with 2."""

    def error(self, message: str) -> NoReturn:
        """Print one line and exit."""
        self.exit(2, f"{self.prog}: {' '.join(message.split())} (see {self.prog} --help)\n")
