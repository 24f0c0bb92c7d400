"""``python -m tests.faults``: whole sweeps, a part of one, or one plan again."""

import argparse
import asyncio
import sys
from pathlib import Path
from random import Random

from tests.faults import plans, report
from tests.faults.experiment import Run
from tests.faults.plans import Case, Plan
from tests.faults.sweep import CASES, FAILURES, HELD, Sweep

_PAIRS_OF_ALL = 20
"""One plan with a second kill for so many with one."""


def main() -> int:
    """Run one command; 1 if a plan failed."""
    arguments = _parser().parse_args()
    runs = asyncio.run(arguments.run(arguments))
    print(report.table(runs))
    return int(any(run.problems for run in runs))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--stacks", type=int, default=2, help="control planes side by side")
    commands = parser.add_subparsers(required=True)
    for name, parts, what in (
        ("sweep", (_kills,), "kill the operator at every write"),
        ("hold", (_holds,), "hold every write of a leader that is replaced"),
        ("all", (_kills, _holds), "both"),
    ):
        command = commands.add_parser(name, help=what)
        command.add_argument("--sample", type=int, help="only so many plans of each kind")
        command.add_argument("--seed", type=int, default=1, help="which ones")
        command.add_argument("--workload", help="only this one")
        command.set_defaults(run=_sweep, parts=parts)
    replay = commands.add_parser("replay", help="run one plan again")
    replay.add_argument("file", type=Path)
    replay.set_defaults(run=_replay)
    return parser


async def _sweep(arguments: argparse.Namespace) -> list[Run]:
    random = Random(arguments.seed)
    async with Sweep(arguments.stacks, FAILURES) as sweep:
        await sweep.measure(case for case in CASES if arguments.workload in (None, case[0]))
        for part in arguments.parts:
            chosen = part(sweep.writes, random)
            if arguments.sample:
                chosen = plans.sample(chosen, arguments.sample, random)
            await sweep.run(chosen)
        return sweep.runs


def _kills(writes: dict[Case, int], random: Random) -> list[Plan]:
    every = plans.kills(writes)
    return every + plans.pairs(writes, random, max(1, len(every) // _PAIRS_OF_ALL))


def _holds(writes: dict[Case, int], _: Random) -> list[Plan]:
    return plans.holds(writes, HELD)


async def _replay(arguments: argparse.Namespace) -> list[Run]:
    plan = Plan.load(arguments.file)
    async with Sweep(1, FAILURES) as sweep:
        await sweep.measure([plan.case])
        await sweep.run([plan])
        return sweep.runs


if __name__ == "__main__":
    sys.exit(main())
