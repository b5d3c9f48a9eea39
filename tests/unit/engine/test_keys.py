"""Node keys: one text for each place in a run, and back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowcraft.engine.keys import NodeKey, ambiguous_id


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("charge", NodeKey("charge")),
        ("charge#2.1", NodeKey("charge", (2, 1))),
        ("resize[17]", NodeKey("resize", (), "17")),
        ("resize#2[17]", NodeKey("resize", (2,), "17")),
        ("a#b#3", NodeKey("a#b", (3,))),
        ("step [1] of 2[x y]", NodeKey("step [1] of 2", (), "x y")),
    ],
)
def test_a_key_is_read_and_written_as_the_same_text(text: str, key: NodeKey) -> None:
    assert NodeKey.parse(text) == key
    assert str(key) == text


@pytest.mark.parametrize(
    "text", ["a#", "a#0", "a#01", "a#1.", "a#1..2", "a#x", "#1", "a#²", "[1]", "a[]", "a]"]
)
def test_what_only_looks_like_a_key_is_a_node_id(text: str) -> None:
    assert NodeKey.parse(text) == NodeKey(text)


@pytest.mark.parametrize("node_id", ["", "a#1", "a#1.2", "a]", "a[1]", "a#2[x]"])
def test_ids_that_read_like_keys_are_ambiguous(node_id: str) -> None:
    assert ambiguous_id(node_id)


@pytest.mark.parametrize("node_id", ["a", "a#", "a#b", "[1] a", "a#0", "a.b", "a/b", "ä"])
def test_other_ids_are_not_ambiguous(node_id: str) -> None:
    assert not ambiguous_id(node_id)


NODE_IDS = st.text(st.characters(codec="utf-8"), min_size=1).filter(lambda text: not ambiguous_id(text))
ROUNDS = st.lists(st.integers(1, 10**6), max_size=4).map(tuple)
CHILDREN = st.none() | st.text(st.characters(codec="utf-8", exclude_characters="[]"), min_size=1)


@given(NODE_IDS, ROUNDS, CHILDREN)
def test_every_key_survives_its_text(node: str, rounds: tuple[int, ...], child: str | None) -> None:
    key = NodeKey(node, rounds, child)
    assert NodeKey.parse(str(key)) == key


def test_a_child_keeps_the_rounds_of_its_owner_and_knows_it() -> None:
    owner = NodeKey("resize", (2, 1))
    child = owner.of_child(17)
    assert str(child) == "resize#2.1[17]"
    assert child.owner == owner
    assert owner.owner is owner


@pytest.mark.parametrize("child", ["", "a[", "b]"])
def test_a_child_that_no_text_could_name_is_refused(child: str) -> None:
    with pytest.raises(ValueError, match="cannot name a child"):
        NodeKey("resize").of_child(child)
