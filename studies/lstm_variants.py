"""LSTM variants: does any of them beat vanilla, and which of its parts does it need?

Greff et al. (2015) took one part of the LSTM away at a time, gave each variant the same 200 draws
of its hyperparameters on three data sets, and compared the best tenth of each. Here the same nine
variants, search ranges and rule of comparison: one sequence an update, Nesterov momentum with the
learning rate scaled by one minus it, no gradient clipping, weights and biases from N(0, 0.1), early
stopping that goes back to the best record. GRU, plain and identity-initialised recurrent networks
are there for scale; the one claim that reads them is about time.

Departures. Of the paper's three data sets only JSB Chorales is public. Its loss is the mean over
sequences of the mean negative log-likelihood of a step, summed over 88 notes, of every step but the
first; the loss over all steps alike, as published figures are, is reported beside it. The paper's
rates are taken to be for losses summed over a sequence: ours is the mean over 60 steps or so, and
rates are 60 times the paper's. Sequences are read in four buckets of like length. At the default
scale networks have at most 64 units and there are fewer draws and epochs; the other task is
handwritten digits read row by row, eight steps of eight pixels with mean 0 and variance 1. Rates
are ten times the paper's on digits: one output of a sequence has a loss, where speech and
handwriting have one at every frame, and at the paper's own rates all but 2 of 16 draws of a pilot
were under 30 % accuracy after 8 epochs. Settings are chosen on validation data, by accuracy on
digits and by loss on chorales. What is drawn of the width is its place in the range, which serves
every scale: hidden units are 20 (widest / 20)^width, rounded; rates are lr times `rate_times`.

Every variant has the same draws, so whether any beats vanilla is judged twice: as Greff et al. do,
and with the same margin on the quarter of draws that are best for the two together, paired by draw,
which takes out what the learning rate does to both. The quarter was chosen after the spread of a
short run was seen, and before any run of this length.

Claims on one hyperparameter are judged by what fANOVA's forest predicts along it, from the lowest to
the highest third of its range. That larger networks are slower is judged by the time of trials in
the same thirds, of all cells and tasks: the variants but for full gate recurrence are one program,
and say as much as one of them. A trial is computed as wide as its program; its time is its share of
its pack's. The margin is a ratio of 1: the work of an update grows with the square of the width
once that is large, but at 20 to 64 units most of the time may be what any update costs.
"""

from functools import partial

from torch import Tensor, nn

from harness import Arm, Budget, By, Claim, Data, Float, Optimizer, Stop, Study, Training, Trial
from harness.claims import every, everywhere, place, same_draws, slower
from harness.figures import boxes, marginals, scatter, sensitivity, shares
from harness.parts.models import CELLS, VARIANTS, Recurrent
from harness.parts.objectives import Bernoulli
from harness.study import Metric, Published, classification

# Trials of a range of widths share a program that is as wide as the widest of them.
PROGRAMS = (40, 64, 96, 128, 160, 200)

MEAN, SPREAD = 0.305, 0.376  # of the training digits' pixels


class DigitRows(nn.Module):
    """A recurrent network that reads an 8x8 digit (B, 64) row by row and puts out logits (B, 10).
    It reads pixels with mean 0 and variance 1."""

    def __init__(self, cell: str, hidden: int) -> None:
        super().__init__()
        self.network = Recurrent(cell, 8, hidden, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.network((x - MEAN) / SPREAD)


def trial(t: Trial) -> Training:
    hidden = round(20 * (t["widest"] / 20) ** t["width"])
    padded = next(wide for wide in PROGRAMS if hidden <= wide)
    noise, rate = t["input_noise"], t["lr"] * t["rate_times"] * t["one_minus_momentum"]
    if t["task"] == "digits":
        build = partial(DigitRows, t["cell"])
        noise *= SPREAD
        stop = Stop("valid_accuracy", t["patience"], better="high", restore=True)
    else:
        build = partial(Recurrent, t["cell"], 88, outputs=88, every_step=True, ragged=True)
        stop = Stop("valid_loss", t["patience"], restore=True)
    return Training(
        model=partial(build, hidden=hidden),
        pad_to=partial(build, hidden=padded),
        optimizer=Optimizer("nesterov", lr=rate, momentum=1 - t["one_minus_momentum"]),
        data=Data(t["task"], t["examples"]),
        objective=None if t["task"] == "digits" else Bernoulli(),
        epochs=t["epochs"],
        batch_size=1,
        noise=noise,
        stop=stop,
        buckets=1 if t["task"] == "digits" else 4,
    )


LABELS = {
    "vanilla": "vanilla", "NIG": "no input gate", "NFG": "no forget gate", "NOG": "no output gate",
    "NIAF": "no input activation", "NOAF": "no output activation", "NP": "no peepholes",
    "CIFG": "coupled gates", "FGR": "full gate recurrence", "GRU": "GRU", "RNN": "plain RNN",
    "IRNN": "IRNN",
}  # fmt: skip
ARMS = {name: Arm({"cell": name}, label=LABELS[name]) for name in CELLS}
OTHERS = [name for name in VARIANTS if name != "vanilla"]
TASKS = ("digits", "jsb_chorales")
EPOCH = 229  # updates of one pass over the chorales

METRICS = {
    **classification("train_loss", "valid_loss", "test_loss"),
    "test_frame_loss": Metric("nats", better="low", log=True, label="test loss over all steps"),
    **classification("valid_accuracy", "test_accuracy"),
}

BUDGETS = {
    "smoke": Budget(draws=2, seeds=0, task=("digits",), widest=24, epochs=1, examples=60),
    "default": Budget(
        draws=By("task", {"digits": 60, "jsb_chorales": 41}), seeds=0, task=TASKS, widest=64,
        epochs=3, patience=3, rate_times=By("task", {"digits": 10, "jsb_chorales": 60})),
    "paper": Budget(draws=200, seeds=0, task=("jsb_chorales",), rate_times=60),
}  # fmt: skip

# Bands of no difference: a point of accuracy on digits; on chorales a tenth of a nat a step, which
# is a quarter of what an LSTM gains there on a plain RNN. A variant that is better is by half of it.
POINT, NATS = 0.01, 0.1
digits, chorales = place(task="digits"), place(task="jsb_chorales")
BY_LOSS = {"than": "vanilla", "select": "valid_loss"}
ALIKE = {"to": "vanilla", "within": NATS, "select": "valid_loss"}
COMPARISON = "[SNU], “LSTM variants: performance comparison (cont'd)”; [Greff], section 5.1"

# Greff et al.'s comparison: each variant's own best tenth, which at the default scale are five or six
# trials of other settings, of other rates above all.
CLAIMS = {
    "vanilla-digits": Claim("No variant is better than vanilla by half a point or more on digits.",
        COMPARISON,
        everywhere(digits.best_draws_lower("test_accuracy", arm="NIG", than="vanilla", by=-0.005), arm=OTHERS), "digits"),
    "vanilla-chorales": Claim("No variant is better than vanilla by a twentieth of a nat a step or more on chorales.",
        COMPARISON,
        everywhere(chorales.best_draws_higher("test_loss", arm="NIG", by=-0.05, **BY_LOSS), arm=OTHERS), "chorales",
        Published("best test loss 8.38 nats, by the variant without input activation", "from memory")),
    **{f"{arm.lower()}-digits": Claim(f"Without its {part} the LSTM is worse on digits.",
        COMPARISON,
        digits.best_draws_lower("test_accuracy", arm=arm, than="vanilla"), "digits")
        for arm, part in (("NFG", "forget gate"), ("NOAF", "output activation"))},
    **{f"{arm.lower()}-chorales": Claim(f"Without its {part} the LSTM is worse on chorales.",
        COMPARISON,
        chorales.best_draws_higher("test_loss", arm=arm, **BY_LOSS), "chorales")
        for arm, part in (("NFG", "forget gate"), ("NOAF", "output activation"))},
    "fgr-digits": Claim("Full gate recurrence does not help on digits: its nine more matrices do not gain half a point.",
        "[Greff], section 5.1",
        digits.best_draws_lower("test_accuracy", arm="FGR", than="vanilla", by=-0.005), "digits"),
    "fgr-chorales": Claim("Full gate recurrence does not help on chorales: its nine more matrices do not gain a twentieth of a nat.",
        "[Greff], section 5.1",
        chorales.best_draws_higher("test_loss", arm="FGR", by=-0.05, **BY_LOSS), "chorales"),
    **{f"{arm.lower()}-digits": Claim(f"{words} makes no difference of a point on digits.",
        COMPARISON,
        digits.best_draws_equivalent("test_accuracy", arm=arm, to="vanilla", within=POINT), "digits")
        for arm, words in (("CIFG", "Coupling the input and forget gates"), ("NP", "Leaving the peepholes out"))},
    **{f"{arm.lower()}-chorales": Claim(f"{words} makes no difference of a tenth of a nat on chorales.",
        COMPARISON,
        chorales.best_draws_equivalent("test_loss", arm=arm, **ALIKE), "chorales")
        for arm, words in (("CIFG", "Coupling the input and forget gates"), ("NP", "Leaving the peepholes out"))},
    **{f"{arm.lower()}-chorales": Claim(f"On music the {part} hardly matters: without it the loss is within a tenth of a nat of vanilla's.",
        "[Greff], section 5.1",
        chorales.best_draws_equivalent("test_loss", arm=arm, **ALIKE), "chorales")
        for arm, part in (("NIG", "input gate"), ("NOG", "output gate"), ("NIAF", "input activation"))},
}  # fmt: skip

# The same, and the margin, on the quarter of draws that is best for the two together, paired by draw.
CLAIMS |= {
    f"{name}-paired": Claim(f"At the same settings: {one.statement[0].lower()}{one.statement[1:]}",
        one.source, same_draws(one.check), one.figure)
    for name, one in CLAIMS.items() if name.startswith("vanilla")
}  # fmt: skip

# What is read of each task: its name, its place, the metric, the first word of its figures' names.
READ = (("digits", digits, "test_accuracy", "digits"), ("chorales", chorales, "test_loss", "jsb"))
CLAIMS |= {
    **{f"rate-{figure}": Claim(f"The learning rate explains more than half of the variance of {metric.replace('_', ' ')} on {name}.",
        "[SNU], “LSTM variants: performance comparison (cont'd)”; [Greff], section 5.2",
        at.share_above(metric, 0.5, of="lr", arm="vanilla"), f"{figure}-rate",
        Published("over two thirds", "from memory"))
        for name, at, metric, figure in READ},
    "momentum-digits": Claim("Momentum hardly matters: it explains less than a tenth of the variance on digits.",
        "[Greff], section 5.2",
        digits.share_below("test_accuracy", 0.1, of="one_minus_momentum", arm="vanilla"), "digits-shares",
        Published("under 1 %", "from memory")),
    "momentum-chorales": Claim("Momentum hardly matters: it explains less than a twentieth of the variance on chorales.",
        "[Greff], section 5.2",
        chorales.share_below("test_loss", 0.05, of="one_minus_momentum", arm="vanilla"), "jsb-shares",
        Published("under 1 %", "from memory")),
    **{f"interaction-{name}": Claim(f"Learning rate and width can be tuned one by one: their interaction explains less than a tenth of the variance on {name}.",
        "[Greff], section 5.2",
        at.share_below(metric, 0.1, of=("lr", "width"), arm="vanilla"), f"{figure}-shares")
        for name, at, metric, figure in READ},
    **{f"width-{name}": Claim(f"After the learning rate the width matters most on {name}: more than momentum, and more than input noise.",
        "[Greff], section 5.2",
        every(*(at.share_higher(metric, of="width", than=other, arm="vanilla")
                for other in ("one_minus_momentum", "input_noise"))), f"{figure}-shares")
        for name, at, metric, figure in READ},
    "larger-digits": Claim("Larger networks are better on digits.",
        "[Greff], section 5.2",
        digits.rises("test_accuracy", of="width", arm="vanilla"), "digits-marginals"),
    "larger-chorales": Claim("Larger networks are better on chorales.",
        "[Greff], section 5.2",
        chorales.falls("test_loss", of="width", arm="vanilla"), "jsb-marginals"),
    "slower": Claim("Larger networks are slower: from the lowest to the highest third of widths a trial takes longer, in packs of one size and on average over the cells and tasks that no pack holds together.",
        "[Greff], section 5.2",
        slower(1.0, of="width", arms=CELLS), "digits-time"),
    "noise-digits": Claim("Input noise does not help on digits: much of it does not gain half a point over little.",
        "[Greff], section 5.2",
        digits.falls("test_accuracy", of="input_noise", by=-0.005, arm="vanilla"), "digits-marginals"),
    "noise-chorales": Claim("Input noise does not help on chorales: much of it does not gain a twentieth of a nat over little.",
        "[Greff], section 5.2",
        chorales.rises("test_loss", of="input_noise", by=-0.05, arm="vanilla"), "jsb-marginals"),
    "kept-digits": Claim("The learning rate can be tuned on small networks and kept for large ones: that costs less than two points on digits.",
        "[Greff], section 5.2",
        digits.carried("test_accuracy", of="lr", over="width", cost=0.02, arm="vanilla"), "digits-marginals"),
    "kept-chorales": Claim("The learning rate can be tuned on small networks and kept for large ones: that costs less than a tenth of a nat on chorales.",
        "[Greff], section 5.2",
        chorales.carried("test_loss", of="lr", over="width", cost=0.1, arm="vanilla"), "jsb-marginals"),
    "published-chorales": Claim("Trained for a hundred epochs or more, vanilla's best draws lie within 0.3 nats of the published 8.4 on chorales.",
        "[Greff], figure 3; [Bai], table 1",
        chorales.best_draws_published(
            "test_frame_loss", 8.4, within=0.3, after=100 * EPOCH, arm="vanilla", select="valid_loss"), "chorales",
        Published("8.45 nats, LSTM of Bai et al., table 1", "read in the paper")),
}  # fmt: skip


def shown(name: str, at: dict, metric: str, figure: str) -> tuple:
    """The figures of one task."""
    long = metric.replace("_", " ").capitalize()
    dots = {"arms": ("vanilla", "FGR", "GRU", "RNN", "IRNN"), "where": at, "phase": "tune"}
    return (
        marginals(f"{figure}-marginals", f"{long} on {name} that fANOVA predicts along each hyperparameter, the others averaged out; vanilla, bands hold 95 % of resamples.",
                  metric, arm="vanilla", where=at),
        shares(f"{figure}-shares", f"What vanilla's {long.lower()} on {name} owes to each hyperparameter.",
               metric, arm="vanilla", where=at),
        scatter(f"{figure}-size", f"{long} on {name} against the width, from 20 units (0) to the widest (1): every draw.",
                "width", metric, **dots),
        scatter(f"{figure}-time", f"{long} on {name} against the seconds that a trial took, its share of its pack: every draw.",
                "seconds", metric, **dots),
    )  # fmt: skip


FIGURES = (
    boxes("digits", "Test accuracy on digits of each variant's best tenth of draws, chosen on validation data; GRU and plain networks are there for scale.",
          "test_accuracy", mark="vanilla", judged=OTHERS, where=digits),
    boxes("chorales", "Test loss on JSB Chorales of each variant's best tenth of draws, chosen on validation data; GRU and plain networks are there for scale.",
          "test_loss", select="valid_loss", mark="vanilla", judged=OTHERS, where=chorales),
    sensitivity("digits-rate", "Validation accuracy on digits against the learning rate: every draw.",
                "valid_accuracy", where=digits),
    sensitivity("jsb-rate", "Validation loss on JSB Chorales against the learning rate: every draw.",
                "valid_loss", where=chorales),
    *(figure for one in READ for figure in shown(*one)),
)  # fmt: skip

STUDY = Study(
    question="Which parts of an LSTM does it need, when every variant is tuned with the same budget?",
    trial=trial,
    arms=ARMS,
    vary={"task": TASKS},
    nuisance={
        "lr": Float(1e-6, 1e-2, log=True), "width": Float(0.0, 1.0),
        "one_minus_momentum": Float(0.01, 1.0, log=True), "input_noise": Float(0.0, 1.0),
    },
    sampler="random",
    needs=dict.fromkeys(ARMS, "task"),
    fixed={"widest": 200, "epochs": 150, "patience": 15, "rate_times": 1, "examples": None},
    select=("valid_accuracy", "valid_loss"),
    metrics=METRICS,
    budgets=BUDGETS,
    claims=CLAIMS,
    figures=FIGURES,
)  # fmt: skip
