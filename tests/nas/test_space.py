"""The space of architectures: what is one network, what is a neighbour, what a search reads."""

from __future__ import annotations

import base64
import itertools
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.nas.space import HYPERPARAMETERS, OPERATIONS, SPACES, Architecture, Space, pairs
from harness.study import BadInput

DEFAULT, PAPER = SPACES["default"], SPACES["paper"]
SMALL = Space(("none", "skip", "conv3"), 4, 6, (1,), (4,))

raw_edges = st.tuples(*[st.sampled_from(OPERATIONS)] * 6)
of_default = st.integers(0, len(DEFAULT) - 1).map(lambda place: DEFAULT.architectures[place])


def matrix(edges: tuple[str, ...]) -> np.ndarray:
    """The cell as a matrix of operation numbers."""
    found = np.zeros((4, 4), int)
    for (start, end), operation in zip(pairs(4), edges, strict=True):
        found[start, end] = OPERATIONS.index(operation)
    return found


def connected(edges: tuple[str, ...]) -> bool:
    there = (matrix(edges) > 0).astype(int)
    return bool(sum(np.linalg.matrix_power(there, n)[0, 3] for n in (1, 2, 3)))


@given(raw_edges)
def test_renaming_inner_nodes_changes_nothing(edges: tuple[str, ...]) -> None:
    swapped = matrix(edges)[np.ix_([0, 2, 1, 3], [0, 2, 1, 3])]
    if edges[2] != "none" or not connected(edges):  # 1 and 2 are joined: no other order
        return
    renamed = tuple(OPERATIONS[swapped[pair]] for pair in pairs(4))
    one, other = Architecture(edges, 1, 4), Architecture(renamed, 1, 4)
    assert one.canonical() == other.canonical()


@given(raw_edges)
def test_the_canonical_form_is_kept_and_has_the_same_paths(edges: tuple[str, ...]) -> None:
    raw = Architecture(edges, 2, 4)
    if not connected(edges):
        with pytest.raises(BadInput, match="does not see its input"):
            raw.canonical()
        return
    canonical = raw.canonical()
    assert canonical.canonical() == canonical
    assert sorted(canonical.paths()) == sorted(raw.paths())
    assert Architecture.parse(canonical.name) == canonical


def test_what_is_on_no_path_is_dropped() -> None:
    dangling = Architecture(("conv3", "pool", "none", "skip", "none", "none"), 1, 4)
    assert dangling.canonical().edges == ("none", "none", "none", "skip", "none", "none")


def brute_force(operations: tuple[str, ...], most: int) -> int:
    """How many classes there are, by comparing matrices of all raw cells under both orders."""
    classes = set()
    for edges in itertools.product(operations, repeat=6):
        there = matrix(edges)
        reach = np.linalg.matrix_power((there > 0) + np.eye(4, dtype=int), 3) > 0
        live = there * np.outer(reach[0], reach[:, 3])
        if not live.any() or (live > 0).sum() > most:
            continue
        orders = [live, live[np.ix_([0, 2, 1, 3], [0, 2, 1, 3])]]
        classes.add(min(o.tobytes() for o in orders if not np.tril(o).any()))
    return len(classes)


@pytest.mark.parametrize("most", [3, 4, 6])
def test_counts_agree_with_brute_force(most: int) -> None:
    operations = ("none", "skip", "conv3")
    assert len(Space(operations, 4, most, (1,), (4,))) == brute_force(operations, most)


def test_the_spaces_are_as_large_as_they_say() -> None:
    assert [len(SPACES[scale]) for scale in ("smoke", "default", "paper")] == [78, 264, 10520]
    for space in SPACES.values():
        found = space.architectures
        assert len(set(found)) == len(found) == len(space)
        assert list(found) == sorted(found)
        assert all(a == a.canonical() for a in found)


@given(of_default, st.randoms())
def test_neighbours_are_mutual(a: Architecture, chance) -> None:
    near = DEFAULT.neighbours(a)
    assert len(set(near)) == len(near) and a not in near
    b = chance.choice(near)
    assert b in DEFAULT and a in DEFAULT.neighbours(b)


def test_neighbours_are_one_change_away_in_some_encoding() -> None:
    beside: dict[str, set[str]] = {a.name: set() for a in SMALL.architectures}
    names = {}
    for edges in itertools.product(SMALL.operations, repeat=6):
        if connected(edges):
            names[edges] = Architecture(edges, 1, 4).canonical().name
    for edges, place, operation in itertools.product(names, range(6), SMALL.operations):
        changed = (*edges[:place], operation, *edges[place + 1 :])
        if names.get(changed, names[edges]) != names[edges]:
            beside[names[edges]].add(names[changed])
    for a in SMALL.architectures:
        assert {b.name for b in SMALL.neighbours(a)} == beside[a.name]


def test_every_architecture_can_be_reached_from_any_other() -> None:
    for space in SPACES.values():
        seen = {space.architectures[0]}
        rim = seen
        while rim:
            rim = {b for a in rim for b in space.neighbours(a)} - seen
            seen = seen | rim
        assert len(seen) == len(space)


def test_samples_and_mutations_are_of_the_space_and_follow_the_seed() -> None:
    rng, again = np.random.default_rng(3), np.random.default_rng(3)
    drawn = [DEFAULT.sample(rng) for _ in range(50)]
    assert drawn == [DEFAULT.sample(again) for _ in range(50)]
    assert len(set(drawn)) > 40
    assert all(DEFAULT.mutate(a, rng) in DEFAULT.neighbours(a) for a in drawn)


def test_every_choice_of_a_sampler_decodes_and_every_architecture_can_be_chosen() -> None:
    space = SPACES["smoke"]
    choices = space.distributions()
    found = {
        space.decode(dict(zip(choices, chosen, strict=True)))
        for chosen in itertools.product(*choices.values())
    }
    assert found == set(space.architectures)


@pytest.mark.parametrize("space", SPACES.values(), ids=list(SPACES))
def test_features_tell_architectures_apart(space: Space) -> None:
    some = space.architectures[:: max(1, len(space) // 500)]
    shapes = {space.encode(a).shape for a in some} | {space.graph(a)[0].shape for a in some}
    assert len(shapes) == 2
    pictures = {a.name: b"".join(part.tobytes() for part in space.graph(a)) for a in some}
    assert len(set(pictures.values())) == len(some)


def test_the_graph_of_a_known_cell() -> None:
    space = Space(OPERATIONS, 3, 3, (1, 2), (4,))
    adjacency, features = space.graph(Architecture(("conv3", "none", "skip"), 2, 4))
    # input, three edges (01, 02, 12), output, sizes; 02 is not there
    expected = np.zeros((6, 6))
    for start, end in ((0, 1), (1, 3), (3, 4)):
        expected[start, end] = 1
    for live in (0, 1, 3, 4):
        expected[5, live] = expected[live, 5] = 1
    assert (adjacency == expected).all()
    # input, skip, pool, conv1, conv3, output | depths | width
    assert features.argmax(1)[[0, 1, 3, 4]].tolist() == [0, 4, 1, 5]
    assert features[5].tolist() == [0, 0, 0, 0, 0, 0, 0, 1, 1]
    assert not features[2].any()


def test_parameters_and_multiply_adds_of_a_known_network() -> None:
    space = Space(OPERATIONS, 3, 3, (1, 2), (4,))
    a = Architecture(("conv3", "pool", "conv1"), 2, 4)
    assert space.params(a) == (4 + 1) * 4 + 2 * (9 + 1) * 16 + (4 * 4 + 1) * 10
    assert space.madds(a) == 64 * 4 + 2 * 16 * (9 + 1) * 16 + 4 * 4 * 10


def test_the_reference_setting_comes_first_and_none_twice() -> None:
    assert next(iter(HYPERPARAMETERS)) == "reference"
    assert len(set(HYPERPARAMETERS.values())) == len(HYPERPARAMETERS) == 12


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Architecture(("skip",) * 4, 1, 4), "4 edges"),
        (lambda: Architecture(("conv5",), 1, 4), "conv5"),
        (lambda: Architecture(("skip",), 0, 4), "depth 0"),
        (lambda: Architecture.parse("d1w4-9"), "d1w4-9"),
        (lambda: Space(("skip", "conv3"), 4, 4, (1,), (4,)), "'none' first"),
        (lambda: Space(OPERATIONS, 4, 4, (), (4,)), "0 depths"),
        (lambda: Space(OPERATIONS, 9, 4, (1,), (4,)), "9"),
        (lambda: Space(OPERATIONS, 4, 4, (1,), (4,), side=7), "7"),
        (lambda: DEFAULT.neighbours(PAPER.architectures[0]), "264"),
    ],
)
def test_mistakes_are_one_line(make, words: str) -> None:
    with pytest.raises(BadInput, match=words) as caught:
        make()
    assert "\n" not in str(caught.value)


def test_what_another_process_gets_is_found_there() -> None:
    """A hash that is kept holds in its own process alone."""
    kept = {SMALL: 1, SMALL.architectures[3]: 2}
    text = base64.b64encode(pickle.dumps(kept)).decode()
    code = (
        "import base64, pickle, sys\n"
        "from harness.nas.space import Architecture, Space\n"
        "kept = pickle.loads(base64.b64decode(sys.argv[1]))\n"
        f"space = {SMALL!r}\n"
        "assert kept[space] == 1 and kept[space.architectures[3]] == 2\n"
        "assert space.architectures[3] in space\n"
    )
    for seed in ("1", "2"):
        env = {**os.environ, "PYTHONHASHSEED": seed}
        subprocess.run([sys.executable, "-c", code, text], env=env, check=True)
