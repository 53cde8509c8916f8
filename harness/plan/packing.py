"""From trials to packs: what can be trained as one program, in pieces that are worth it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from harness.engine import sizing
from harness.plan import keys
from harness.plan.declared import Declarations, Declared, Kind
from harness.study import Trial

SPLIT = 8  # trials a pack, below which a group is not split to give every worker some
ROUNDS = 2  # packs in which every worker could take what is left, where they differ in speed
MOST_TRIED = 3  # kinds of model, for a plan that is to be told in seconds


@dataclass
class Pack:
    """Trials to be trained as one program, or one that cannot be fused."""

    name: str  # no other pack of a study has it, unless it holds the same trials
    trials: list[Trial]
    base: float  # estimated seconds on one core, whatever it holds
    each: float  # and those that every trial adds
    lone: str = ""  # why it cannot fuse, if it cannot
    source: str = ""  # the file of a pack in flight that it goes on from
    losses: int = 0  # worker processes that have died over it

    @property
    def label(self) -> str:
        """What its trials alone decide of its name."""
        return self.name.partition("-")[2]

    @property
    def cost(self) -> float:
        """Estimated seconds on one core, for ordering and forecasts."""
        return self.base + self.each * len(self.trials)

    @property
    def share(self) -> float:
        """How many times as long as one of its trials alone it is estimated to take."""
        return self.cost / (self.base + self.each)


class Packer:
    """Groups trials by what they train, and cuts the groups into packs.

    Args:
        declared: What trials train, and where.
        size: Most trials a pack; None leaves it to a forecast of what is fastest.
        workers: Packs that train at once: there are at least as many, where trials allow.
        room: Bytes that a pack may fill; by default its share of this machine's.
        uneven: Workers are of different speed: packs become smaller towards the end.
    """

    def __init__(
        self, declared: Declarations, size: int | None = None, workers: int = 1,
        room: float | None = None, uneven: bool = False,
    ) -> None:  # fmt: skip
        self.declared, self.size, self.workers = declared, size, workers
        self.room, self.uneven = room, uneven
        self.count = 0

    def pack(self, trials: Sequence[Trial]) -> list[Pack]:
        """Packs of trials of one kind, the costliest first."""
        groups: dict[Any, list[Trial]] = {}
        about: dict[Any, tuple[Declared, str]] = {}
        for trial in trials:
            one = self.look_up(trial)
            lone = self._lone(one)
            label = (one.kind, trial.key) if lone else one.kind
            groups.setdefault(label, []).append(trial)
            about[label] = one, lone
        packs = []
        # what earlier runs took is left out: sizes go by what the study declares, and no clock
        work = sum(about[label][0].by_forecast * len(members) for label, members in groups.items())
        for label, members in groups.items():
            one, lone = about[label]
            base, each = one.cost
            size = self._size(members, one)
            if self.uneven:
                share = self.workers * each * len(members) / work if work else 1.0
                sizes = graded(len(members), size, ROUNDS * share)
            else:
                share = min(math.ceil(self.workers / len(groups)), len(members) // SPLIT)
                even = math.ceil(len(members) / max(math.ceil(len(members) / size), share))
                sizes = [even] * math.ceil(len(members) / even)
            start = 0
            for count in sizes:
                packs.append(self._named(members[start : start + count], base, each, lone))
                start += count
        return sorted(packs, key=lambda pack: -pack.cost)

    def again(self, trials: list[Trial], source: str) -> Pack:
        """Those trials of a pack in flight that are wanted, to go on from its file."""
        one = self.look_up(trials[0])
        return self._named(trials, *one.cost, self._lone(one), source)

    def halve(self, pack: Pack) -> list[Pack]:
        """Two halves of a pack that did not come back."""
        middle = len(pack.trials) // 2
        return [
            self._named(part, pack.base, pack.each, pack.lone, pack.source)
            for part in (pack.trials[:middle], pack.trials[middle:])
        ]

    def _named(
        self, trials: list[Trial], base: float, each: float, lone: str, source: str = ""
    ) -> Pack:
        # counts begin anew with every process that continues a run; its trials do not
        self.count += 1
        held = keys.digest(sorted(trial.key for trial in trials))[:12]
        return Pack(f"p{self.count:05d}-{held}", trials, base, each, lone, source)

    def look_up(self, trial: Trial) -> Declared:
        """What a trial trains, or one that is taken to be like it."""
        return self.declared.of(trial)

    def _lone(self, one: Declared) -> str:
        return one.why

    def _size(self, members: list[Trial], one: Declared) -> int:
        """Most trials a pack of this group: half more than the forecast asks for, so that nine or
        twelve are not cut into two packs that take longer than one."""
        if self.size or len(members) <= sizing.SIZES[0] or one.training is None:
            return self.size or sizing.SIZES[0]
        device = self.declared.device
        room = self.room
        if room is None:
            room = sizing.MEMORY_SHARE * sizing.memory(device) / self.workers
        size = sizing.pack_size(one.training, device, room)
        fits = int(room / sizing.held(one.training, device))
        return max(size, min(size + size // 2, fits))


def graded(trials: int, most: int, parts: float) -> list[int]:
    """Sizes of a group's packs for machines of different speed, the largest first: each takes its
    part of what is left (guided self-scheduling, Polychronopoulos and Kuck 1987).

    Args:
        trials: In the group.
        most: In a pack.
        parts: Of what is left, into which it is to be cut.
    """
    sizes = []
    while trials:
        size = min(most, trials, max(SPLIT, math.ceil(trials / max(1.0, parts))))
        sizes.append(size)
        trials -= size
    return sizes


class Sketch(Packer):
    """A packer for what is only told of: trials of equal settings are taken to be alike, whatever
    their seeds; and few kinds of model that no run has tried yet are tried, the others taken to fuse.

    Attributes:
        untried: How many kinds were taken to.
    """

    def __init__(self, declared: Declarations, workers: int) -> None:
        super().__init__(declared, workers=workers)
        self._alike: dict[str, Declared] = {}
        self._taken: set[Kind] = set()
        self._tries = 0

    @property
    def untried(self) -> int:
        # whether trials are scored on the test split does not matter to whether they fuse
        return len({replace(kind.example, sealed=False).signature() for kind in self._taken})

    def look_up(self, trial: Trial) -> Declared:
        alike = repr((trial.arm, trial.settings, self.declared.study.sealed(trial.phase)))
        if alike not in self._alike:
            self._alike[alike] = super().look_up(trial)
        return self._alike[alike]

    def _lone(self, one: Declared) -> str:
        if one.kind in self._taken:
            return ""
        if one.kind and not one.kind.tried:
            if self._tries == MOST_TRIED:
                self._taken.add(one.kind)
                return ""
            self._tries += 1
        return one.why
