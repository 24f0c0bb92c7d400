"""A real Kubernetes cluster on one machine, for tests, the demo and development.

Everything above it only needs a kubeconfig; nothing of GKM itself is known here except how its
image is built.
"""
