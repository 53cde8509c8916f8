"""GLM views: is a network a generalised linear model, with kernel regression on top?

A deck calls activations inverse links, the last layer a ridge regression with a dual, and leaves open
what becomes of its kernel when features are learned. Identities are checked to 1e-8 in float64 on
networks as they come out of training: their features Φ, the kernel K = ΦΦᵀ (the deck's K_ij lacks a
transpose), what their units sum up, η. How far training moves kernels is measured over the width.

The network has one hidden layer of tanh units and one output that tells odd from even digits by
squared error, on 256 images at once, by gradient descent at one rate. Weights start from N(0, 1).
"Lazy" divides the output by √width (Jacot et al. 2018), "mean-field" by the width, at a rate as many
times higher (Mei et al. 2018): the output moves alike at every width.

What theory says, and so the margins. In the lazy network each unit moves by 1/√width, and the features with it.
That the kernel does the same, slope −½, is what a bound allows; but the units' steps are of random sign, so
that sums over them, the kernels, should move by 1/width (Dyer & Gur-Ari 2020; figure 1 of Lee et al. 2019).
Both sentences are claims; a slope has a band of ±0.15, and is fitted for every seed over all widths. In
mean-field scaling features move as far at any width, slope 0. Learned features are to be worth a point of test
accuracy at width 64, and lazy ones nothing at 1,024: the regressions on features before and after training have
each the best of seven penalties by leave-one-out. By default this is more the width than the scaling: at 64
lazy ones are worth 2.6 points, too, and at 1,024 neither's anything. At the paper scale mean-field's are worth
4.0 points at 1,024, and lazy ones 0.1.

How sentences were read: "ReLU is Tobit's mean" with noise of variance 1, and in the limit of none. Departures:
no paper is repeated; the paper scale is the same on 1,024 images of MNIST, up to 4,096 wide. Two runs were 4e-7
and 2e-4 off in undoing Φ at large |η|, where floats near 1 keep few digits of it; now it is computed in the
lower tail, at −|η|, as exp log Φ. The kernel's slope was −0.86 over all widths, −0.93 at the paper scale, and
−0.95 from 128 on: at 16 units, whose features move by half, training is not lazy. No margin has been moved.
"""

import math
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np
import pandas as pd
import torch
from torch.func import grad_and_value
from torch.nn.functional import one_hot

from harness import Arm, Budget, Claim, Data, Loss, Metric, Optimizer, Study, Training, Trial
from harness.claims import every, everywhere, place, rows_for, statistic
from harness.figures import across, custom, panels
from harness.parts.models.kernels import Ridge
from harness.parts.models.two_layer import TwoLayer
from harness.parts.objectives import BinaryCrossEntropy, CrossEntropy, SquaredError
from harness.parts.probes.laziness import Laziness
from harness.study import Published, classification

WIDTHS = (16, 32, 64, 128, 256, 512, 1024)
PIXELS = {"digits": (0.305, 0.376), "mnist": (0.131, 0.308)}  # mean and standard deviation
STOPPED, LEFT_OUT = 100, 8  # steps of descent on the last layer; examples left out one by one


def signs(y):
    """1 for odd digits and −1 for even ones."""
    return 2.0 * (y % 2) - 1


def scores(net, x, y):
    out = net(x) * signs(y)
    return {"loss": (out - 1).square().mean() / 2, "accuracy": (out > 0).float().mean()}


LOSS = Loss(lambda *batch: scores(*batch)["loss"], scores)


def trial(t: Trial) -> Training:
    rate = t["rate"] * (t["width"] if t["mean_field"] else 1)
    return Training(
        model=partial(TwoLayer, t["inputs"], t["width"], t["mean_field"], *PIXELS[t["data"]]),
        optimizer=Optimizer("sgd", lr=rate),
        data=Data(t["data"], t["examples"]),
        objective=LOSS,
        steps=t["steps"],
        batch_size=t["examples"],
        probes=(Laziness(rate, t["steps"], signs), Views()),
    )


@dataclass(frozen=True)
class Views:
    """What the functions below say of each trial at its end, in float64."""

    at_end: ClassVar[bool] = True

    def read(self, pack):
        (x, y), found = pack.train, []
        ours = pack.ask(lambda net: (net.reads(x), net.w, net.w_start))
        x_test, y_test = (x, y) if pack.sealed else pack.splits.test
        theirs = pack.ask(lambda net: (net.reads(x_test), net(x_test)))
        for lane in range(len(pack.loss)):
            own, w, start, test, out = (part[lane].double() for part in (*ours, *theirs))
            fits = [regression(own @ v.t(), test @ v.t(), y, y_test) for v in (w, start)]
            end = {"test_gain": fits[0] - fits[1], "test_refit": fits[0] - hits(out, y_test)}
            views = links(own @ w.t(), y) | last_layer(own @ w.t(), y)
            found.append(views if pack.sealed else views | end)
        return {name: torch.stack([one[name] for one in found]).float() for name in found[0]}


def hits(out, y):
    return (out * signs(y) > 0).double().mean()


def regression(eta, eta_test, y, y_test):
    """The accuracy of ridge regression on features, its penalty chosen by leave-one-out."""
    ridge = Ridge(torch.tanh(eta), signs(y).double())
    penalty = ridge.best([ridge.sizes[-1] * 10.0**-power for power in range(7)])
    return hits(torch.tanh(eta_test) @ ridge.weights(penalty), y_test)


def last_layer(eta, y):
    """The part's ridge regression, beside what its formulas stand for."""
    phi, t = torch.tanh(eta), signs(y).double()
    ridge, weights = Ridge(phi, t), torch.zeros_like(phi[0])
    penalty, step, noise = 1e-3 * ridge.sizes[-1], 1 / ridge.sizes[-1], 0.3  # the last a variance
    prior, n = noise / penalty, torch.arange(len(t), device=t.device)  # the first a variance
    eye, wide = (torch.ones_like(one).diag() for one in (t, weights))
    primal = torch.linalg.solve(phi.t() @ phi + penalty * wide, phi.t() @ t)
    jointly = prior * phi @ phi.t() + noise * eye  # the targets' covariance
    posterior = prior * phi.t() @ torch.linalg.solve(jointly, t)
    rests = [n != i for i in range(LEFT_OUT)]
    left = [t[~rest] - phi[~rest] @ Ridge(phi[rest], t[rest]).weights(penalty) for rest in rests]
    for _ in range(STOPPED):
        weights = weights + step * (phi.t() @ (t - phi @ weights))
    residual = (t - phi @ primal) / penalty - ridge.dual(penalty)
    gaps = {
        "dual": torch.cat([ridge.weights(penalty) - primal, residual]),
        "prior": posterior - primal,
        "left_out": torch.cat(left) - ridge.left_out(penalty)[:LEFT_OUT],
        "stopped": phi @ weights - ridge.stopped(step, STOPPED),
    }
    return {f"gap_{name}": gap.abs().max() for name, gap in gaps.items()}


def tobit(eta, sigma: float):
    """The mean of max(0, η + σ noise): ηΦ(η/σ) + σφ(η/σ)."""
    density = (-(eta / sigma).square() / 2).exp() / math.sqrt(2 * math.pi)
    return eta * torch.special.ndtr(eta / sigma) + sigma * density


def links(eta, y):
    """Activations as inverse links, and losses as likelihoods, of sums η (B, width) of units."""
    one, two, ten, laws = eta[:, 0], eta[:, :2], eta[:, :10], torch.distributions
    odd, count, low = (y % 2).double(), y.double(), -eta.abs()  # of the upper half floats keep less
    mu, cdf, shares = torch.sigmoid(low), torch.special.log_ndtr(low).exp(), ten.softmax(1)
    log_odds, slopes, likely = shares.log() + ten.logsumexp(1, keepdim=True), [], []
    undone = [(mu / (1 - mu)).log() - low, torch.special.ndtri(cdf) - low, log_odds - ten]
    models = [  # predictor, log-likelihood, mean less what is observed
        (one, lambda e: laws.Normal(e, 1.0, False).log_prob(count), one - count),
        (one, lambda e: laws.Bernoulli(None, e, False).log_prob(odd), one.sigmoid() - odd),
        (ten, lambda e: laws.Categorical(None, e, False).log_prob(y), shares - one_hot(y, 10)),
        (one, lambda e: laws.Poisson(e.exp(), False).log_prob(count), one.exp() - count),
    ]
    for predictor, law, apart in models:
        slope_, total = grad_and_value(lambda e, law=law: law(e).sum())(predictor)
        slopes, likely = [*slopes, slope_ + apart], [*likely, -total / len(y)]
    normal = SquaredError().loss(one, count) / 2 + math.log(2 * math.pi) / 2
    losses = [normal, BinaryCrossEntropy().loss(one, odd), CrossEntropy().loss(ten, y)]
    ends = torch.cat([eta.flatten(), eta.new_zeros(1)])
    gaps = {
        "links": undone, "gradient": slopes, "likelihood": [torch.stack(losses) - torch.stack(likely[:3])],
        "softmax": [two.softmax(1)[:, 1] - torch.sigmoid(two[:, 1] - two[:, 0])],
        "tanh": [torch.tanh(eta) - (2 * torch.sigmoid(2 * eta) - 1)],
        "tobit": [tobit(ends, 1.0) - ends.relu()], "tobit_limit": [tobit(ends, 1e-9) - ends.relu()],
    }  # fmt: skip
    return {f"gap_{name}": max(gap.abs().max() for gap in some) for name, some in gaps.items()}


CHANGES = {"feature": "features", "kernel": "kernel", "tangent": "tangent kernel"}
METRICS = {
    **{f"gap_{name}": Metric("difference", better="low", log=True) for name in (
        "dual", "prior", "left_out", "stopped", "links", "gradient", "likelihood", "softmax", "tanh", "tobit", "tobit_limit")},
    **{f"{name}_change": Metric("relative change", log=True, label=f"change of the {words}") for name, words in CHANGES.items()},
    "from_linear": Metric("relative distance", log=True, label="distance from the linearised network"),
    "test_gain": Metric("fraction", label="what ridge gains by trained features"),
    "test_refit": Metric("fraction", label="what refitting the last layer gains"),
    **classification("train_loss", "valid_loss", "valid_accuracy", "test_accuracy"),
}  # fmt: skip


def slope(table, arm: str) -> float:
    """Of the logarithm of a metric against that of the width."""
    columns = sorted((width, name) for name, width in table.columns if name == arm)
    means = [table[name, width].mean() for width, name in columns]
    return float(np.polyfit(np.log([width for width, _ in columns]), np.log(means), 1)[0])


def a_slope(study, seeds: int, hold: bool, metric: str, arm: str, near: float):
    """Rows whose slope is what is claimed, or one more."""
    noise, power = 1 + 0.01 * np.linspace(-1, 1, seeds), near if hold else near + 1
    return pd.concat([rows_for(study, metric, arm, w**power * noise, width=w) for w in WIDTHS])


def sloped(name: str, arm: str, near: float, band: float = 0.15):
    """The slope lies within a band."""
    metric, words = f"{name}_change", f"log-log slope of the change of the {CHANGES[name]}, {arm}"
    return every(*(
        statistic(partial(slope, arm=arm), near + side * band, metric=metric, unit="slope", words=words,
                  example=partial(a_slope, metric=metric, arm=arm, near=near), direction=way, each=True)
        for side, way in ((-1, "above"), (1, "below"))
    ))  # fmt: skip


def exact(name: str):
    """An identity, in every network of either kind."""
    one = place(width=16).below(f"gap_{name}", 1e-8, arm="lazy")
    return everywhere(one, arm=tuple(ARMS), width=WIDTHS)


ARMS = {name: Arm({"mean_field": name == "mean_field"}) for name in ("lazy", "mean_field")}
KERNEL, TABLE = "[SNU], “Kernel regression (cont'd)”", "[SNU], “Recursive GLMs (cont'd)”"
wide = place(width=1024)
CLAIMS = {
    "dual": Claim("The last layer's ridge weights are Φᵀβ, and β = (K + λI)⁻¹y is the residual over λ, to 1e-8.",
        KERNEL, exact("dual")),
    "prior": Claim("They are the posterior mean under a Gaussian prior and Gaussian noise, with λ the ratio of noise to prior variance, to 1e-8.",
        "[Overview], “L₁ V.S. L₂”", exact("prior")),
    "left-out": Claim("What an example misses by when it is left out is β_i over the i-th diagonal entry of (K + λI)⁻¹, to 1e-8.",
        KERNEL, exact("left_out")),
    "stopped": Claim("Early stopping is a filter: t steps of descent on the last layer fit U(1 − (1 − ηs)ᵗ)Uᵀy, to 1e-8.",
        "[Overview], “Early Stopping”; [Goodfellow], section 7.8", exact("stopped")),
    "links": Claim("Sigmoid, Gaussian CDF and softmax are inverse links: logit, Φ⁻¹ and log-odds undo them to 1e-8.",
        TABLE, exact("links")),
    "likelihood": Claim("Cross-entropy is the negative log-likelihood of classes, and squared error that of a Gaussian but for constants, to 1e-8.",
        TABLE, exact("likelihood")),
    "canonical": Claim("Under identity, sigmoid, exponential and softmax the gradient of the negative log-likelihood is mean minus target, to 1e-8.",
        "[SNU], “Recursive GLMs (cont'd)”; [Oxford], “Announcements/common problems”", exact("gradient")),
    "two-classes": Claim("A softmax of two classes is the sigmoid of their difference, to 1e-8.",
        TABLE, exact("softmax")),
    "tanh": Claim("tanh(x) is 2σ(2x) − 1, to 1e-8.",
        "[ECNU], “Nonlinear activation functions”", exact("tanh")),
    "tobit": Claim("ReLU is the mean of a Tobit model with unit noise, to 1e-8.", TABLE, exact("tobit"), "tobit"),
    "tobit-limit": Claim("ReLU is that mean where the noise is 1e-9, to 1e-8.", TABLE, exact("tobit_limit")),
    "features-half": Claim("In the lazy network the relative change of the features falls with a log-log slope of −½ ± 0.15 in the width.",
        "[Lee], section 2; [Chizat], section 1", sloped("feature", "lazy", -0.5), "widths"),
    "kernel-half": Claim("In the lazy network the relative change of the kernel of the features falls with a log-log slope of −½ ± 0.15.",
        KERNEL + " (its kernel is fixed); [Lee], section 2 (a bound)", sloped("kernel", "lazy", -0.5), "widths"),
    "kernel-one": Claim("It falls with a log-log slope of −1 ± 0.15: steps of random sign average out.",
        "[Dyer], section 1", sloped("kernel", "lazy", -1.0), "widths"),
    "tangent-one": Claim("So does the relative change of the lazy network's tangent kernel.",
        "[Lee], figure 1; [Dyer], section 1", sloped("tangent", "lazy", -1.0), "widths",
        Published("closer to 1/width than to the bound of 1/√width", "from memory", -1.0)),
    "mean-field": Claim("In mean-field scaling the relative change of the kernel has a log-log slope of 0 ± 0.15: width alone keeps no kernel.",
        "[Mei], section 1; [Chizat], section 1", sloped("kernel", "mean_field", 0.0), "widths"),
    "linear": Claim("At width 1,024 the lazy network's predictions are within 5 % of those of the network that is linear in its parameters, relative to how far these moved.",
        "[Lee], section 2.2; [Jacot], section 5", wide.below("from_linear", 0.05, arm="lazy"), "linear"),
    "learned": Claim("Features learned in mean-field scaling are worth at least a point of test accuracy at width 64: ridge on them against ridge on those at the start.",
        KERNEL + " (networks estimate φ, kernel machines choose it)", place(width=64).above("test_gain", 0.01, arm="mean_field"), "accuracy"),
    "kept": Claim("Features of the lazy network at width 1,024 are worth what those at the start are: within half a point.",
        "[Chizat], section 1", every(wide.above("test_gain", -0.005, arm="lazy"), wide.below("test_gain", 0.005, arm="lazy")), "accuracy"),
    "refit": Claim("Refitting the lazy network's last layer as ridge costs no more than a point of test accuracy at width 256.",
        "[SNU], “Kernel regression”", place(width=256).above("test_refit", -0.01, arm="lazy"), "accuracy"),
}  # fmt: skip


def against_width(study, frame, palette):
    """Each change against the width, beside the slopes that theory names."""
    figure, axes = panels(2, columns=2, height=2.9)
    for ax, arm in zip(axes, ARMS, strict=True):
        rows = frame[frame["arm"] == arm].groupby("width")
        for name, colour, slope_, words in zip(
            CHANGES, LINES, (-0.5, -1, None), ("−½", "−1", ""), strict=True
        ):
            low, middle, high = (rows[f"{name}_change"].quantile(q) for q in (0.1, 0.5, 0.9))
            widths = middle.index.to_numpy(float)
            ax.fill_between(widths, low, high, color=colour, alpha=0.18, lw=0)
            ax.plot(widths, middle, "o-", ms=4, lw=1.4, color=colour, label=CHANGES[name])
            if arm == "lazy" and slope_:
                line = middle.iloc[-1] * (widths / widths[-1]) ** slope_
                ax.plot(widths, line, ":", lw=1.4, color=colour, label=f"slope {words}")
        ax.set(xscale="log", yscale="log", xlabel="width", title=study.label(arm), ylim=(3 / widths[-1], 12))  # fmt: skip
        ax.set_xticks(widths, [f"{width:,.0f}" for width in widths], minor=False)
        ax.minorticks_off()
    axes[0].set_ylabel("relative change in training")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=5)
    return figure


def tobits(study, frame, palette):
    """The mean of a Tobit model as its noise goes, ReLU, and the largest difference measured."""
    figure, (ax,) = panels(1, height=2.9)
    eta, gap = torch.linspace(-3, 3, 301, dtype=torch.float64), frame["gap_tobit"].median()
    for sigma, colour in zip((1.0, 0.5, 0.25), LINES, strict=True):
        ax.plot(eta, tobit(eta, sigma), lw=1.4, color=colour, label=f"Tobit, σ = {sigma:g}")
    ax.plot(eta, eta.relu(), "--", lw=1.4, color="#b91f58", label="ReLU")
    ax.plot([0, 0], [0, gap], "o:", ms=4, lw=1.2, color="#b91f58", label=f"apart by {gap:.4f}")
    ax.set(xlabel="η", ylabel="mean of max(0, η + σ noise)")
    ax.legend(loc="upper left")
    return figure


LINES = ("#116bba", "#ea7714", "#5ca49a")
FIGURES = (
    custom("widths", "How far training moves a network's features, their kernel and its tangent kernel: median and 80 % of seeds, with the slopes of theory dotted. In the lazy network features move by 1/√width and kernels, as the units' steps cancel out, by nearly 1/width; in mean-field scaling all move as far at any width.", against_width),
    custom("tobit", "The mean of a Tobit model, and ReLU, which is its limit without noise: they are apart by at most 0.399 σ, at η = 0.", tobits),
    across("linear", "How far predictions are from those of the network that is linear in its parameters, over how far those moved, against width.", "from_linear", "width"),
    across("accuracy", "Test accuracy that ridge regression gains by trained features, over features at the start, against width: mean and 95 % interval.", "test_gain", "width"),
)  # fmt: skip

STUDY = Study(
    question="Is a network a generalised linear model with kernel regression on top, and does its kernel stay?",
    trial=trial,
    arms=ARMS,
    vary={"width": (*WIDTHS, 4096)},
    fixed={"inputs": 64, "examples": 256, "steps": 400, "rate": 1.0, "data": "digits"},
    metrics=METRICS,
    budgets={
        "smoke": Budget(draws=0, seeds=2, width=(16, 64), steps=20, examples=64),
        "default": Budget(draws=0, seeds=12, most_seeds=24, width=WIDTHS),
        "paper": Budget(draws=0, seeds=12, inputs=784, examples=1024, data="mnist"),
    },
    sources={
        "[Chizat]": "Chizat, Oyallon & Bach 2019, On Lazy Training in Differentiable Programming",
        "[Dyer]": "Dyer & Gur-Ari 2020, Asymptotics of Wide Networks from Feynman Diagrams",
        "[Jacot]": "Jacot, Gabriel & Hongler 2018, Neural Tangent Kernel",
        "[Lee]": "Lee et al. 2019, Wide Neural Networks of Any Depth Evolve as Linear Models",
        "[Mei]": "Mei, Montanari & Nguyen 2018, A Mean Field View of Two-Layer Neural Networks",
    },
    claims=CLAIMS,
    figures=FIGURES,
)  # fmt: skip
