"""The admission webhook: pods that ask for a cache get it. Writes nothing, asks no registry."""
