"""A space of small convolutional networks: cells, their sizes, and what a search needs of them.

A network is a stem, `depth` copies of one cell, and a linear read-out. A cell is a directed acyclic
graph whose edges carry operations (NAS-Bench-201, Dong & Yang 2020; at most so many edges, as in
NAS-Bench-101, Ying et al. 2019). Architectures that differ only in the names of inner nodes, or in
edges on no path from the cell's input to its output, are one.

One module: what a space is, what belongs to it and what it costs rest on one canonical form of a cell.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.study import BadInput

OPERATIONS = ("none", "skip", "pool", "conv1", "conv3")
CONVOLUTIONS = {"conv1": 1, "conv3": 9}  # what has weights, and how many a pair of channels
MAP = 4  # rows and columns of the maps that cells work on, whatever the images' size
QUADRANTS = 4  # of the last cell's maps, whose means the read-out sees
CLASSES = 10

Edges = tuple[str, ...]


@functools.cache
def pairs(nodes: int) -> tuple[tuple[int, int], ...]:
    """The edges of a cell, in the order in which their operations are listed: by end, then start
    ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3) for four nodes)."""
    return tuple((start, end) for end in range(1, nodes) for start in range(end))


@functools.cache
def _nodes(edges: int) -> int:
    nodes = next(n for n in range(2, edges + 3) if n * (n - 1) // 2 >= edges)
    if nodes * (nodes - 1) // 2 != edges:
        raise BadInput(
            f"Architecture has {edges} edges; allowed: 1, 3, 6, 10, … (every pair of its nodes)"
        )
    return nodes


@functools.cache
def _forms(present: tuple[bool, ...]) -> tuple[tuple[int | None, ...], ...]:
    """The same graph in every order of its inner nodes in which edges point forward.

    Args:
        present: Which of the edges there are.

    Returns:
        For each order, where each edge's operation comes from; None where there is no edge. Edges
        on no path from input to output are left out. Empty where there is no such path.
    """
    nodes = _nodes(len(present))
    listed = pairs(nodes)
    there = [pair for pair, is_there in zip(listed, present, strict=True) if is_there]
    reached, useful = {0}, {nodes - 1}
    for start, end in sorted(there):
        reached |= {end} if start in reached else set()
    for start, end in sorted(there, reverse=True):
        useful |= {start} if end in useful else set()
    live = [(start, end) for start, end in there if start in reached and end in useful]
    forms = []
    for order in itertools.permutations(range(1, nodes - 1)):
        place = dict(zip((0, *order, nodes - 1), range(nodes), strict=True))
        moved = {(place[start], place[end]): listed.index((start, end)) for start, end in live}
        if all(start < end for start, end in moved):
            forms.append(tuple(moved.get(pair) for pair in listed))
    return tuple(forms) if live else ()


@functools.lru_cache(maxsize=100_000)
def _canonical(edges: Edges) -> Edges:
    """The one that stands for all cells which compute the same; empty where nothing passes."""
    forms = _forms(tuple(operation != "none" for operation in edges))
    return max(
        (tuple("none" if i is None else edges[i] for i in form) for form in forms),
        key=lambda form: [OPERATIONS.index(operation) for operation in form],
        default=(),
    )


class Hashed:
    """A frozen dataclass that is hashed once: a search asks for hashes dozens of times a step. What
    it keeps does not go to another process, where words have other hashes."""

    @functools.cached_property
    def hashed(self) -> int:
        """The hash of its fields."""
        return hash(self._fields())

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), self._fields()

    def _fields(self) -> tuple[Any, ...]:
        return tuple(getattr(self, one.name) for one in dataclasses.fields(self))  # type: ignore[arg-type]


@dataclass(frozen=True, order=True)
class Architecture(Hashed):
    """One network of the space.

    Args:
        edges: The operations on the cell's edges, in the order of `pairs`.
        depth: Cells in a row.
        width: Channels.

    Raises:
        BadInput: no such operation, a number of edges that no cell has, or no depth or width.
    """

    edges: Edges
    depth: int
    width: int

    def __post_init__(self) -> None:
        _nodes(len(self.edges))
        wrong = [operation for operation in self.edges if operation not in OPERATIONS]
        if wrong:
            raise BadInput(f"operation is {wrong[0]!r}; allowed: {', '.join(OPERATIONS)}")
        if self.depth < 1 or self.width < 1:
            raise BadInput(f"depth {self.depth}, width {self.width}; allowed: at least 1")

    def __hash__(self) -> int:
        return self.hashed

    @property
    def nodes(self) -> int:
        """Nodes of the cell, its input and output among them."""
        return _nodes(len(self.edges))

    @functools.cached_property
    def name(self) -> str:
        """Depth, width, and a digit an edge, its operation's place in `OPERATIONS`."""
        return f"d{self.depth}w{self.width}-" + "".join(
            str(OPERATIONS.index(operation)) for operation in self.edges
        )

    @classmethod
    def parse(cls, name: str) -> Architecture:
        """The architecture of a `name`.

        Raises:
            BadInput: not a name of one.
        """
        found = re.fullmatch(r"d(\d+)w(\d+)-([0-4]+)", name)
        if not found:
            raise BadInput(
                f"architecture {name!r}; allowed: d<depth>w<width>-<a digit 0 to 4 an edge>"
            )
        depth, width, digits = found.groups()
        return cls(tuple(OPERATIONS[int(digit)] for digit in digits), int(depth), int(width))

    def canonical(self) -> Architecture:
        """The one that stands for all which compute the same: inner nodes renamed, edges on no path
        from input to output dropped.

        Raises:
            BadInput: nothing passes from the cell's input to its output.
        """
        edges = _canonical(self.edges)
        if not edges:
            raise BadInput(f"architecture {self.name}: its cell's output does not see its input")
        return Architecture(edges, self.depth, self.width)

    def paths(self) -> list[Edges]:
        """The operations along each path from the cell's input to its output."""
        last = self.nodes - 1
        reached: list[list[Edges]] = [[] for _ in range(last + 1)]
        reached[0].append(())
        for (start, end), operation in zip(pairs(last + 1), self.edges, strict=True):
            if operation != "none":
                reached[end] += [(*path, operation) for path in reached[start]]
        return reached[last]


@dataclass(frozen=True)
class Space(Hashed):
    """All distinct architectures of some operations, cells, depths and widths.

    Args:
        operations: Among `OPERATIONS`, "none" first.
        nodes: Of a cell, its input and output among them.
        most_edges: That a cell may have.
        depths, widths: To choose from.
        side: Rows and columns of the images, a multiple of `MAP`.

    Raises:
        BadInput: an operation that does not exist, or nothing to choose from.
    """

    operations: tuple[str, ...]
    nodes: int
    most_edges: int
    depths: tuple[int, ...]
    widths: tuple[int, ...]
    side: int = 8

    def __post_init__(self) -> None:
        if self.operations[:1] != ("none",) or not set(self.operations) <= set(OPERATIONS):
            raise BadInput(
                f"Space.operations is {self.operations!r}; allowed: 'none' first, then any of "
                f"{', '.join(OPERATIONS[1:])}"
            )
        if len(self.operations) < 2 or not self.depths or not self.widths or self.most_edges < 1:
            raise BadInput(
                f"Space has {len(self.operations)} operations, {len(self.depths)} depths, "
                f"{len(self.widths)} widths, {self.most_edges} edges; allowed: two operations or "
                "more, and one or more of the others"
            )
        if not 2 <= self.nodes <= 5:
            raise BadInput(f"Space.nodes is {self.nodes!r}; allowed: 2 to 5")
        if self.side < MAP or self.side % MAP:
            raise BadInput(f"Space.side is {self.side!r}; allowed: a multiple of {MAP}")

    def __hash__(self) -> int:
        return self.hashed

    @functools.cached_property
    def architectures(self) -> tuple[Architecture, ...]:
        """Every distinct architecture in which something passes from input to output, sorted."""
        return _architectures(self)

    @functools.cached_property
    def _size(self) -> int:
        return len(_cells(self)) * len(self.depths) * len(self.widths)

    def __len__(self) -> int:
        return self._size

    def __contains__(self, architecture: object) -> bool:
        return architecture in _places(self)

    def index(self, architecture: Architecture) -> int:
        """Its place among `architectures`.

        Raises:
            BadInput: it is not one of them.
        """
        self._check(architecture)
        return _places(self)[architecture]

    def sample(self, rng: np.random.Generator) -> Architecture:
        """One of the architectures, each as likely as the others."""
        return self.architectures[rng.integers(len(self))]

    def neighbours(self, a: Architecture) -> tuple[Architecture, ...]:
        """Every other architecture of the space that is one change away: an edge's operation
        ("none" among them, so an edge or a node may come or go), an edge's place where there are as
        many as there may be, the depth or the width. Sorted; b is a neighbour of a where a is one of
        b.

        Raises:
            BadInput: it is not in the space.
        """
        self._check(a)
        return _neighbours(self, a)

    def mutate(self, a: Architecture, rng: np.random.Generator) -> Architecture:
        """One of the neighbours, each as likely as the others."""
        near = self.neighbours(a)
        return near[rng.integers(len(near))]

    def encode(self, a: Architecture) -> np.ndarray:
        """Features for a regression, (F,) float32: which sequences of operations lead from the
        cell's input to its output (the path encoding of White et al. 2021, BANANAS), how often each
        operation occurs, and which depth and width it is.

        Raises:
            BadInput: it is not in the space.
        """
        self._check(a)
        there = set(a.paths())
        parts = [int(path in there) for path in _all_paths(self)]
        parts += [a.edges.count(operation) for operation in self.operations[1:]]
        return np.array(parts + self._chosen(a), np.float32)

    def graph(self, a: Architecture) -> tuple[np.ndarray, np.ndarray]:
        """The cell as a graph whose nodes are operations, for a graph network.

        Nodes: the cell's input, each edge's operation in the order of `pairs`, its output, and one
        for depth and width that is beside all others (AutoCTS+, Wu et al. 2023, does so with its
        hyperparameters). Where there is no edge there is a node of zeros, beside none.

        Returns:
            Adjacency (V, V) along the direction of data, without loops, and features (V, F), each
            float32: one-hot operations, input and output, depths, widths.

        Raises:
            BadInput: it is not in the space.
        """
        self._check(a)
        listed = [(-1, 0), *pairs(self.nodes), (self.nodes - 1, self.nodes)]  # start and end
        labels = ["input", *a.edges, "output"]
        kinds = ["input", *self.operations[1:], "output"]
        count = len(listed) + 1
        adjacency = np.zeros((count, count), np.float32)
        features = np.zeros((count, len(kinds) + len(self.depths) + len(self.widths)), np.float32)
        live = [place for place, label in enumerate(labels) if label != "none"]
        for i, j in itertools.product(live, live):
            adjacency[i, j] = listed[i][1] == listed[j][0]
        for place in live:
            features[place, kinds.index(labels[place])] = 1
            adjacency[-1, place] = adjacency[place, -1] = 1
        features[-1, len(kinds) :] = self._chosen(a)
        return adjacency, features

    def distributions(self) -> dict[str, list[Any]]:
        """What a sampler over categories chooses: the wiring, an operation for each edge that it may
        have, the depth and the width. Every choice is an architecture (see `decode`)."""
        operations = list(self.operations[1:])
        return {
            "wiring": list(_wirings(self)),
            **{f"operation_{number}": operations for number in range(1, self._most + 1)},
            "depth": list(self.depths),
            "width": list(self.widths),
        }

    def decode(self, chosen: Mapping[str, Any]) -> Architecture:
        """The architecture of one choice among `distributions`; operations of edges that its wiring
        does not have are of no effect."""
        there = _wirings(self)[chosen["wiring"]]
        drawn = (chosen[f"operation_{number}"] for number in range(1, self._most + 1))
        edges = tuple(next(drawn) if is_there else "none" for is_there in there)
        return Architecture(edges, chosen["depth"], chosen["width"]).canonical()

    def params(self, a: Architecture) -> int:
        """Trained numbers of its network: stem, the convolutions that it has, read-out."""
        patch = (self.side // MAP) ** 2
        return (patch + 1) * a.width + self._weights(a) + (QUADRANTS * a.width + 1) * CLASSES

    def madds(self, a: Architecture) -> int:
        """Multiply-adds for one image, of convolutions and read-out, padding counted as usual."""
        stem = self.side**2 * a.width  # MAP^2 patches of (side / MAP)^2 numbers
        return stem + MAP**2 * self._weights(a) + QUADRANTS * a.width * CLASSES

    def _weights(self, a: Architecture) -> int:
        return a.depth * a.width**2 * _kernels(a.edges)

    @property
    def _most(self) -> int:
        return min(self.most_edges, len(pairs(self.nodes)))

    def _chosen(self, a: Architecture) -> list[int]:
        chosen = [a.depth == depth for depth in self.depths]
        return [int(is_it) for is_it in chosen + [a.width == width for width in self.widths]]

    def _check(self, a: Architecture) -> None:
        if a not in self:
            raise BadInput(
                f"architecture {a.name}; allowed: a canonical one of {len(self)} in this space"
            )


@functools.lru_cache(maxsize=100_000)
def _kernels(edges: Edges) -> int:
    """Weights of a cell for each pair of channels."""
    return sum(CONVOLUTIONS.get(operation, 0) for operation in edges)


@functools.lru_cache(maxsize=100_000)
def _neighbours(space: Space, a: Architecture) -> tuple[Architecture, ...]:
    found = [Architecture(edges, a.depth, a.width) for edges in _beside(space)[a.edges]]
    found += [Architecture(a.edges, d, a.width) for d in space.depths if d != a.depth]
    found += [Architecture(a.edges, a.depth, w) for w in space.widths if w != a.width]
    return tuple(sorted(found))


@functools.lru_cache(maxsize=64)
def _wirings(space: Space) -> dict[str, tuple[bool, ...]]:
    """Which edges a cell may have, by words ("01 13"): one for all that differ in names only."""
    found = {}
    for there in itertools.product((False, True), repeat=len(pairs(space.nodes))):
        edges = _canonical(tuple("skip" if is_there else "none" for is_there in there))
        if edges and sum(edge == "skip" for edge in edges) <= space.most_edges:
            present = tuple(edge == "skip" for edge in edges)
            listed = itertools.compress(pairs(space.nodes), present)
            found[" ".join(f"{start}{end}" for start, end in listed)] = present
    return dict(sorted(found.items(), key=lambda item: (sum(item[1]), item[0])))


@functools.lru_cache(maxsize=64)
def _cells(space: Space) -> tuple[Edges, ...]:
    cells = set()
    for there in _wirings(space).values():
        for drawn in itertools.product(space.operations[1:], repeat=sum(there)):
            operations = iter(drawn)
            cells.add(
                _canonical(tuple(next(operations) if is_there else "none" for is_there in there))
            )
    return tuple(sorted(cells))


@functools.lru_cache(maxsize=64)
def _architectures(space: Space) -> tuple[Architecture, ...]:
    sizes = itertools.product(space.depths, space.widths)
    return tuple(sorted(Architecture(c, *size) for size in sizes for c in _cells(space)))


@functools.lru_cache(maxsize=64)
def _places(space: Space) -> dict[Architecture, int]:
    return {a: place for place, a in enumerate(space.architectures)}


@functools.lru_cache(maxsize=64)
def _beside(space: Space) -> dict[Edges, set[Edges]]:
    """The cells one change away from each: what may be added to one is removed from another."""
    beside: dict[Edges, set[Edges]] = {cell: set() for cell in _cells(space)}
    for cell in beside:
        edges = [place for place, operation in enumerate(cell) if operation != "none"]
        full = len(edges) == space.most_edges
        free = [place for place in range(len(cell)) if place not in edges] if full else []
        for edge in edges:
            changes = [{edge: operation} for operation in space.operations]
            changes += [{edge: "none", place: cell[edge]} for place in free]
            for change in changes:
                changed = _canonical(tuple(change.get(n, was) for n, was in enumerate(cell)))
                if changed in beside and changed != cell:
                    beside[cell].add(changed)
                    beside[changed].add(cell)
    return beside


@functools.lru_cache(maxsize=64)
def _all_paths(space: Space) -> tuple[Edges, ...]:
    """Every sequence of operations along which a cell's input may reach its output."""
    longest = min(space.nodes - 1, space.most_edges)
    return tuple(
        itertools.chain.from_iterable(
            itertools.product(space.operations[1:], repeat=length)
            for length in range(1, longest + 1)
        )
    )


SPACES: Mapping[str, Space] = {
    "smoke": Space(("none", "skip", "pool", "conv3"), 3, 3, depths=(1, 2), widths=(4,)),
    "default": Space(("none", "skip", "pool", "conv3"), 4, 3, depths=(1, 2), widths=(3, 6)),
    "paper": Space(OPERATIONS, 4, 4, depths=(1, 2), widths=(8, 12, 16, 24, 32), side=28),
}


@dataclass(frozen=True)
class Hyperparameters:
    """How a network is trained: the part of a joint search that is not architecture (AutoCTS+).

    Args:
        lr: Of Adam, constant, so that a long run at an earlier epoch is a short run.
        weight_decay: Decoupled.
        batch_size: Images an update.
    """

    lr: float
    weight_decay: float
    batch_size: int


HYPERPARAMETERS: Mapping[str, Hyperparameters] = {
    "reference": Hyperparameters(1e-2, 0.0, 32),
    **{
        f"lr{lr:g}-wd{decay:g}-b{batch}": Hyperparameters(lr, decay, batch)
        for lr in (3e-3, 1e-2, 3e-2)
        for decay in (0.0, 1e-2)
        for batch in (32, 128)
        if (lr, decay, batch) != (1e-2, 0.0, 32)
    },
}
