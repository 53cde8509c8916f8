"""Adversarial examples: how small a change makes a network err, and what does it cost to prevent that?

Logistic regression, a network of two hidden layers and a small convolutional one on 28x28 images in
[0, 1]; the same layers trained on images that are moved against them (one step, FGSM; seven, PGD). Rates are
tuned with the same draws for all, on clean validation images. Attacks are at the end, on the first 1,000
test images, and know the network. Images of 14x14 and 7x7 are means of four and sixteen pixels.

How ECNU's slide was read: "a small change" is a shift of every pixel by at most ε = 0.1 or 0.25, as in the
paper it rests on; "just a few pixels" are the 20 of 784 whose gradient is largest, set to black or white as
the gradient has it. That the change is small for an image and not for noise is the control: random signs of the same
size. That "learning algorithms … not susceptible" exist is read as training against FGSM or PGD.

Exact is the worst shift of a linear score w·x: ε‖w‖₁, reached by FGSM (Goodfellow et al. 2015, section 3). It is
measured on the difference of the scores of two classes, without the bounds of the pixels.

Departures: 5,000 images of MNIST by default, and MNIST at the paper scale, without maxout and with fewer epochs than
the papers'; adversarial training sees moved images only, of ε = 0.1. Margins were fixed before any run. What a first
run refuted: images of 7x7 were no more robust than of 28x28: logistic regression gained 1.1 points. At the paper
scale, with more images, random signs of a quarter leave half of the images right for logistic regression (88 % for
two hidden layers), and a tenth by FGSM as many for two hidden layers (1.5 % for logistic regression); training
against PGD was not trained to its end there. A 7x7 image is shifted, and clipped, on its 28x28 pixels. That FGSM
looks weaker than PGD is no matter of training against it alone: under FGSM such a network is 3.5 points more
accurate than under PGD, one trained on clean images 13.
"""

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
from torch import nn
from torch.func import grad
from torch.nn import functional as F

from harness import Arm, Budget, Claim, Data, Float, Metric, Optimizer, Study, Training, Trial
from harness.claims import everywhere, place
from harness.figures import across, custom, intervals, panels, pictures, sensitivity
from harness.parts.attacks import Robust, adversarial, moved
from harness.parts.objectives import CrossEntropy
from harness.parts.probes.pictures import names, packed
from harness.parts.schedules import Cosine
from harness.study import Published, classification

SHIFTS = (2, 5, 10, 15, 20, 25, 30)  # percent of the range of a pixel
TRAINED_AT, FEW = 10, 20  # that of adversarial training; pixels of a sparse attack
SHOWN = 4  # images drawn


class Shrunk(nn.Module):
    """(B, 28, 28) to (B, side²): means of neighbouring pixels."""

    def __init__(self, side: int) -> None:
        super().__init__()
        self.by = 28 // side

    def forward(self, x):
        return F.avg_pool2d(x.reshape(-1, 1, 28, 28), self.by).flatten(1)


def network(kind: str, side: int, units: int) -> nn.Module:
    """(B, 28, 28) in [0, 1] to (B, 10) logits."""
    layers = {
        "logistic": [nn.Linear(side**2, 10)],
        "mlp": [nn.Linear(side**2, units), nn.ReLU(), nn.Linear(units, units), nn.ReLU(), nn.Linear(units, 10)],
        "cnn": [nn.Unflatten(1, (1, side)), nn.Conv2d(1, 8, 5, stride=2), nn.ReLU(), nn.Conv2d(8, 16, 5, stride=2),
                nn.ReLU(), nn.Flatten(), nn.Linear(16 * 16, 10)],
    }  # fmt: skip
    return nn.Sequential(*([Shrunk(side)] if kind != "cnn" else []), *layers[kind])


def clean(x, y, net):
    return lambda near: F.cross_entropy(net(near), y)


@dataclass(frozen=True)
class Attacks:
    """Of the first test images: accuracy where `FEW` pixels are set (``few_test_accuracy``); how much
    better it looks under FGSM than under PGD (``overstated_test``); and by how much FGSM moves the
    difference of two classes' scores, over ε times the gradient's L1 norm (``shift_test``)."""

    most: int = 1000
    at_end: ClassVar[bool] = True

    def read(self, pack):
        x, y = (part[: self.most] for part in pack.splits.test)

        def few(net):
            slope = grad(clean(x, y, net))(x).flatten(1)  # (n, 784)
            largest = slope.abs().argsort(1, descending=True).argsort(1) < FEW
            near = torch.where(largest, (slope > 0).float(), x.flatten(1)).view_as(x)
            return (net(near).argmax(-1) == y).float().mean()

        def shift(net):
            score = lambda near: (net(near)[:, 1] - net(near)[:, 0]).sum()  # noqa: E731
            slope = grad(score)(x)
            change = score(x + TRAINED_AT / 100 * slope.sign()) - score(x)
            return change / (TRAINED_AT / 100 * slope.abs().sum())

        of = pack.metrics
        over = of[f"fgsm_test_accuracy_{TRAINED_AT}"] - of[f"pgd_test_accuracy_{TRAINED_AT}"]
        return {
            "few_test_accuracy": pack.ask(few),
            "shift_test": pack.ask(shift),
            "overstated_test": over,
        }


@dataclass(frozen=True)
class Pairs:
    """Test images, and below them what FGSM makes of them, as a picture ``pair``."""

    size: float
    at_end: ClassVar[bool] = True

    def read(self, pack):
        x, y = (part[:SHOWN] for part in pack.splits.test)

        def drawn(net):
            near = moved(clean(x, y, net), x, self.size)
            return (
                torch.stack([x, near]).transpose(1, 2).flatten()
            )  # (2, n, 28, 28) -> rows of images

        return packed("pair", pack.ask(drawn))


KINDS = {"logistic": "logistic", "mlp": "mlp", "cnn": "cnn", "fgsm": "mlp", "pgd": "mlp"}
LOSSES = {"fgsm": adversarial(TRAINED_AT / 100), "pgd": adversarial(TRAINED_AT / 100, steps=7)}


def trial(t: Trial) -> Training:
    probes = [Robust(f"fgsm_test_accuracy_{e}", e / 100) for e in SHIFTS]
    probes += [Robust(f"noise_test_accuracy_{e}", e / 100, steps=0) for e in SHIFTS]
    probes += [Robust(f"pgd_test_accuracy_{TRAINED_AT}", TRAINED_AT / 100, steps=20), Attacks()]
    drawn = t["side"] == 28 and t.seed == 0
    return Training(
        model=partial(network, KINDS[t.arm], t["side"], t["units"]),
        optimizer=Optimizer("momentum", Cosine(), lr=t["lr"]),
        data=Data(t["data"]),
        objective=LOSSES.get(t.arm, CrossEntropy()),
        steps=t["steps"],
        batch_size=t["batch_size"],
        probes=(*probes, *([Pairs(0.25)] if drawn else [])) if t.phase == "confirm" else (),
    )


ARMS = {
    "logistic": Arm({}, label="logistic regression"),
    "mlp": Arm({}, label="two hidden layers"),
    "cnn": Arm({}, label="convolutional"),
    "fgsm": Arm({}, label="trained on FGSM"),
    "pgd": Arm({}, label="trained on PGD"),
}
PLAIN = ("logistic", "mlp", "cnn")


def included(arm, cell) -> bool:
    return cell["side"] == 28 or arm in ("logistic", "mlp")


def accuracy(label: str) -> Metric:
    return Metric("fraction", better="high", worst=0.0, label=label)


METRICS = {
    **classification(),
    **{f"{kind}_test_accuracy_{e}": accuracy(f"test accuracy under {words}, ε {e} %")
       for kind, words in (("fgsm", "FGSM"), ("noise", "random signs")) for e in SHIFTS},
    f"pgd_test_accuracy_{TRAINED_AT}": accuracy(f"test accuracy under PGD, ε {TRAINED_AT} %"),
    "few_test_accuracy": accuracy(f"test accuracy with {FEW} pixels set"),
    "overstated_test": Metric("fraction", better="low", label="accuracy under FGSM less that under PGD"),
    "shift_test": Metric("ratio", label="shift of a score over ε times the gradient's L₁ norm"),
    **{name: Metric("pixels") for name in names("pair", 2 * SHOWN * 28 * 28)},
}  # fmt: skip
BUDGETS = {
    "smoke": Budget(draws=2, seeds=1, steps=40, side=(28,)),
    "default": Budget(draws=8, seeds=8, most_seeds=32, futility=0.05, finalists=3),
    "paper": Budget(draws=12, seeds=10, most_seeds=40, finalists=3, steps=20_000, units=800, data="mnist"),
}  # fmt: skip

full, tiny = place(side=28), place(side=7)
ECNU, GOOD = "[ECNU], “Adversarial examples”", "[Goodfellow15], section 4"
CLAIMS = {
    "most-are-wrong": Claim("A shift of every pixel by a quarter makes most test images wrong, for all three kinds of network: under FGSM accuracy is below 50 %.",
        ECNU + "; " + GOOD,
        everywhere(full.below("fgsm_test_accuracy_25", 0.5, arm="mlp"), arm=PLAIN), "shifts",
        Published("99.9 % error (softmax), 89.4 % (maxout), MNIST", "read in the paper", 0.106)),
    "noise-does-not": Claim("Random signs of the same size do not: accuracy stays above 80 %.",
        GOOD, everywhere(full.above("noise_test_accuracy_25", 0.8, arm="mlp"), arm=PLAIN), "shifts"),
    "small-is-enough": Claim("A tenth is enough for logistic regression and for two hidden layers.",
        ECNU, everywhere(full.below("fgsm_test_accuracy_10", 0.5, arm="mlp"), arm=("logistic", "mlp")), "shifts"),
    "few-pixels": Claim("So is setting 20 of 784 pixels.",
        ECNU + " (“just a few pixels”)", everywhere(full.below("few_test_accuracy", 0.5, arm="mlp"), arm=("logistic", "mlp")), "few"),
    "linear-shift": Claim("The worst shift of a linear score is ε‖w‖₁, which FGSM reaches to a thousandth (exact).",
        "[Goodfellow15], section 3", full.above("shift_test", 0.999, arm="logistic"), "linear"),
    "nearly-linear": Claim("A network of two hidden layers is nearly as linear: FGSM moves its score by more than half of ε times the gradient's L₁ norm.",
        "[Goodfellow15], section 3 (against [ECNU], “discontinuous”)", full.above("shift_test", 0.5, arm="mlp"), "linear"),
    "dimension": Claim("At a fixed shift it grows with the number of pixels: at 0.1 images of 7x7 are more than 20 points more accurate than of 28x28.",
        "[Goodfellow15], section 3; [Simon-Gabriel], abstract",
        tiny.higher("fgsm_test_accuracy_10", arm="logistic", than="logistic", by=0.2, against=dict(full)), "dimension"),
    "training-helps": Claim("Training against PGD makes the network more than 20 points more accurate under PGD.",
        "[Madry], abstract; " + ECNU, full.higher("pgd_test_accuracy_10", arm="pgd", than="mlp", by=0.2), "pgd",
        Published("92.5 % under PGD (MNIST, ε 0.3)", "read in the paper")),
    "one-step-is-less": Claim("Training against FGSM is worth less: under PGD it is more than one point less accurate than training against PGD.",
        "[Madry], section 5", full.lower("pgd_test_accuracy_10", arm="fgsm", than="pgd", by=0.01), "pgd"),
    "looks-robust": Claim("It looks better than it is: under FGSM it is more than two points more accurate than under PGD.",
        "[Madry], section 5", full.above("overstated_test", 0.02, arm="fgsm"), "pgd"),
    "costs": Claim("Training against PGD costs clean accuracy: more than half a point.",
        "[Tsipras], abstract (against [Goodfellow15], section 6: 0.94 to 0.78 % error)", full.lower("test_accuracy", arm="pgd", than="mlp", by=0.005), "clean"),
}  # fmt: skip


def by_shift(study, frame, palette):
    """Accuracy against ε, under FGSM and under random signs."""
    figure, axes = panels(2, columns=2, height=2.2)
    rows = frame[(frame["phase"] == "confirm") & (frame["side"] == 28)].groupby("trial").last()
    for ax, kind, title in zip(axes, ("fgsm", "noise"), ("FGSM", "random signs"), strict=True):
        for arm in study.arms:
            own = rows[rows["arm"] == arm]
            drawn = [
                own["test_accuracy"].mean(),
                *(own[f"{kind}_test_accuracy_{e}"].mean() for e in SHIFTS),
            ]
            ax.plot(
                (0, *SHIFTS),
                [100 * a for a in drawn],
                "o-",
                ms=2.5,
                color=palette[arm],
                label=study.label(arm),
            )
        ax.set(
            title=title,
            xlabel="shift of each pixel, ε (%)",
            ylabel="test accuracy (%)",
            ylim=(-2, 102),
        )
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=5)
    return figure


FIGURES = (
    pictures("pairs", "Four test images, and below them what FGSM makes of them with ε = 0.25: a person still reads them (seed 0).",
             "pair", shape=(2 * 28, SHOWN * 28), where=full, arms=("mlp", "cnn", "pgd"), colours=False),
    custom("shifts", "Test accuracy against the shift, along the gradient's sign and along random signs.", by_shift),
    intervals("few", "Test accuracy where 20 of 784 pixels are set to black or white.", "few_test_accuracy", where=full),
    intervals("linear", "By how much FGSM moves the difference of two classes' scores, over what it would move a linear score of that gradient: one for logistic regression.", "shift_test", where=full),
    across("dimension", "Test accuracy under FGSM with ε = 0.1 against the side of the images.", "fgsm_test_accuracy_10", "side", arms=("logistic", "mlp")),
    intervals("pgd", "Test accuracy under 20 steps of PGD with ε = 0.1.", "pgd_test_accuracy_10", where=full),
    intervals("clean", "Test accuracy of clean images.", "test_accuracy", where=full),
    sensitivity("sensitivity", "Validation accuracy against the rate: every draw of the tune phase.", "valid_accuracy", where=full),
)  # fmt: skip

STUDY = Study(
    question="How small a change makes a network err, and what does it cost to prevent that?",
    trial=trial,
    arms=ARMS,
    vary={"side": (7, 14, 28)},
    include=included,
    nuisance={"lr": Float(1e-3, 1.0, log=True)},
    fixed={"steps": 600, "batch_size": 50, "units": 64, "data": "mnist_5k"},
    select=("valid_accuracy", "valid_loss"),
    metrics=METRICS,
    budgets=BUDGETS,
    sources={
        "[Goodfellow15]": "Goodfellow, Shlens & Szegedy 2015, Explaining and harnessing adversarial examples",
        "[Madry]": "Madry et al. 2018, Towards deep learning models resistant to adversarial attacks",
        "[Tsipras]": "Tsipras et al. 2019, Robustness may be at odds with accuracy",
        "[Simon-Gabriel]": "Simon-Gabriel et al. 2019, First-order adversarial vulnerability of neural networks and input dimension",
    },
    claims=CLAIMS,
    figures=FIGURES,
)  # fmt: skip
