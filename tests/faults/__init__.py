"""Kills every program at every write that it makes, and lets leaders be replaced unawares.

A real control plane; the real operator, agents and webhook with their own least rights, the real
extraction program; only the nodes are played (``node``). What users do is in ``workloads``, what
goes wrong in ``parts``. ``python -m tests.faults`` sweeps and replays, ``test_faults`` is the
sample that continuous integration runs.
"""
