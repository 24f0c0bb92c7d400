import base64
import json
from pathlib import Path

import pytest

from tests.cluster import kind, nodeconfig, requirements, sandbox, storage
from tests.cluster.control import render_kubeconfig
from tests.cluster.network import Addresses
from tests.cluster.report import ClusterError


def test_two_clusters_share_no_address() -> None:
    one, two = Addresses(200), Addresses(201)
    for name in ("control", "machine", "pods", "gateway", "services", "cable"):
        assert getattr(one, name) != getattr(two, name)
    assert one.node(1) != two.node(1)


def test_pods_get_addresses_of_their_cluster_from_one_list_of_leases() -> None:
    plugin = json.loads(nodeconfig.cni(Addresses(207), Path("/state/leases")))["plugins"][0]
    assert plugin["ipam"]["ranges"] == [[{"subnet": "10.207.16.0/20", "gateway": "10.207.16.1"}]]
    assert plugin["ipam"]["dataDir"] == "/state/leases"


def test_containerd_keeps_everything_where_its_node_is_private() -> None:
    text = nodeconfig.containerd(Path("/state"), "/run/a-1", Path("/state/registries"), "pause:1")
    assert 'root = "/var/lib/containerd"' in text
    assert 'state = "/run/a-1"' in text
    assert "restrict_oom_score_adj = true" in text


def test_kubelet_has_its_own_address_and_cgroup() -> None:
    config = nodeconfig.kubelet(
        "10.200.1.2", "/run/a-2", "/gkm-a-2", Path("/state/ca"), Path("/state/resolv.conf")
    )
    assert (config["address"], config["cgroupRoot"]) == ("10.200.1.2", "/gkm-a-2")
    assert config["authentication"]["x509"]["clientCAFile"] == "/state/ca"


def test_kubeconfig_holds_the_authority_itself_so_that_it_can_be_copied() -> None:
    config = render_kubeconfig("a", "https://10.200.0.2:6443", b"PEM", "secret")
    assert base64.b64encode(b"PEM").decode() in json.dumps(config)


def test_each_storage_class_has_its_own_provisioner() -> None:
    manifests = storage.manifests()
    classes = [item for item in manifests if item["kind"] == "StorageClass"]
    assert {item["metadata"]["name"] for item in classes} == {"shared", "node-local"}
    assert len({item["provisioner"] for item in classes}) == 2


def test_process_record_survives_odd_names() -> None:
    stat = "42 (a) b (c) S " + " ".join(str(number) for number in range(4, 30))
    assert sandbox.parse_stat(stat) == (42, "22")


@pytest.mark.parametrize("name", ["", "A", "a_b", "-a", "a-", "a" * 21, "../x"])
def test_names_that_cannot_name_a_node_are_refused(name: str) -> None:
    with pytest.raises(ClusterError):
        requirements.check_name(name)


def test_kind_gets_one_control_plane_and_the_shared_folder_everywhere() -> None:
    nodes = kind.render(3, Path("/state/shared"))["nodes"]
    assert [node["role"] for node in nodes] == ["control-plane", "worker", "worker"]
    assert all(node["extraMounts"][0]["hostPath"] == "/state/shared" for node in nodes)
