"""LSTM variants: does any of them beat vanilla, and which of its parts does it need?

Greff et al. (2015) took one part of the LSTM away at a time, gave each variant the same 200 draws
of its hyperparameters on three data sets, and compared the best tenth of each. Here the same nine
variants, search ranges and rule of comparison: one sequence an update, Nesterov momentum with the
learning rate scaled by one minus it, no gradient clipping, weights and biases from N(0, 0.1), early
stopping that goes back to the best record.

Departures. At the default scale the task is handwritten digits read row by row, eight steps of
eight pixels with mean 0 and variance 1, with at most 64 units, 60 draws and 5 epochs. Learning
rates are ten times the paper's there: one output of a sequence has a loss, where speech and
handwriting have one at every frame, and at the paper's own rates all but 2 of 16 draws of a pilot
were under 30 % accuracy after 8 epochs. Of the paper's three data sets only JSB Chorales is
public; its loss is the mean over sequences of the mean negative log-likelihood of a step, summed
over 88 notes, of every step but the first. Settings are chosen on validation data by accuracy on
digits and by loss on chorales. What is drawn of the width is its place in the range, so that one
distribution serves every scale: hidden units are 20 (widest / 20)^width, rounded, and rates are lr
times `rate_times`.
"""

from functools import partial

from torch import Tensor, nn

from harness import (
    Arm,
    Budget,
    Claim,
    Data,
    Float,
    Metric,
    Optimizer,
    Published,
    Stop,
    Study,
    Training,
    Trial,
)
from harness.cells import VARIANTS, Recurrent
from harness.claims import (
    best_draws_equivalent,
    best_draws_higher,
    best_draws_lower,
    everywhere,
    share_above,
    share_below,
)
from harness.figures import boxes, sensitivity
from harness.objectives import Bernoulli

# Trials of a range of widths share a program that is as wide as the widest of them.
PROGRAMS = (32, 48, 64, 96, 128, 160, 200)

MEAN, SPREAD = 0.305, 0.376  # of the training digits' pixels


class DigitRows(nn.Module):
    """A recurrent network that reads an 8x8 digit (B, 64) row by row and puts out logits (B, 10).
    It reads pixels with mean 0 and variance 1."""

    def __init__(self, variant: str, hidden: int) -> None:
        super().__init__()
        self.network = Recurrent(variant, 8, hidden, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.network((x - MEAN) / SPREAD)


def trial(t: Trial) -> Training:
    hidden = round(20 * (t["widest"] / 20) ** t["width"])
    padded = next(wide for wide in PROGRAMS if hidden <= wide)
    noise, rate = t["input_noise"], t["lr"] * t["rate_times"] * t["one_minus_momentum"]
    if t["task"] == "digits":
        build = partial(DigitRows, t["variant"])
        noise *= SPREAD
        stop = Stop("valid_accuracy", t["patience"], better="high", restore=True)
    else:
        build = partial(Recurrent, t["variant"], 88, outputs=88, every_step=True, ragged=True)
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
    )


LABELS = {
    "vanilla": "vanilla",
    "NIG": "no input gate",
    "NFG": "no forget gate",
    "NOG": "no output gate",
    "NIAF": "no input activation",
    "NOAF": "no output activation",
    "NP": "no peepholes",
    "CIFG": "coupled gates",
    "FGR": "full gate recurrence",
}
ARMS = {name: Arm({"variant": name}, label=LABELS[name]) for name in VARIANTS}
OTHERS = [name for name in VARIANTS if name != "vanilla"]

POINT = 0.01  # of accuracy, the band of no difference on digits
NATS = 0.1  # a step, the band on chorales: a quarter of what an LSTM gains there on a plain RNN


STUDY = Study(
    question="Which parts of an LSTM does it need, when every variant is tuned with the same budget?",
    trial=trial,
    arms=ARMS,
    vary={"task": ("digits", "jsb_chorales")},
    nuisance={
        "lr": Float(1e-6, 1e-2, log=True),
        "width": Float(0.0, 1.0),
        "one_minus_momentum": Float(0.01, 1.0, log=True),
        "input_noise": Float(0.0, 1.0),
    },
    sampler="random",
    fixed={"widest": 200, "epochs": 150, "patience": 15, "rate_times": 1, "examples": None},
    select=("valid_accuracy", "valid_loss"),
    metrics={
        "train_loss": Metric("nats", better="low", log=True),
        "valid_loss": Metric("nats", better="low", log=True),
        "test_loss": Metric("nats", better="low", log=True),
        "valid_accuracy": Metric("fraction", better="high", worst=0.0),
        "test_accuracy": Metric("fraction", better="high", worst=0.0),
    },
    budgets={
        "smoke": Budget(draws=2, seeds=0, task=("digits",), widest=24, epochs=1, examples=60),
        "default": Budget(
            draws=60, seeds=0, task=("digits",), widest=64, epochs=5, patience=3, rate_times=10
        ),
        "paper": Budget(draws=200, seeds=0, task=("jsb_chorales",)),
    },
    sources={
        "[SNU]": "Neural Networks and Deep Learning, SNU 2016",
        "[Greff]": "Greff et al. 2015, LSTM: A Search Space Odyssey",
    },
    claims=(
        Claim(
            "No variant is better than vanilla by half a point or more on digits.",
            "[SNU], “LSTM variants: performance comparison (cont'd)”; [Greff], section 5.1",
            everywhere(
                best_draws_lower(
                    "test_accuracy", arm="NIG", than="vanilla", by=-0.005, task="digits"
                ),
                arm=OTHERS,
            ),
            id="vanilla-digits",
            figure="digits",
        ),
        Claim(
            "No variant is better than vanilla by a twentieth of a nat a step or more on chorales.",
            "[SNU], “LSTM variants: performance comparison (cont'd)”; [Greff], section 5.1",
            everywhere(
                best_draws_higher(
                    "test_loss",
                    arm="NIG",
                    than="vanilla",
                    by=-0.05,
                    task="jsb_chorales",
                    select="valid_loss",
                ),
                arm=OTHERS,
            ),
            id="vanilla-chorales",
            figure="chorales",
            published=Published(
                "best test loss 8.38 nats, by the variant without input activation", "from memory"
            ),
        ),
        *(
            Claim(
                f"Without its {part} the LSTM is worse on digits.",
                "[SNU], “LSTM variants: performance comparison (cont'd)”; [Greff], section 5.1",
                best_draws_lower("test_accuracy", arm=arm, than="vanilla", task="digits"),
                id=f"{arm.lower()}-digits",
                figure="digits",
            )
            for arm, part in (("NFG", "forget gate"), ("NOAF", "output activation"))
        ),
        *(
            Claim(
                f"Without its {part} the LSTM is worse on chorales.",
                "[SNU], “LSTM variants: performance comparison (cont'd)”; [Greff], section 5.1",
                best_draws_higher(
                    "test_loss", arm=arm, than="vanilla", task="jsb_chorales", select="valid_loss"
                ),
                id=f"{arm.lower()}-chorales",
                figure="chorales",
            )
            for arm, part in (("NFG", "forget gate"), ("NOAF", "output activation"))
        ),
        *(
            Claim(
                f"{words} makes no difference of a point on digits.",
                "[SNU], “LSTM variants: performance comparison (cont'd)”; [Greff], section 5.1",
                best_draws_equivalent(
                    "test_accuracy", arm=arm, to="vanilla", within=POINT, task="digits"
                ),
                id=f"{arm.lower()}-digits",
                figure="digits",
            )
            for arm, words in (
                ("CIFG", "Coupling the input and forget gates"),
                ("NP", "Leaving the peepholes out"),
            )
        ),
        *(
            Claim(
                f"On music the {part} hardly matters: without it the loss is within a tenth of a nat of vanilla's.",
                "[Greff], section 5.1",
                best_draws_equivalent(
                    "test_loss",
                    arm=arm,
                    to="vanilla",
                    within=NATS,
                    task="jsb_chorales",
                    select="valid_loss",
                ),
                id=f"{arm.lower()}-chorales",
                figure="chorales",
            )
            for arm, part in (
                ("NIG", "input gate"),
                ("NOG", "output gate"),
                ("NIAF", "input activation"),
            )
        ),
        *(
            Claim(
                f"The learning rate explains more than half of the variance of {what}.",
                "[SNU], “LSTM variants: performance comparison (cont'd)”; [Greff], section 5.2",
                share_above(metric, 0.5, of="lr", arm="vanilla", task=task),
                id=f"rate-{task.split('_')[0]}",
                figure=f"{task.split('_')[0]}-rate",
                published=Published("over two thirds", "from memory"),
            )
            for metric, task, what in (
                ("test_accuracy", "digits", "test accuracy on digits"),
                ("test_loss", "jsb_chorales", "test loss on chorales"),
            )
        ),
        Claim(
            "Momentum hardly matters: it explains less than a tenth of the variance on digits.",
            "[Greff], section 5.2",
            share_below(
                "test_accuracy", 0.1, of="one_minus_momentum", arm="vanilla", task="digits"
            ),
            id="momentum-digits",
            published=Published("under 1 %", "from memory"),
        ),
        Claim(
            "Learning rate and width can be tuned one by one: their interaction explains less than a tenth of the variance on digits.",
            "[Greff], section 5.2",
            share_below("test_accuracy", 0.1, of=("lr", "width"), arm="vanilla", task="digits"),
            id="interaction-digits",
        ),
    ),
    figures=(
        boxes(
            "digits",
            "Test accuracy on digits of each variant's best tenth of draws, chosen on validation data.",
            "test_accuracy",
            mark="vanilla",
            where={"task": "digits"},
        ),
        boxes(
            "chorales",
            "Test loss on JSB Chorales of each variant's best tenth of draws, chosen on validation data.",
            "test_loss",
            select="valid_loss",
            mark="vanilla",
            where={"task": "jsb_chorales"},
        ),
        sensitivity(
            "digits-rate",
            "Validation accuracy on digits against the learning rate: every draw.",
            metric="valid_accuracy",
            where={"task": "digits"},
        ),
        sensitivity(
            "jsb-rate",
            "Validation loss on JSB Chorales against the learning rate: every draw.",
            metric="valid_loss",
            where={"task": "jsb_chorales"},
        ),
    ),
)
