"""What the tokens of agent, webhook and extraction may do: nothing to what is not their own."""

import json
from typing import Any

import pytest

from tests.cluster.report import ClusterError
from tests.stage import NAMESPACE, Stage

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("stage")]
Json = dict[str, Any]
AGENT, WEBHOOK = "gkm-agent", "gkm-webhook"


def pods_of(stage: Stage, component: str) -> list[Json]:
    where = ["-n", NAMESPACE, "-l", f"app.kubernetes.io/component={component}"]
    found: list[Json] = json.loads(stage.kubectl("get", "pods", *where, "-o", "json"))["items"]
    return sorted(found, key=lambda pod: str(pod["spec"]["nodeName"]))


def token(stage: Stage, account: str, pod: Json | None = None) -> str:
    """A token as the kubelet gives it to a pod: it says on which node the pod runs."""
    bound = []
    if pod is not None:
        meta = pod["metadata"]
        bound = ["--bound-object-kind=Pod", f"--bound-object-name={meta['name']}"]
        bound.append(f"--bound-object-uid={meta['uid']}")
    return stage.kubectl("create", "token", account, "-n", NAMESPACE, *bound).strip()


@pytest.fixture(scope="module")
def agents(stage: Stage) -> tuple[str, str, str]:
    """The token of one agent, its node, and another node that has an agent."""
    first, second, *_ = pods_of(stage, "agent")
    return (
        token(stage, AGENT, first),
        str(first["spec"]["nodeName"]),
        str(second["spec"]["nodeName"]),
    )


def report(kind: str, node: str, namespace: str = "", owner: str = "") -> str:
    meta: Json = {"name": node, "labels": {"kubernetes.io/hostname": node}}
    meta |= {"namespace": namespace} if namespace else {}
    own = {"apiVersion": "v1", "kind": "Node", "name": owner or node, "uid": "0"}
    meta["ownerReferences"] = [own]
    return json.dumps({"apiVersion": "gkm.io/v1alpha1", "kind": kind, "metadata": meta})


STATUS = '{"status":{"nodeName":"forged"}}'
MARK = '{"metadata":{"labels":{"forged":"yes"}}}'
OF_OTHERS = [
    pytest.param(("patch", "clustergkmcachenode", "{other}", "--type=merge", "-p", MARK), ""),
    pytest.param(
        ("patch", "clustergkmcachenode", "{other}", "--subresource=status", "--type=merge", "-p",
         STATUS),
        "",
    ),
    pytest.param(("delete", "clustergkmcachenode", "{other}", "--wait=false"), ""),
    pytest.param(("delete", "clustergkmcachenode", "--all", "--wait=false"), ""),
    pytest.param(("create", "-f", "-"), report("GKMCacheNode", "{other}", "default")),
    pytest.param(("create", "-f", "-"), report("ClusterGKMCacheNode", "{other}")),
    pytest.param(("create", "-f", "-"), report("GKMCacheNode", "{own}", "default", "{other}")),
    pytest.param(("create", "-f", "-"), report("GKMCacheNode", "no-node", "default")),
]  # fmt: skip
OF_NOBODY = [
    ("get", "secrets", "-A"),
    ("get", "secret", "gkm-webhook-certificate", "-n", NAMESPACE),
    ("create", "configmap", "forged", "-n", NAMESPACE),
    ("run", "forged", "--image=forged", "-n", NAMESPACE),
    ("delete", "pods", "--all", "-n", NAMESPACE, "--wait=false"),
    ("label", "nodes", "--all", "forged=yes"),
    ("create", "token", "gkm-operator", "-n", NAMESPACE),
    ("delete", "pvc", "--all", "-A", "--wait=false"),
    ("delete", "gkmcaches", "--all", "-A", "--wait=false"),
    ("delete", "mutatingwebhookconfigurations", "gkm-pods"),
    ("create", "clusterrolebinding", "forged", "--clusterrole=cluster-admin", "--user=x"),
]


def refused(stage: Stage, bearer: str, *command: str, stdin: str = "") -> str:
    """Try with a token what must not work, in vain; it must be the API server that says no."""
    dry = [] if command[0] == "get" or "token" in command else ["--dry-run=server"]
    with pytest.raises(ClusterError, match=r"(?i)forbidden|denied|not allowed") as error:
        print(stage.kubectl("--token", bearer, *command, *dry, stdin=stdin))
    return str(error.value)


@pytest.mark.parametrize(("command", "stdin"), OF_OTHERS)
def test_an_agent_is_refused_every_write_about_another_node(
    stage: Stage, agents: tuple[str, str, str], command: tuple[str, ...], stdin: str
) -> None:
    bearer, own, other = agents
    named = [part.replace("{other}", other) for part in command]
    body = stdin.replace("{other}", other).replace("{own}", own)
    print(refused(stage, bearer, *named, stdin=body))


def test_an_agent_may_write_about_its_own_node(stage: Stage, agents: tuple[str, str, str]) -> None:
    bearer, own, _ = agents
    where = ["clustergkmcachenode", own, "--subresource=status", "--type=merge", "-p", "{}"]
    assert "patched" in stage.kubectl("--token", bearer, "patch", *where, "--dry-run=server")


def test_a_token_that_names_no_node_writes_nothing(
    stage: Stage, agents: tuple[str, str, str]
) -> None:
    loose, (_, own, _) = token(stage, AGENT), agents
    where = ["clustergkmcachenode", own, "--subresource=status", "--type=merge", "-p", STATUS]
    refused(stage, loose, "patch", *where)


@pytest.mark.parametrize("command", OF_NOBODY)
@pytest.mark.parametrize("account", [AGENT, WEBHOOK])
def test_agent_and_webhook_are_refused_what_is_not_theirs(
    stage: Stage, account: str, command: tuple[str, ...]
) -> None:
    if account == WEBHOOK and "gkm-webhook-certificate" in command:
        pytest.skip("the webhook's own")
    pod = pods_of(stage, account.removeprefix("gkm-"))[0]
    refused(stage, token(stage, account, pod), *command)


def test_the_pods_of_extractions_have_no_token(stage: Stage) -> None:
    """So there is nothing to refuse: tests/unit checks the manifest, here is the account."""
    can = stage.kubectl(
        "auth", "can-i", "--list", "--as", "system:serviceaccount:default:default", "-n", "default"
    )
    assert "gkm" not in can
    assert "persistentvolumeclaims" not in can
