"""`make demo`: from nothing to a pod whose kernels are already compiled, and the proof of it."""
