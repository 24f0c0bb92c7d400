"""``python -m tests.faults``: whole sweeps, a part of one, or one plan again."""

import argparse
import asyncio
import sys
from pathlib import Path
from random import Random

from tests.faults import plans, report
from tests.faults.experiment import Run
from tests.faults.parts import PARTS
from tests.faults.plans import Plan
from tests.faults.sweep import CASES, FAILURES, Sweep


def main() -> int:
    """Run one command; 1 if a plan failed."""
    arguments = _parser().parse_args()
    runs = asyncio.run(arguments.run(arguments))
    print(report.table(runs))
    return int(any(run.problems for run in runs))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--stacks", type=int, default=2, help="control planes side by side")
    parser.add_argument("--first", type=int, default=1, help="number of the first of them")
    commands = parser.add_subparsers(required=True)
    every: dict[str, tuple[str, tuple[str, ...]]]
    every = {name: (part.what, (name,)) for name, part in PARTS.items()}
    every["all"] = ("all of these; of those that are slow a sample", tuple(PARTS))
    every["measure"] = ("no fault at all, then the kinds that are named", ())
    for name, (what, parts) in every.items():
        command = commands.add_parser(name, help=what)
        command.add_argument("--sample", type=int, help="only so many plans of each kind")
        command.add_argument("--seed", type=int, default=1, help="which ones")
        command.add_argument("--workload", nargs="+", help="only these")
        command.add_argument("--storage", nargs="+", help="only these")
        command.set_defaults(run=_sweep, parts=parts)
    commands.choices["measure"].add_argument("parts", nargs="*", help="some of these")
    replay = commands.add_parser("replay", help="run one plan again")
    replay.add_argument("file", type=Path)
    replay.set_defaults(run=_replay)
    return parser


async def _sweep(arguments: argparse.Namespace) -> list[Run]:
    random = Random(arguments.seed)
    wanted = [
        case
        for case in CASES
        if case[0] in (arguments.workload or case) and case[1] in (arguments.storage or case)
    ]
    async with Sweep(arguments.stacks, FAILURES, arguments.first) as sweep:
        await sweep.measure(wanted)
        for name in arguments.parts:
            chosen = PARTS[name].build(sweep.writes, random)
            count = arguments.sample or (PARTS[name].few if len(arguments.parts) > 1 else None)
            await sweep.run(plans.sample(chosen, count, random) if count else chosen)
        return sweep.runs


async def _replay(arguments: argparse.Namespace) -> list[Run]:
    plan = Plan.load(arguments.file)
    async with Sweep(1, FAILURES, arguments.first) as sweep:
        await sweep.measure([plan.case])
        await sweep.run([plan])
        return sweep.runs


if __name__ == "__main__":
    sys.exit(main())
