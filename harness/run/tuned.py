"""The executor on Ray Tune: one Tune trial a pack, actors reused."""

from __future__ import annotations

import logging
import shutil
import tempfile
from dataclasses import dataclass
from typing import Any

import torch

from harness import catalog, data
from harness.run.cluster import slots
from harness.run.session import Session
from harness.study import Source, make_trial
from harness.work import run_pack


def on_ray(session: Session) -> None:
    """Train every pack on Ray Tune: one Tune trial a pack, actors reused."""
    from ray import tune
    from ray.tune.search import Searcher

    logging.getLogger("ray.tune").setLevel(logging.ERROR)
    logging.getLogger("ray.train").setLevel(logging.ERROR)

    class PackWorker(tune.Trainable):  # type: ignore[misc]
        """An actor that trains one pack a step."""

        def setup(
            self, config: dict[str, Any], source: Source | None = None, scale: str = "",
            shared: dict[str, data.Arrays] | None = None,
        ) -> None:  # fmt: skip
            assert source is not None  # handed over by `tune.with_parameters`
            self.study, self.scale = catalog.load(source), scale
            data.adopt(shared or {})

        def reset_config(self, new_config: dict[str, Any]) -> bool:
            return True

        def step(self) -> dict[str, Any]:
            trials = [
                make_trial(self.study, self.scale, *spec) for spec in self.config["trials"].specs
            ]
            device = "cuda" if torch.cuda.is_available() else "cpu"
            outcomes = run_pack(self.study, trials, device)
            return {"done": True, "pack": self.config["pack"], "outcomes": Opaque(outcomes)}

        def save_checkpoint(self, checkpoint_dir: str) -> None:
            return None

        def load_checkpoint(self, checkpoint: Any) -> None:
            return None

    class PackSearcher(Searcher):  # type: ignore[misc]
        """Suggests packs; our own draws are Optuna's, asked by the plan."""

        def __init__(self) -> None:
            super().__init__(metric="pack", mode="min")
            self.names: dict[str, str] = {}

        def suggest(self, trial_id: str) -> Any:
            pack = session.next()
            if pack is None:
                return Searcher.FINISHED if session.done else None
            self.names[trial_id] = pack.name
            specs = [(t.phase, t.arm, t.cell, t.nuisance, t.seed, t.key) for t in pack.trials]
            return {"pack": pack.name, "trials": Opaque(specs)}

        def on_trial_complete(
            self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
        ) -> None:
            if error:
                session.lose(self.names[trial_id], "the worker process died")

        def save(self, checkpoint_path: str) -> None:
            return None

        def restore(self, checkpoint_path: str) -> None:
            return None

    class Collect(tune.Callback):  # type: ignore[misc]
        """Takes the rows out of a result before Tune copies and stores it."""

        def on_trial_result(
            self, iteration: int, trials: Any, trial: Any, result: dict[str, Any], **_: Any
        ) -> None:
            outcomes = result.pop("outcomes", None)
            if outcomes is not None:
                session.finish(result["pack"], outcomes.specs)

    workers, resources = slots()
    scratch = tempfile.mkdtemp(prefix="harness-ray-")
    try:
        # through the object store, once: data that this process has read are not read by workers
        worker = tune.with_parameters(
            PackWorker, source=session.source, scale=session.scale, shared=data.share()
        )
        tuner = tune.Tuner(
            tune.with_resources(worker, tune.PlacementGroupFactory([resources])),
            tune_config=tune.TuneConfig(
                search_alg=PackSearcher(),
                num_samples=-1,
                max_concurrent_trials=workers,
                reuse_actors=True,
            ),
            run_config=tune.RunConfig(
                name=session.study.name, storage_path=scratch, verbose=0, callbacks=[Collect()]
            ),
        )
        tuner.fit()
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    if not session.done:
        raise RuntimeError(
            f"Ray stopped with {session.plan.told} of {session.plan.planned} trials done; "
            "the same command continues"
        )


@dataclass(frozen=True)
class Opaque:
    """A payload that Tune passes through unread: it copies, flattens and prints dicts and lists."""

    specs: Any

    def __deepcopy__(self, memo: dict[int, Any]) -> Opaque:
        return self

    def __repr__(self) -> str:
        return "..."
