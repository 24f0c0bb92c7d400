"""Tests of GKM, and the real cluster that they run on."""
