"""The configuration files of a node, as data. Pure: what goes in is what comes out."""

import json
from pathlib import Path
from typing import Any

from tests.cluster.network import BRIDGE, Addresses


def containerd(folder: Path, run: str, registries: Path, pause: str) -> str:
    """Build containerd's configuration (TOML)."""
    return f"""version = 2
root = "/var/lib/containerd"
state = "{run}"
# Without CAP_SYS_RESOURCE nobody may lower an oom_score_adj.
oom_score = 0

[grpc]
address = "{run}/containerd.sock"

[plugins."io.containerd.internal.v1.opt"]
path = "/var/lib/containerd-opt"

[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{pause}"
restrict_oom_score_adj = true
disable_apparmor = true
netns_mounts_under_state_dir = true
stream_server_address = "127.0.0.1"

[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "/usr/lib/cni"
conf_dir = "{folder / "cni"}"

[plugins."io.containerd.grpc.v1.cri".registry]
config_path = "{registries}"
"""


def plain_http(registry: str) -> str:
    """Build containerd's hosts.toml for a registry without TLS."""
    capabilities = 'capabilities = ["pull", "resolve"]'
    return f'server = "http://{registry}"\n\n[host."http://{registry}"]\n{capabilities}\n'


def kubelet(address: str, run: str, cgroup: str, client_ca: Path, resolver: Path) -> dict[str, Any]:
    """Build the kubelet's configuration."""
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": address,
        "healthzBindAddress": address,
        "containerRuntimeEndpoint": f"unix://{run}/containerd.sock",
        # Without it `kubectl logs` and `exec` get "You must be logged in to the server".
        "authentication": {"x509": {"clientCAFile": str(client_ca)}},
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": cgroup,
        "failCgroupV1": False,
        "enforceNodeAllocatable": [],
        "localStorageCapacityIsolation": False,
        "failSwapOn": False,
        "oomScoreAdj": 0,
        # No DNS server runs: a pod that looks up a name is told so at once, by nobody listening.
        "clusterDNS": ["127.0.0.1"],
        "resolvConf": str(resolver),
        "volumePluginDir": "/var/lib/kubelet/volume-plugins",
        # The disk is this machine's: how full it is says nothing about the cluster.
        "imageGCHighThresholdPercent": 100,
        "evictionHard": {"nodefs.available": "0%", "imagefs.available": "0%"},
    }


def cni(addresses: Addresses, leases: Path) -> str:
    """Build the pods' network: one bridge and one list of leases for all nodes (JSON)."""
    plugin = {
        "type": "bridge",
        "bridge": BRIDGE,
        "isGateway": True,
        "hairpinMode": True,
        "ipam": {
            "type": "host-local",
            "dataDir": str(leases),
            "ranges": [[{"subnet": addresses.pods, "gateway": addresses.gateway}]],
            "routes": [{"dst": "0.0.0.0/0"}],
        },
    }
    return json.dumps({"cniVersion": "0.4.0", "name": "pods", "plugins": [plugin]}, indent=2)
