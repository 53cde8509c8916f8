"""One rule at work on K trials."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from harness.engine.building import Tensors
from harness.engine.flat import Flat
from harness.engine.instances import Instances
from harness.engine.program import Computation
from harness.engine.trees import settled
from harness.parts.optimizers.base import COMMON, Around, Numbers, Rows, State, Step
from harness.parts.optimizers.declared import Optimizer, Stepped
from harness.parts.optimizers.rules import Muon

STRETCH = 256  # steps whose scalars are worked out at once


@dataclass(frozen=True)
class _Alike:
    """Trials of equal numbers, as rows of the pack's tensors."""

    lanes: list[int]
    bind: Callable[[Rows], Step]  # to gradients
    step: Step  # along `Stepper.grads`


class Stepper:
    """One rule applied to K trials: holds the slots, looks the numbers up, counts the steps.

    Args:
        optimizers: K optimizers of the same rule.
        params: The parameters of K trials; updated in place by `step`.
        updates: Steps in all, which schedules refer to.
        mask: (K, P) of ones, and zeros where a parameter is padding; None without padding.
        sow: Seeds the process's generators for a lane, before an optimizer that may draw from them.

    Attributes:
        grads: (K, P), which stay until the next; `parts` are windows into it, name to (K, ...).
        repeats: Whether `apply` is the same kernels each time, which a graph of a GPU can hold.
    """

    found: Tensor | None = None  # what training leaves of the loss is heard of as it goes

    def __init__(
        self, optimizers: Sequence[Optimizer], params: Flat, updates: int,
        mask: Tensor | None = None, sow: Callable[[int], None] = lambda lane: None,
    ) -> None:  # fmt: skip
        if len({o.rule for o in optimizers}) != 1:
            names = ", ".join(sorted({o.name for o in optimizers}))
            raise ValueError(f"a pack has one rule; received {names}")
        self.rule = (optimizers[0].batched or Stepped)()
        self.optimizers = list(optimizers)
        self.params, self.updates, self.mask = params, updates, mask
        self.grads = torch.zeros_like(params.all)
        self.parts = params.cut(self.grads)
        self.carry: State = {}
        self.t = 0
        self._numbers = {
            # float64: 1 - beta^t loses three digits in float32 when beta is near 1
            name: torch.tensor([o.numbers[name] for o in optimizers], dtype=torch.float64)
            for name in {**COMMON, **self.rule.defaults}
        }
        self.slots = self.rule.begin(params.all, self._numbers)
        # Extras that no trial uses are not computed; for a trial beside them they change nothing.
        used = {n for n, v in COMMON.items() if bool((self._numbers[n] != v).any())}
        self.extras = used if self.rule.coupled else used - {"weight_decay"}
        self._make_room()
        self._start = 0
        self._lay(torch.zeros(0))
        self._names: list[str] = []
        self._now: Tensor | None = None  # (S, K, 1), the row of the table that holds now
        self.scalars: dict[str, Tensor] = {}  # name to (K, 1), windows into it
        self._rates: list[list[float]] = []  # (T, K)
        self._alike = self._groups()
        alone = isinstance(self.rule, Stepped)
        self.instances = Instances(optimizers, params, sow) if alone else None
        self.repeats = self.instances is None

    def _make_room(self) -> None:
        """Scratch memory: for rules, and for gradients with what `_regularized` adds to them."""
        self._free = torch.empty_like(self.grads)
        self._held = torch.empty_like(self.grads) if self.extras - {"max_norm"} else self._free

    def _groups(self) -> list[_Alike]:
        """Trials of equal numbers together, where a kernel of torch's moves them faster."""
        flat = self.params.all
        # a rule that inherits `rows` may have another `update`
        own = "rows" in vars(type(self.rule))
        if not own or flat.device.type != "cpu" or flat.shape[1] < self.rule.many:
            return []
        found: dict[tuple[object, ...], list[int]] = {}
        for lane, o in enumerate(self.optimizers):
            found.setdefault((o.schedule, *o.numbers.values()), []).append(lane)
        rows = {name: slot.unbind() for name, slot in self.slots.items()}
        w, g = flat.unbind(), self.grads.unbind()
        alike = []
        for lanes in found.values():
            mine = [w[i] for i in lanes]
            slots = {name: [row[i] for i in lanes] for name, row in rows.items()}
            numbers = self.optimizers[lanes[0]].numbers
            bind = functools.partial(self.rule.rows, mine, s=slots, n=numbers)
            alike.append(_Alike(lanes, bind, bind([g[i] for i in lanes])))
        return alike

    def _lay(self, table: Tensor) -> None:
        self._table, self._steps = table, table.unbind()

    def _hold(self, now: Tensor) -> None:
        self._now = now
        self.scalars = dict(zip(self._names, now.unbind(0), strict=True))

    def _work_out(self) -> None:
        """The scalars of the next stretch of steps, (T, S, K, 1), in one go."""
        self._start = self.t
        t = np.arange(self.t, min(self.t + STRETCH, max(self.updates, self.t + 1)))
        factors = {o.schedule: o.schedule.factor(t, self.updates) for o in self.optimizers}
        factor = np.stack([factors[o.schedule] for o in self.optimizers], 1)  # (T, K)
        numbers = {**self._numbers, "lr": self._numbers["lr"] * torch.from_numpy(factor)}
        if self._alike or self.instances:
            self._rates = numbers["lr"].tolist()
        steps = torch.from_numpy(t + 1.0).unsqueeze(1)  # (T, 1)
        own = {name: numbers[name] for name in self.rule.defaults}
        found = self.rule.scalars(own, steps, self.carry)
        found |= {name: numbers[name] for name in sorted(self.extras)}
        self._names = list(found)
        shape = (len(t), len(self.optimizers))
        rows = [found[name].expand(shape) for name in self._names]
        table = torch.stack(rows, 1).float().unsqueeze(-1)  # (T, S, K, 1)
        self._lay(table.to(self.params.all.device))
        if self._now is None:
            self._hold(self._table[0].clone())

    def advance(self) -> None:
        """Look up the numbers of the next step: apart from `apply`, which a CUDA graph repeats."""
        if self.t >= self._start + len(self._table):
            self._work_out()
        assert self._now is not None
        self._now.copy_(self._steps[self.t - self._start])
        self.t += 1

    def taking(
        self, program: Computation, given: Tensors, batch: tuple[Tensor, ...], numbers: Tensors
    ) -> Callable[[tuple[Tensor, ...]], Tensor]:
        """Losses (K,) as a function of batches shaped as this one, with their gradients in `parts`.

        Args:
            program: Of the loss.
            given: What of the module is not moved.
            batch, numbers: As of `Computation.gradients`.
        """
        return program.gradients(self.params.views, given, batch, numbers, self.parts)

    def taken(self) -> None:
        """Gradients have been written to `parts`."""
        if self.mask is not None:
            self.grads.mul_(self.mask)

    def apply(self, skipped: Sequence[tuple[int, str]] = (), around: Around | None = None) -> None:
        """Move the parameters along `grads`, but for these lanes' and names', slots and all.

        Args:
            skipped: Lanes and names.
            around: Where the rule asks, what tells the loss elsewhere.
        """
        with self._left_out(skipped) if skipped else contextlib.nullcontext():
            self._apply(skipped, around)

    def _apply(self, skipped: Sequence[tuple[int, str]], around: Around | None) -> None:
        w, g, c = self.params.all, self.grads, self.scalars
        if self.extras:
            g = self._regularized(w, g, c)  # and `grads` stays the gradient, which probes read
        if self.instances:
            self.instances.step(g, self._rates[self.t - 1 - self._start], set(skipped))
        elif around is not None:
            rounds = int(self._numbers[self.rule.rounds].max())
            self.rule.search(w, g, self.slots, c, around, rounds)
        elif isinstance(self.rule, Muon):
            self._muon(self.rule, w, g)
        elif self._alike:
            self._by_rows(g)
        else:
            self.rule.update(w, g, self.slots, c, self._free)
        if "max_norm" in self.extras:
            self._bound(c["max_norm"])

    @contextlib.contextmanager
    def _left_out(self, skipped: Sequence[tuple[int, str]]) -> Iterator[None]:
        parts = [self.params.views, *map(self.params.cut, self.slots.values())]
        windows = [part[name][lane] for part in parts for lane, name in skipped]
        before = [window.clone() for window in windows]
        yield
        for window, value in zip(windows, before, strict=True):
            window.copy_(value)

    def scoring(self) -> AbstractContextManager[None]:
        """What scores are measured in: some optimizers train other parameters than they score."""
        return self.instances.scoring() if self.instances else contextlib.nullcontext()

    def step(self, grads: Mapping[str, Tensor]) -> None:
        """One update of every trial."""
        for name, part in self.parts.items():
            part.copy_(grads[name])
        self.taken()
        self.advance()
        self.apply()

    def _by_rows(self, g: Tensor) -> None:
        rates = self._rates[self.t - 1 - self._start]
        rows = None if g is self.grads else g.unbind()
        t = torch.tensor(float(self.t))
        for one in self._alike:
            step = one.step if rows is None else one.bind([rows[i] for i in one.lanes])
            step(rates[one.lanes[0]], t)

    def _regularized(self, w: Tensor, g: Tensor, c: Numbers) -> Tensor:
        # into memory that is kept: new memory of this size takes longer than the arithmetic
        free = self._free
        if "clip" in self.extras:
            norm = torch.mul(g, g, out=free).sum(1, keepdim=True).sqrt()  # (K, 1)
            g = torch.mul(g, (c["clip"] / (norm + 1e-6)).clamp(max=1), out=self._held)
        if "weight_decay" in self.extras and not self._alike:
            g = torch.add(g, torch.mul(w, c["weight_decay"], out=free), out=self._held)
        if "l1" in self.extras:
            g = torch.add(g, torch.sign(w, out=free).mul_(c["l1"]), out=self._held)
        return g

    def _bound(self, most: Tensor) -> None:
        for w in self.params.views.values():
            if w.dim() > 2:
                norm = (w * w).flatten(2).sum(2).sqrt()  # (K, out, ...) -> (K, out)
                factor = (most / (norm + 1e-12)).clamp(max=1)
                w.mul_(factor.view(*factor.shape, *(1,) * (w.dim() - 2)))

    def _muon(self, rule: Muon, w: Tensor, g: Tensor) -> None:
        s, c = self.slots, self.scalars
        s["b"].lerp_(g, c["rest"])
        matrix = {name: shape for name, shape in self.params.shapes.items() if len(shape) > 1}
        pieces = {key: self.params.cut(t) for key, t in {"w": w, "g": g, **s}.items()}
        wide = {name: number.unsqueeze(-1) for name, number in c.items()}  # (K, 1) -> (K, 1, 1)
        for name in self.params.shapes:
            piece = {key: cut[name] for key, cut in pieces.items()}
            if name in matrix:
                rule.matrices(piece["w"], piece["g"], piece["b"], wide)
            else:
                part = {
                    key: p.flatten(1) if p.dim() > 1 else p.unsqueeze(1) for key, p in piece.items()
                }
                rule.update(part["w"], part["g"], part, c, torch.empty_like(part["w"]))

    def keep(self, lanes: Tensor) -> None:
        """Go on with only these trials; `params` keeps the same ones by itself."""
        self.optimizers = [self.optimizers[i] for i in lanes.tolist()]
        self.slots = {name: slot[lanes].contiguous() for name, slot in self.slots.items()}
        self.grads = self.grads[lanes].contiguous()
        self.parts = self.params.cut(self.grads)
        self.mask = None if self.mask is None else self.mask[lanes].contiguous()
        self._make_room()
        here = lanes.cpu()
        self.carry = {name: value[here] for name, value in self.carry.items()}
        self._numbers = {name: value[here] for name, value in self._numbers.items()}
        self._rates = [[rates[i] for i in here.tolist()] for rates in self._rates]
        self._alike = self._groups()
        if self.t:
            self._lay(self._table[:, :, lanes].contiguous())
            self._hold(self._table[self.t - 1 - self._start].clone())
        if self.instances:
            self.instances.keep(here.tolist())

    def contained(self) -> bool:
        """Whether `state` can tell it."""
        return self.instances is None or self.instances.contained()

    def state(self) -> dict[str, Any]:
        """All that a later step depends on, but for the parameters and what the optimizers say."""
        return {
            "slots": self.slots, "carry": self.carry, "t": self.t, "extras": sorted(self.extras),
            "start": self._start, "table": self._table, "names": self._names,
            "rates": torch.tensor(self._rates, dtype=torch.float64),
            "instances": self.instances.state() if self.instances else None,
        }  # fmt: skip

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on where another was, of as many trials.

        Raises:
            ValueError: its rule keeps other slots.
        """
        if state["slots"].keys() != self.slots.keys():
            raise ValueError(f"slots {[*state['slots']]}; allowed: {[*self.slots]}")
        self.slots = settled(self.slots, state["slots"])  # in place: `_alike` refers to them
        self.carry = {name: value.cpu() for name, value in state["carry"].items()}
        self.t, self._start = state["t"], state["start"]
        self.extras, self._names = set(state["extras"]), state["names"]
        self._make_room()
        self._rates = state["rates"].tolist()
        if self.instances:
            self.instances.restore(state["instances"])
        self._lay(state["table"])
        if self.t:
            self._hold(self._table[self.t - 1 - self._start].clone())

    def mean_rate(self) -> Tensor:
        """(K,) what multiplied the gradient in the latest step, averaged with weights |g|.

        The weights leave out parameters that have no gradient (a pixel that is always blank),
        whose rate is a division by epsilon and moves nothing. Of an optimizer that is not a `Rule`
        it is how far the parameters went for each unit of the gradient, in sums of sizes.
        """
        size = self.grads.abs()
        if self.instances:
            return self.instances.moved().abs().sum(1) / size.sum(1)
        return (self.rule.rate(self.slots, self.scalars) * size).sum(1) / size.sum(1)
