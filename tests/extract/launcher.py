"""Runs programs and says what each cost: one line of JSON in, one out.

A process of its own, because the kernel counts into a child's peak of memory what its parent had
when it forked, and pytest with its archives has much.
"""

import json
import os
import signal
import sys
import time


def main() -> None:
    for line in sys.stdin:
        job = json.loads(line)
        os.chdir(job["folder"])
        output = os.open(job["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        started = time.monotonic()
        command = job["command"]
        both = [(os.POSIX_SPAWN_DUP2, output, 1), (os.POSIX_SPAWN_DUP2, output, 2)]
        child = os.posix_spawnp(
            command[0], command, job["environment"], file_actions=both, setpgroup=0
        )
        os.close(output)
        signal.signal(signal.SIGALRM, lambda *_, child=child: os.killpg(child, signal.SIGKILL))
        signal.alarm(job["seconds"])
        _, status, usage = os.wait4(child, 0)
        signal.alarm(0)
        spent = {
            "code": os.waitstatus_to_exitcode(status),
            "rss": usage.ru_maxrss,
            "cpu": usage.ru_utime + usage.ru_stime,
            "seconds": time.monotonic() - started,
        }
        print(json.dumps(spent), flush=True)


if __name__ == "__main__":
    main()
