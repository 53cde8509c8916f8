"""Trials, keys and packs: stable, fair, and following the code that trains."""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path

import pytest

import harness
from harness import Data, Optimizer
from harness.engine.cost import work_of
from harness.engine.outcome import Outcome
from harness.engine.training import Training
from harness.parts.models import Recurrent
from harness.plan.declared import Declarations
from harness.plan.draws import Search
from harness.plan.forecast import dry_run
from harness.plan.packing import Packer
from harness.plan.plan import TUNE_SEED, Plan
from harness.study import BadInput, Float, Source, catalog, fingerprint


def source(project: Path, text: str | None = None) -> Source:
    found = (project / "studies" / "tiny.py").read_text() if text is None else text
    return Source("tiny", "tiny.py", found)


def keys(src: Source, scale: str = "smoke") -> list[str]:
    plan = Plan(catalog.load(src), src, scale)
    found = []
    while trials := plan.ready():
        for trial in trials:
            found.append(trial.key)
            plan.tell(
                trial.key, Outcome("finished", [1], {"loss": [1.0], "steps_to_target": [5.0]})
            )
    assert plan.done
    assert len(found) == plan.planned
    return found


def edit(text: str, old: str, new: str) -> str:
    assert old in text
    return text.replace(old, new)


def test_keys_are_unique_and_stable(project: Path) -> None:
    first = keys(source(project))
    assert len(set(first)) == len(first) == 20
    assert keys(source(project)) == first


SAME = {
    "a comment": ("STUDY = Study(", "# a comment\nSTUDY = Study("),
    "a docstring": ("Tiny: two optimizers", "Tiny: some optimizers"),
    "a claim": ("Momentum needs fewer steps.", "Momentum is quicker."),
    "a figure": ("Steps to the target.", "Steps."),
    "more seeds": ('"smoke": Budget(draws=4, seeds=6)', '"smoke": Budget(draws=4, seeds=9)'),
}
OTHER = {
    "the trial": ('steps=t["steps"],', 'steps=t["steps"] + 0,'),
    "a setting": ('"steps": 60', '"steps": 61'),
    "a probe": ("StepsTo(1.0)", "StepsTo(1.1)"),
}


@pytest.mark.parametrize("what", SAME)
def test_what_does_not_train_keeps_every_key(project: Path, what: str) -> None:
    old = keys(source(project))
    text = (project / "studies" / "tiny.py").read_text()
    assert set(keys(source(project, edit(text, *SAME[what])))) >= set(old)


@pytest.mark.parametrize("what", OTHER)
def test_what_trains_changes_every_key(project: Path, what: str) -> None:
    old = keys(source(project))
    text = (project / "studies" / "tiny.py").read_text()
    assert not set(keys(source(project, edit(text, *OTHER[what])))) & set(old)


def test_the_code_of_parts_counts_only_where_they_are_used(project: Path, monkeypatch) -> None:
    def hash_with(module: str, old: str, new: str, words: frozenset[str]) -> str:
        path = Path(harness.__file__).parent / f"{module.replace('.', '/')}.py"
        changed = fingerprint.definitions(edit(path.read_text(), old, new))
        real = fingerprint._definitions
        with monkeypatch.context() as patch:
            patch.setattr(
                fingerprint,
                "_definitions",
                lambda m: changed if m == f"harness.{module}" else real(m),
            )
            return fingerprint.code_hash(source(project).text, "trial", words)

    sgd, nesterov = frozenset({"sgd"}), frozenset({"nesterov"})
    base = {
        words: fingerprint.code_hash(source(project).text, "trial", words)
        for words in (sgd, nesterov)
    }
    assert base[sgd] != base[nesterov]
    rule = ("parts.optimizers.rules", '.add_(g).mul_(c["lr"])', '.sub_(g).mul_(c["lr"])')
    assert hash_with(*rule, sgd) == base[sgd]
    assert hash_with(*rule, nesterov) != base[nesterov]
    valley = ("parts.models.surfaces", "0.02 * x * x", "0.03 * x * x")
    assert hash_with(*valley, sgd) != base[sgd]
    beale = ("parts.models.surfaces", "1.5 - x", "1.6 - x")
    assert hash_with(*beale, sgd) == base[sgd]
    engine = ("engine.stepper", "self._start = self.t\n", "self._start = self.t; pass\n")
    assert hash_with(*engine, sgd) != base[sgd]


def test_every_arm_gets_the_same_draws_and_fresh_seeds(project: Path) -> None:
    src = source(project)
    plan = Plan(catalog.load(src), src, "smoke")
    tune = plan.ready()
    assert plan.ready() == []  # nothing is confirmed before its arm is tuned
    by_arm = {arm: [t.nuisance["lr"] for t in tune if t.arm == arm] for arm in ("gd", "momentum")}
    assert by_arm["gd"] == by_arm["momentum"]
    assert len(set(by_arm["gd"])) == 4
    assert {t.seed for t in tune} == set(range(TUNE_SEED, TUNE_SEED + 4))
    for trial in tune:
        loss = abs(math.log(trial["lr"] / by_arm["gd"][2]))
        steps = math.inf if trial.arm == "gd" else 10.0  # gd ties at "never": the loss decides
        plan.tell(trial.key, Outcome("finished", [1], {"loss": [loss], "steps_to_target": [steps]}))
    confirm = plan.ready()
    assert [t.seed for t in confirm if t.arm == "gd"] == list(range(6))
    assert {t.nuisance["lr"] for t in confirm} == {by_arm["gd"][2]}


def test_a_diverged_or_failed_draw_never_wins(project: Path) -> None:
    src = source(project)
    plan = Plan(catalog.load(src), src, "smoke")
    tune = plan.ready()
    for number, trial in enumerate(tune):
        status = ["diverged", "failed", "finished", "diverged"][number % 4]
        metrics = {"loss": [9.0 if status == "finished" else 0.0], "steps_to_target": [1.0]}
        plan.tell(trial.key, Outcome(status, [1], metrics))
    assert {t.nuisance["lr"] for t in plan.ready()} == {tune[2].nuisance["lr"]}


def test_the_best_draws_are_judged_again_and_the_best_mean_wins(project: Path) -> None:
    text = (project / "studies" / "tiny.py").read_text()
    budget = "Budget(draws=4, seeds=6)"
    src = source(project, edit(text, f'"smoke": {budget}', '"smoke": Budget(4, 6, finalists=2)'))
    assert set(keys(src)) >= set(keys(source(project)))  # what was trained before still counts
    plan = Plan(catalog.load(src), src, "smoke")
    assert plan.planned == len(keys(src)) == 2 * (4 + 2 * 3 + 6)

    def tell(trial, steps: float, status: str = "finished") -> None:
        metrics = {"loss": [1.0], "steps_to_target": [steps]}
        plan.tell(trial.key, Outcome(status, [1], metrics))

    tune = plan.ready()
    draws = [t.nuisance for t in tune if t.arm == "gd"]
    for number, trial in enumerate(tune):
        tell(trial, [30.0, 20.0, 40.0, 10.0][number % 4])  # draws 3 and 1 are the best
    finals = plan.ready()
    assert plan.ready() == []
    assert {t.phase for t in finals} == {"final"}
    for arm in ("gd", "momentum"):
        mine = [t for t in finals if t.arm == arm]
        assert [t.nuisance for t in mine] == [draws[3]] * 3 + [draws[1]] * 3
        assert [t.seed for t in mine] == [
            TUNE_SEED * again + number for number in (3, 1) for again in (2, 3, 4)
        ]
    lucky = [t for t in finals if t.arm == "gd" and t.nuisance == draws[3]]
    unstable = [t for t in finals if t.arm == "momentum" and t.nuisance == draws[1]]
    for trial in reversed(finals):
        if trial in lucky:
            tell(trial, 24.0)  # a mean of 20.5 against 20
        elif trial in unstable:
            tell(trial, 1.0, "diverged" if trial is unstable[1] else "finished")
        else:
            tell(trial, 20.0)
    confirm = plan.ready()
    assert {t.arm: dict(t.nuisance) for t in confirm} == {"gd": draws[1], "momentum": draws[3]}
    assert len(confirm) == 12
    assert max(t.seed for t in confirm) < TUNE_SEED


def test_no_more_finalists_than_draws_and_none_without_a_choice(project: Path) -> None:
    text = (project / "studies" / "tiny.py").read_text()
    old = '"smoke": Budget(draws=4, seeds=6)'
    for draws, again in ((3, 3), (1, 0), (0, 0)):
        changed = edit(text, old, f'"smoke": Budget({draws}, 6, finalists=5)')
        src = source(project, changed)
        assert len(keys(src)) == 2 * (draws + 3 * again + 6)


def test_packs_hold_one_signature_and_at_most_the_size(project: Path) -> None:
    src = source(project)
    study = catalog.load(src)
    trials = Plan(study, src, "smoke").ready()
    packs = Packer(Declarations(study), 3).pack(trials)
    assert sorted(len(p.trials) for p in packs) == [2, 2, 2, 2]
    assert all(len({t.arm for t in p.trials}) == 1 for p in packs)
    assert {t.key for p in packs for t in p.trials} == {t.key for t in trials}
    halves = Packer(Declarations(study)).halve(packs[0])
    assert [t for h in halves for t in h.trials] == packs[0].trials


def test_what_goes_on_is_packed_as_it_was_and_so_are_its_halves(project: Path) -> None:
    src = source(project)
    study = catalog.load(src)
    trials = [t for t in Plan(study, src, "smoke").ready() if t.arm == "gd"]
    packer = Packer(Declarations(study), 2)
    (first, _) = packer.pack(trials)
    again = packer.again(trials, "some.flight")
    assert (again.trials, again.source) == (trials, "some.flight")
    assert (again.base, again.each, again.lone) == (first.base, first.each, first.lone)
    assert [half.source for half in packer.halve(again)] == ["some.flight"] * 2
    # what a pack is saved under goes by its trials, in whatever order
    assert packer.again(trials[::-1], "").label == again.label
    assert first.label != again.label


def test_dry_run_counts_everything_and_names_what_runs_alone(project: Path) -> None:
    src = source(project)
    sketch = dry_run(catalog.load(src), src, "smoke", 2)
    assert sketch["trials"] == 20
    assert sketch["phases"]["tune"] == {"trials": 8, "packs": 2, "alone": 0}
    assert sketch["alone"] == {}
    assert sketch["seconds"] > 0
    text = edit(
        src.text, "    return Training(", "    return ({} for _ in range(2))\n    return Training("
    )
    lone = source(project, text)
    study = catalog.load(lone)
    sketch = dry_run(study, lone, "smoke", 2)
    assert sketch["alone"] == {"it is a generator of rows": 20}
    assert (sketch["guessed"], sketch["work"], sketch["recorded"]) == (20, 20.0, 0)
    # of generators that an earlier run had, it tells how long they take
    took = {("confirm", "gd"): 30.0, ("tune", "gd"): 10.0}
    sketch = dry_run(study, lone, "smoke", 2, declared=Declarations(study, recorded=lambda: took))
    assert (sketch["guessed"], sketch["work"], sketch["recorded"]) == (
        10,
        6 * 30.0 + 4 * 10.0 + 10,
        10,
    )


def test_what_was_recorded_is_found_by_levels_as_frames_hold_them(project: Path) -> None:
    text = edit(
        source(project).text, "    nuisance={", '    vary={"clip": (None, 3)},\n    nuisance={'
    )
    text = edit(text, 'than="gd")', 'than="gd", clip=3)')
    src = source(project, text)
    study = catalog.load(src)
    trials = Plan(study, src, "smoke").ready()
    found = {Declarations(study).place(trial) for trial in trials}
    assert found == {("tune", arm, clip) for arm in ("gd", "momentum") for clip in ("None", "3")}


@pytest.mark.parametrize("sampler", ["qmc", "random", "tpe"])
def test_draws_are_reproducible_whatever_the_order_of_telling(sampler) -> None:
    def draws(backwards: bool) -> list[dict]:
        search, found = (
            Search({"lr": Float(1e-3, 1.0, log=True), "m": Float(0, 1)}, 20, sampler),
            [],
        )
        while fresh := search.ask():
            numbers = range(len(found), len(found) + len(fresh))
            found += fresh
            for number in reversed(numbers) if backwards else numbers:
                search.tell(number, math.inf if number % 5 == 0 else found[number]["m"])
        return found

    assert draws(False) == draws(True)
    assert len(draws(False)) == 20
    assert len({d["lr"] for d in draws(False)}) == 20


CONSTANTS = {
    "a dict constant": ("STUDY = Study(", "R = {'a': 1}\nSTUDY = Study(", "R['a']", "{'a': 1}", "{'a': 2}"),
    "an item set later": ("STUDY = Study(", "R = [1]\nR[0] = 5\nSTUDY = Study(", "R[0]", "R[0] = 5", "R[0] = 6"),
    "a definition under if": ("STUDY = Study(", "if True:\n    K = 1\nSTUDY = Study(", "K", "K = 1", "K = 2"),
}  # fmt: skip


@pytest.mark.parametrize("what", CONSTANTS)
def test_constants_of_the_study_count(project: Path, what: str) -> None:
    old, new, use, before, after = CONSTANTS[what]
    text = edit((project / "studies" / "tiny.py").read_text(), old, new)
    text = edit(text, 'steps=t["steps"],', f'steps=t["steps"] + 0 * {use},')
    assert not set(keys(source(project, text))) & set(
        keys(source(project, edit(text, before, after)))
    )


@pytest.mark.parametrize(
    "lines",
    [
        "from harness.parts.models.surfaces import SURFACES as S\n    S['valley']",
        "import harness.parts.models.surfaces\n    harness.parts.models.surfaces.SURFACES['valley']",
        "from harness.parts.models import surfaces\n    surfaces.SURFACES['valley']",
    ],
)
def test_imports_inside_functions_are_followed(project: Path, lines: str) -> None:
    text = (project / "studies" / "tiny.py").read_text()
    text = edit(
        text,
        "def trial(t: Trial) -> Training:\n",
        f"def trial(t: Trial) -> Training:\n    {lines}\n",
    )
    text = edit(text, "partial(Descent, ", "partial(OTHER, ").replace(
        "import Descent", "import MLP as OTHER"
    )
    walk = fingerprint._Walk(text, set())
    walk.follow("", "trial")
    assert ("harness.parts.models.surfaces", "SURFACES") in {
        (one.module, one.name) for one in walk.seen
    }


def test_a_trial_that_is_no_function_of_the_file_is_refused(project: Path) -> None:
    text = edit(
        (project / "studies" / "tiny.py").read_text(), "trial=trial", "trial=lambda t: trial(t)"
    )
    src = source(project, text)
    with pytest.raises(BadInput, match="allowed: a function of the study file"):
        Plan(catalog.load(src), src, "smoke")


def test_declaring_a_metric_changes_every_key(project: Path) -> None:
    text = (project / "studies" / "tiny.py").read_text()
    more = edit(
        text, '"loss": Metric(', '"gap": Metric("decades", better="low"),\n        "loss": Metric('
    )
    assert not set(keys(source(project, text))) & set(keys(source(project, more)))


def test_a_search_goes_on_where_it_was_interrupted() -> None:
    """`lstm_variants` at the paper scale, in slices: a new plan has the same trials, and what was
    finished in an earlier slice is told to it and not handed out as new."""
    src = catalog.find("lstm_variants")
    study = catalog.load(src)
    before, after = (Plan(study, src, "paper") for _ in range(2))
    first = [trial.key for trial in before.ready()]
    again = [trial.key for trial in after.ready()]
    draws = sum(study.draws("paper", *cell) for cell in study.cells("paper"))
    assert len(set(first)) == len(first) == draws
    assert again == first
    assert before.hash() == after.hash()
    for slice_ in (again[:900], again[900:]):
        assert not after.done
        for key in slice_:
            after.tell(key, Outcome("finished", [1], {"valid_loss": [9.0]}))
        new = after.ready()
        assert {trial.phase for trial in new} == {"final"}
        assert not {trial.key for trial in new} & set(first)


@pytest.mark.usefixtures("one_thread")
def test_the_forecast_counts_what_a_sequence_takes() -> None:
    def training(length: int, cell: str = "RNN") -> Training:
        return Training(
            partial(Recurrent, cell, 6, 8, 4), Optimizer("sgd", lr=0.1), batch_size=2,
            data=Data("temporal_order", length=length), steps=10,
        )  # fmt: skip

    (short, long, lstm) = (
        work_of(one.model, one.sample())
        for one in (training(10), training(20), training(10, "vanilla"))
    )
    # 10 steps: inputs at once, each step one product with 8 x 8, the output layer at the end
    assert short.flops == 2 * (10 * 6 * 8 + 10 * 8 * 8 + 8 * 4)
    assert long.flops - short.flops == 2 * 10 * (6 * 8 + 8 * 8)
    assert long.operations > 1.7 * short.operations
    assert lstm.flops == 2 * (4 * 10 * (6 * 8 + 8 * 8) + 8 * 4)


def test_only_what_was_told_of_is_looked_at(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Thousands of arms and cells times thousands of packs would be minutes of looking."""
    text = (project / "studies" / "tiny.py").read_text()
    many = "{f'a{n}': {'rule': 'sgd'} for n in range(50)}"
    text = edit(text, '{"gd": {"rule": "sgd"}, "momentum": {"rule": "momentum"}}', many)
    text = text[: text.index("    claims=")] + ")\n"
    src = source(project, text)
    plan = Plan(catalog.load(src), src, "smoke")
    first = [trial for trial in plan.ready() if trial.arm == "a7"]
    looked: list[Search] = []
    ask = Search.ask
    monkeypatch.setattr(Search, "ask", lambda self: looked.append(self) or ask(self))
    for place, trial in enumerate(first, 1):
        plan.tell(trial.key, Outcome("finished", [1], {"loss": [1.0], "steps_to_target": [5.0]}))
        assert {trial.arm for trial in plan.ready()} == ({"a7"} if place == len(first) else set())
    assert len(looked) == len(first)


DIGITS = """
from functools import partial

from harness import Budget, Data, Float, Metric, Optimizer, Study, Training
from harness.parts.models import MLP


def trial(t):
    return Training(
        partial(MLP, (64, 8, 10)), Optimizer("adam", lr=t["lr"]), Data("digits", 160), epochs=2, batch_size=32
    )


STUDY = Study(
    question="Which?", trial=trial, arms={"a": {}}, nuisance={"lr": Float(1e-3, 1e-1)}, select=("valid_loss",),
    metrics={name: Metric("nats", better="low") for name in ("valid_loss", "test_loss")},
    budgets={"smoke": Budget(draws=4, seeds=5, finalists=2)},
)
"""
UNSEALED = DIGITS.replace("STUDY =", "from harness import Claim, claims\n\nSTUDY =").replace(
    "select=",
    "claims={'read': Claim('It matters.', 'a deck', claims.share_above('test_loss', 0.5, of='lr', arm='a'))},"
    "select=",
)


def test_a_plan_says_how_often_the_test_split_will_be_scored(project: Path) -> None:
    """Three rows a trial, of 5 to confirm and 4 draws; no claim reads their further seeds."""
    told = []
    for text in (DIGITS, UNSEALED):
        one = source(project, text)
        told.append(dry_run(catalog.load(one), one, "smoke", 2))
    assert [one["test_scored"] for one in told] == [
        {"confirm": 15}, {"tune": 12, "confirm": 15},
    ]  # fmt: skip
    assert told[0]["work"] <= told[1]["work"]
    assert told[0]["plan"] != told[1]["plan"]
    assert told[0]["untried"] <= 1  # what is scored makes no other kind


def test_unsealing_retrains_what_was_sealed_and_nothing_else(project: Path) -> None:
    def of(text: str) -> dict[str, list[str]]:
        one = source(project, text)
        plan, found = Plan(catalog.load(one), one, "smoke"), dict[str, list[str]]()
        while trials := plan.ready():
            for trial in trials:
                found.setdefault(trial.phase, []).append(trial.key)
                plan.tell(trial.key, Outcome("finished", [1], {"valid_loss": [1.0]}))
        return found

    sealed, unsealed = of(DIGITS), of(UNSEALED)
    assert sealed["confirm"] == unsealed["confirm"]
    assert sealed["final"] == unsealed["final"]
    assert not {*sealed["tune"]} & {*unsealed["tune"]}
    assert of(UNSEALED.replace("It matters", "It matters much")) == unsealed
