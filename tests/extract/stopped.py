"""The extraction program, which stands still until it is told to go on: strace comes first."""

import os
import signal

from gkm.extract.app import extract_main


def main(arguments: list[str]) -> int:
    """Stop, and then be the program."""
    os.kill(os.getpid(), signal.SIGSTOP)
    return extract_main(arguments)
