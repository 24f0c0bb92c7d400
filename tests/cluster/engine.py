"""Which way to get a cluster this machine has: KIND where Docker answers, else our own."""

from tests.cluster import cluster, kind
from tests.cluster.cluster import Cluster
from tests.cluster.kind import KindCluster
from tests.cluster.report import ClusterError, Log

AnyCluster = Cluster | KindCluster


def up(name: str, nodes: int, log: Log = print) -> AnyCluster:
    """Start a cluster, or return the one with this name."""
    return KindCluster.up(name, nodes, log) if kind.usable() else Cluster.up(name, nodes, log)


def find(name: str, log: Log = print) -> AnyCluster:
    """Return the cluster with this name."""
    found = KindCluster(name, log) if kind.usable() else Cluster.find(name, log)
    if not found:
        raise ClusterError(f"there is no cluster {name}: `python -m tests.cluster up` makes one")
    return found


def down(name: str, log: Log = print) -> None:
    """Remove the cluster with this name, in whatever state it is."""
    if kind.usable():
        KindCluster(name, log).down()
    else:
        cluster.down(name, log)
