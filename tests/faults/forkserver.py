"""Forks a program, with its imports done, each time that it is asked to: ``module:function``.

Starting Python and importing what the program needs takes up to two seconds of CPU, and no write is
made in it; so it is done once. A line of JSON on standard input (``Request``) is answered with the
process's number, and with its exit code when it has ended. All of them end with this one, and this
one with whoever started it.
"""

import ctypes
import importlib
import json
import os
import selectors
import signal
import sys
import traceback
from collections.abc import Callable
from typing import Any

Json = dict[str, Any]
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None)


def _end_with_the_parent() -> None:
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _say(**what: int) -> None:
    os.write(1, json.dumps(what).encode() + b"\n")


def _reap() -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        _say(pid=pid, code=os.waitstatus_to_exitcode(status))


def _be(program: Callable[[list[str]], int], request: Json) -> None:
    """Become the program; never returns."""
    _end_with_the_parent()
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.environ.update(request["environment"])
    code: object = 1
    try:
        code = program(request["arguments"])
    except SystemExit as end:
        code = end.code
    except BaseException:  # noqa: BLE001 - a program shows what ends it
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else int(bool(code)))


def main() -> None:
    """Serve until standard input ends."""
    _end_with_the_parent()
    module, _, function = sys.argv[1].partition(":")
    program = getattr(importlib.import_module(module), function)
    wake, woken = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(woken)
    waiting = selectors.DefaultSelector()
    waiting.register(0, selectors.EVENT_READ)
    waiting.register(wake, selectors.EVENT_READ)
    rest = b""
    while True:
        for key, _ in waiting.select():
            data = os.read(key.fd, 1 << 16)
            if key.fd == wake:
                _reap()
                continue
            if not data:
                return
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                pid = os.fork()
                if pid == 0:
                    _be(program, json.loads(line))
                _say(pid=pid)


if __name__ == "__main__":
    main()
