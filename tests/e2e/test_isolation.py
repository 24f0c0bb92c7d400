"""What the tokens of agent, webhook and extraction may do: nothing to what is not their own.

Asked without a client in between, which would read before it writes; nothing is really written.
"""

import json
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Any

import pytest

from gkm.kube.access import from_kubeconfig
from gkm.kube.client import path
from tests.stage import NAMESPACE, Stage

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("stage")]
Json = dict[str, Any]
AGENT, WEBHOOK = "gkm-agent", "gkm-webhook"
LOCAL, WIDE = "GKMCacheNode", "ClusterGKMCacheNode"


@dataclass(frozen=True)
class Bearer:
    """Somebody with a token; ``other`` is a node that is not its own."""

    stage: Stage
    token: str
    node: str = ""
    other: str = ""

    def ask(self, method: str, where: str, body: str = "") -> tuple[int, str]:
        """Send a request as a dry run; status and answer."""
        access = from_kubeconfig(self.stage.kubeconfig)
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        if method == "PATCH":
            headers["Content-Type"] = "application/merge-patch+json"
        url = f"{access.server}{where}?dryRun=All"
        request = urllib.request.Request(url, body.encode() or None, headers, method=method)
        try:
            with urllib.request.urlopen(request, context=access.tls(), timeout=30) as reply:
                return reply.status, reply.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()


def bearer(stage: Stage, account: str, *, bound: bool = True) -> Bearer:
    """The token as the kubelet gives it to a pod, which says on which node that runs."""
    component = account.removeprefix("gkm-")
    where = ["-n", NAMESPACE, "-l", f"app.kubernetes.io/component={component}"]
    pods: list[Json] = json.loads(stage.kubectl("get", "pods", *where, "-o", "json"))["items"]
    first, second, *_ = sorted(pods, key=lambda pod: str(pod["spec"]["nodeName"]))
    options = ["--bound-object-kind=Pod", f"--bound-object-name={first['metadata']['name']}"]
    options.append(f"--bound-object-uid={first['metadata']['uid']}")
    token = stage.kubectl(
        "create", "token", account, "-n", NAMESPACE, *(options if bound else ())
    ).strip()
    return Bearer(stage, token, first["spec"]["nodeName"], second["spec"]["nodeName"])


@pytest.fixture(scope="module")
def agent(stage: Stage) -> Bearer:
    """The agent of the first node."""
    return bearer(stage, AGENT)


def report(kind: str, node: str, owner: str = "") -> str:
    own = {"apiVersion": "v1", "kind": "Node", "name": owner or node, "uid": "0"}
    meta = {"name": node, "labels": {"kubernetes.io/hostname": node}, "ownerReferences": [own]}
    return json.dumps({"apiVersion": "gkm.io/v1alpha1", "kind": kind, "metadata": meta})


STATUS = '{"status":{"nodeName":"forged"}}'
MARK = '{"metadata":{"labels":{"forged":"yes"}}}'


@pytest.mark.parametrize(
    ("method", "where", "body"),
    [
        ("PATCH", path(WIDE, "", "OTHER", "status"), STATUS),
        ("PATCH", path(WIDE, "", "OTHER"), MARK),
        ("PATCH", path(WIDE, "", "OWN"), MARK),
        ("PUT", path(WIDE, "", "OTHER", "status"), report(WIDE, "OTHER")),
        ("DELETE", path(WIDE, "", "OTHER"), ""),
        ("DELETE", path(WIDE), ""),
        ("DELETE", path(LOCAL, "default"), ""),
        ("POST", path(WIDE), report(WIDE, "OTHER")),
        ("POST", path(LOCAL, "default"), report(LOCAL, "OTHER")),
        ("POST", path(LOCAL, "default"), report(LOCAL, "OWN", owner="OTHER")),
        ("POST", path(LOCAL, "default"), report(LOCAL, "OWN")),
        ("POST", path(LOCAL, "default"), report(LOCAL, "no-such-node")),
    ],
)
def test_an_agent_is_refused_every_report_but_its_own_nodes(
    agent: Bearer, method: str, where: str, body: str
) -> None:
    """The last but one names its node, but not the node's uid."""
    named = [
        text.replace("OTHER", agent.other).replace("OWN", agent.node) for text in (where, body)
    ]
    status, said = agent.ask(method, *named)
    print(status, json.loads(said)["message"])
    assert status == 403


def test_an_agent_may_write_the_report_of_its_own_node(agent: Bearer) -> None:
    status, said = agent.ask("PATCH", path(WIDE, "", agent.node, "status"), STATUS)
    assert (status, json.loads(said)["status"]["nodeName"]) == (200, "forged")


def test_a_token_that_names_no_node_writes_nothing(stage: Stage, agent: Bearer) -> None:
    loose = bearer(stage, AGENT, bound=False)
    assert loose.ask("PATCH", path(WIDE, "", agent.node, "status"), STATUS)[0] == 403


OF_OTHERS = [
    ("GET", path("Secret")),
    ("GET", path("Secret", NAMESPACE, "gkm-webhook-certificate")),
    ("POST", path("Secret", NAMESPACE)),
    ("POST", path("Pod", NAMESPACE)),
    ("DELETE", path("Pod", NAMESPACE, "any")),
    ("PATCH", path("Node", "", "any")),
    ("PATCH", path("PersistentVolumeClaim", "default", "any")),
    ("DELETE", path("PersistentVolume", "", "any")),
    ("POST", path("Job", "default")),
    ("PATCH", path("GKMCache", "default", "any")),
    ("PATCH", path("GKMCache", "default", "any", "status")),
    ("PATCH", path("ClusterGKMCache", "", "any", "status")),
    ("DELETE", path("ClusterGKMCache", "", "any")),
    ("PATCH", path("MutatingWebhookConfiguration", "", "gkm-pods")),
    ("PATCH", path("Lease", NAMESPACE, "gkm-operator")),
    ("POST", f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts/gkm-operator/token"),
    ("POST", "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings"),
]


@pytest.mark.parametrize(("method", "where"), OF_OTHERS)
@pytest.mark.parametrize("account", [AGENT, WEBHOOK])
def test_agent_and_webhook_are_refused_what_is_not_theirs(
    stage: Stage, account: str, method: str, where: str
) -> None:
    assert bearer(stage, account).ask(method, where, "" if method == "GET" else "{}")[0] == 403


def test_the_webhook_is_refused_every_report(stage: Stage) -> None:
    webhook = bearer(stage, WEBHOOK)
    where = path(WIDE, "", webhook.node, "status")
    assert webhook.ask("PATCH", where, STATUS)[0] == 403
    assert webhook.ask("GET", where)[0] == 403


def test_the_account_that_extractions_run_under_may_nothing_of_ours(stage: Stage) -> None:
    """Their pods get no token at all; here is what another pod of the namespace could ask for."""
    account = ["--as", "system:serviceaccount:default:default", "-n", "default"]
    can = stage.kubectl("auth", "can-i", "--list", *account)
    assert "gkm" not in can
    assert "persistentvolumeclaims" not in can
