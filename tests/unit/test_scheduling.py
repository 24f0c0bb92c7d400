"""Whether a podTemplate admits a node: the scheduler's rules, one by one."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gkm.api.cache import PodSpec
from gkm.core.scheduling import pinned, refusal
from gkm.core.view import Node, Taint

LABELS = {"zone": "b", "gpus": "8", "kubernetes.io/hostname": "n1"}


def node(*taints: Taint, **labels: str) -> Node:
    return Node("n1", "uid", "1", {**LABELS, **labels}, taints)


def requiring(*terms: dict[str, Any]) -> PodSpec:
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [*terms]}}
    return PodSpec(affinity={"nodeAffinity": required})


def expression(key: str, operator: str, *values: str) -> dict[str, Any]:
    return {"matchExpressions": [{"key": key, "operator": operator, "values": list(values)}]}


@pytest.mark.parametrize(
    ("term", "meets"),
    [
        (expression("zone", "In", "a", "b"), True),
        (expression("zone", "In", "a"), False),
        (expression("missing", "In", "a"), False),
        (expression("zone", "NotIn", "a"), True),
        (expression("zone", "NotIn", "b"), False),
        (expression("missing", "NotIn", "a"), True),
        (expression("zone", "Exists"), True),
        (expression("missing", "Exists"), False),
        (expression("missing", "DoesNotExist"), True),
        (expression("zone", "DoesNotExist"), False),
        (expression("gpus", "Gt", "4"), True),
        (expression("gpus", "Gt", "8"), False),
        (expression("gpus", "Lt", "9"), True),
        (expression("zone", "Lt", "9"), False),
        (expression("missing", "Gt", "1"), False),
        (expression("gpus", "Gt", "many"), False),
        (expression("zone", "Like", "b"), False),
        ({"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n1"]}]}, True),
        ({"matchFields": [{"key": "metadata.name", "operator": "NotIn", "values": ["n1"]}]}, False),
        ({}, False),
    ],
)
def test_required_affinity(term: dict[str, Any], meets: bool) -> None:
    assert (refusal(requiring(term), node()) == "") is meets


def test_one_term_that_holds_is_enough_and_none_admits_no_node() -> None:
    no, yes = expression("zone", "In", "x"), expression("zone", "In", "b")
    assert refusal(requiring(no, yes), node()) == ""
    assert "affinity" in refusal(requiring(), node())
    both = {"matchExpressions": no["matchExpressions"] + yes["matchExpressions"]}
    assert "affinity" in refusal(requiring(both), node())


def test_a_selector_names_what_is_missing() -> None:
    assert refusal(PodSpec(node_selector={"zone": "b"}), node()) == ""
    assert "pool=gpu" in refusal(PodSpec(node_selector={"pool": "gpu"}), node())


@pytest.mark.parametrize(
    ("toleration", "tolerates"),
    [
        ({"key": "gpu", "operator": "Exists"}, True),
        ({"operator": "Exists"}, True),
        ({"key": "gpu", "value": "yes"}, True),
        ({"key": "gpu", "operator": "Equal", "value": "yes", "effect": "NoSchedule"}, True),
        ({"key": "gpu", "value": "no"}, False),
        ({"key": "gpu", "operator": "Exists", "effect": "NoExecute"}, False),
        ({"key": "other", "operator": "Exists"}, False),
        ({"value": "yes"}, False),
    ],
)
def test_tolerations(toleration: dict[str, Any], tolerates: bool) -> None:
    spec = PodSpec(tolerations=(toleration,))
    tainted = node(Taint("gpu", "yes", "NoSchedule"))
    assert (refusal(spec, tainted) == "") is tolerates


@pytest.mark.parametrize(
    "taint",
    [Taint("gpu", "", "PreferNoSchedule"), Taint("node.kubernetes.io/not-ready", "", "NoExecute")],
)
def test_taints_that_keep_no_copy_away(taint: Taint) -> None:
    assert refusal(PodSpec(), node(taint)) == ""


terms = st.lists(
    st.sampled_from([expression("zone", "In", "b"), expression("zone", "Exists"), {}]), max_size=3
)


@given(st.one_of(st.none(), terms))
def test_a_pinned_pod_runs_on_its_node_only_and_only_if_it_might_before(found: Any) -> None:
    spec = PodSpec() if found is None else requiring(*found)
    held = PodSpec(affinity=pinned(spec.affinity, "n1"))
    other = Node("n2", "uid-2", "1", LABELS)
    assert refusal(held, other) != ""
    empty_term = found is not None and {} in found
    if not empty_term:  # the pin makes a term of one that no node met
        assert (refusal(held, node()) == "") == (refusal(spec, node()) == "")
