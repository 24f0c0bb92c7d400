"""Kills the operator at every write that it makes, and holds a stale leader's writes back.

A real control plane, the real operator with its own least rights, the real extraction program;
only the node is played (``node``). ``python -m tests.faults`` sweeps and replays, ``test_faults``
is the sample that continuous integration runs.
"""
