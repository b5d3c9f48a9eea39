"""Stories with children: a batch, or nodes that a node makes, beside and between others."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any, Final

from tests.simulation.story import FOREVER, Act, Story, Told, digest

from flowcraft.blueprint import Blueprint

SIZES: Final = [0, 1, 2, 3, 4, 6, 6, 20]


def draw_children(seed: int) -> Story:
    """The story of a seed."""
    return _Author(random.Random(f"children {seed}")).story()  # noqa: S311


class _Author:
    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.told: dict[str, Told] = {}
        self.families: dict[str, tuple[str, ...]] = {}
        self.decisions: dict[str, str | None] = {}
        self.nodes: list[dict[str, Any]] = []
        self.edges: list[dict[str, Any]] = []
        self.kills = False
        self.vague = False
        """What was gathered last is not always the same."""
        self.stuck = False
        """Nothing behind what was told so far is reached."""

    def story(self) -> Story:
        makers = (
            [self._batch, self._made]
            if self.rng.random() < 0.3
            else [self.rng.choice([self._batch, self._made])]
        )
        before = ""
        for number, maker in enumerate(makers):
            before = maker("abcdef"[number], before)
        if self.rng.random() < 0.6:
            self._plain("z", before, self.told[before].output)
        if self.rng.random() < 0.4:
            self._plain("side", "", {"amount": 42, "who": {"name": "ada"}})
        blueprint = Blueprint.from_dict(
            {"id": "story", "metadata": {"version": "1"}, "nodes": self.nodes, "edges": self.edges}
        )
        acts = self._acts()
        name = f"children of {', '.join(f'{key} ({len(keys)})' for key, keys in self.families.items())}"
        return Story(
            name, blueprint, self.told, self.decisions, acts, kills=self.kills, families=self.families
        )

    def _acts(self) -> tuple[Act, ...]:
        acts = []
        if self.rng.random() < 0.1:
            acts.append(Act("cancel", self.rng.uniform(0.0, 5.0)))
        if self.rng.random() < 0.2:
            acts.append(Act("suspend", self.rng.uniform(0.0, 4.0), self.rng.choice([0.02, 0.5, 5.0, 40.0])))
        if self.rng.random() < 0.2:
            acts.append(Act("stop a worker", self.rng.uniform(0.0, 5.0)))
        return tuple(acts)

    def _node(self, node_id: str, before: str, uses: str, **more: Any) -> None:
        self.nodes.append({"id": node_id, "uses": uses, **more})
        if before:
            self.edges.append({"source": before, "target": node_id})

    def _tell(self, key: str, output: Any, state: Any = "ran") -> None:
        self.told[key] = Told("unreached") if self.stuck else Told(state, output)

    def _takes_s(self) -> float:
        return self.rng.choices([0, 0.1, 1, 20], [6, 3, 3, 0.3])[0]  # as JSON has them again

    def _plain(self, node_id: str, before: str, value: Any) -> None:
        stuck, self.stuck = self.stuck, self.stuck and bool(before)
        opaque = bool(before) and self.vague
        self._node(node_id, before, "work", params={"takes_s": self._takes_s(), "opaque": opaque})
        self._tell(node_id, f"{node_id}!" if opaque else f"{node_id}-{digest(value)}")
        self.stuck = stuck or self.stuck

    # ---- a batch ----

    def _batch(self, name: str, before: str) -> str:
        """A list, its scatter and gather; gives the gather's id."""
        items = [self._item(place) for place in range(self.rng.choice(SIZES))]
        on_error = self.rng.choice(["fail", "skip", "collect"])
        self._node(f"{name}list", before, "work", params={"takes_s": 0.0, "gives": items})
        self._tell(f"{name}list", items)
        params: dict[str, Any] = {"workerUsesKey": "item", "gatherNodeId": f"{name}all", "onError": on_error}
        params["concurrency"] = self.rng.choice([1, 2, 3, 5, 1000])
        params["config"] = {"maxRetries": 2, "retryDelay": self.rng.choice([0, 100, 9000])}
        scatter, gather = f"{name}each", f"{name}all"
        self._node(scatter, f"{name}list", "batch-scatter", params=params)
        self._node(gather, scatter, "batch-gather", params={"outputKey": f"k_{gather}"})
        keys = self.families[scatter] = tuple(f"{scatter}[{place}]" for place in range(len(items)))
        results, broken = self._results(keys, items, on_error)
        if broken:
            self.stuck = True
        self._tell(scatter, {"gatherNodeId": gather, "hasMore": False})
        self._tell(gather, results)
        self.told[gather].certain = not self.vague
        return gather

    def _item(self, place: int) -> dict[str, Any]:
        fails = self.rng.choices([0, 1, FOREVER], [12, 3, 0.5])[0]
        item = {"n": place, "takes_s": self._takes_s(), "fails": fails}
        if self.rng.random() < 0.01:
            item["kills"] = self.kills = True
        return item

    def _results(
        self, keys: Sequence[str], items: Sequence[dict[str, Any]], on_error: str
    ) -> tuple[list[Any], bool]:
        results: list[Any] = []
        broken = False
        for key, item in zip(keys, items, strict=True):
            if item["fails"] < FOREVER and not item.get("kills"):
                results.append(f"{key}-{digest(item)}")
                self._tell(key, results[-1])
            elif on_error == "fail":
                broken = broken or not self.stuck
                self._tell(key, None, "failed")
            else:
                self._tell(key, None)
                self.vague = self.vague or on_error == "collect"  # where exactly it failed is not told
        return results, broken

    # ---- nodes that a node makes ----

    def _made(self, name: str, before: str) -> str:
        """A node that makes others, some of which sleep, wait, or make nodes themselves; gives its id."""
        nodes = [self._child(f"{name}make", f"{place}") for place in range(self.rng.choice([0, 1, 2, 3, 5]))]
        params = {"takes_s": self._takes_s(), "makes": nodes, "gives": f"{name}!"}
        self._node(f"{name}make", before, "work", params=params)
        owner = f"{name}make"
        self.families[owner] = tuple(f"{owner}[{node['id']}]" for node in nodes)
        self._tell(owner, f"{name}!")
        return owner

    def _child(self, owner: str, node_id: str) -> dict[str, Any]:
        key = f"{owner}[{node_id}]"
        kind = self.rng.choices(["work", "sleep", "wait", "make"], [6, 2, 1, 1])[0]
        if kind == "sleep":
            self._tell(key, None)
            return {"id": node_id, "uses": "sleep", "params": {"duration": self.rng.choice(["1s", "45s"])}}
        if kind == "wait":
            self.decisions[key] = None
            self._tell(key, {"by": "ada"})
            return {"id": node_id, "uses": "wait"}
        if kind == "make":
            inner = f"{owner}[{node_id}/in]"
            self._tell(inner, f"{inner}-{digest(None)}")
            self._tell(key, "outer")
            self.families[key] = (inner,)
            makes = [{"id": "in", "uses": "work", "params": {"takes_s": 0.1}}]
            return {
                "id": node_id,
                "uses": "work",
                "params": {"takes_s": 0.0, "gives": "outer", "makes": makes},
            }
        self._tell(key, f"{key}-{digest(None)}")
        return {"id": node_id, "uses": "work", "params": {"takes_s": self._takes_s()}}
