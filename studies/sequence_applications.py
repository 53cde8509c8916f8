"""Sequence applications: what do attention and reversed sources buy, what do gates, and is an RNN a state-space model?

SNU's applications, on sources of which the best possible is known, so that floors are exact.

*Translation*: sentences of 4, 8 or 12 of 16 words, none twice, are said word by word, but an adjective (6 words are)
comes after the noun. Encoder and decoder have 32 gated units, additive attention or none, and read the source
forward or from its end; there is a network for each length. *Characters*: 33 symbols of a text that asks for names,
as SNU's “Jane … said hi to”: one of four, letters, of which each is the last with chance 0.15, a sign, the name again.
What a symbol takes at the least is computed, for all of the past and for the last two symbols. *Captions*: “red square
left of blue cross” of a noisy 8x8 picture, by a convolution and an LSTM, or by an LSTM that is told which objects
there are: of such a bag four captions are equally likely. *State space*: a linear RNN with Gaussian outputs, whose
transitions have no noise or noise of variance 1, beside the joint density of 20 steps.

How sentences were read. SNU's “representation of source” is the state after the last word, and nothing more, without
attention. Sutskever et al. reversed sources without attention; that it does nothing beside attention is read as a
gain of less than two points. “Tends to predict better for the paragraph 1” is accuracy on the name by the letters in
between. SNU writes the likelihood as a product over steps of an integral over that step's transition alone; so noise
of the last transition is integrated out, and the state before it is what the network says.

Departures: gated units translate, where SNU has LSTMs; no WMT, no COCO, at any scale; Shakespeare at the paper scale
only. Rates are tuned with the same draws for all; n-grams are counted; networks of the state space stand at the
truth, and only the filter is trained. Margins were fixed before any run and have not moved; pilots of two seeds set
words, updates and the scale of initial weights. In a first run rates were drawn from 0.003 to 0.06, three a cell,
and one further seed told two finalists apart, by accuracy: attention's rate at 12 words was the highest drawn,
where seeds lay 5 points apart. It refuted that attention stays flat, that it does as well at 12 words as none at 4,
and that reversing does nothing beside it. Knowing that, the range was lowered, sentences of 4 and 12 words got
four draws (of 8 words two), two seeds decided there and for captions, by loss, and captions had a quarter more
updates. A second run left two of the three on their margins (attention lost 9.8 points from 4 words to 12, and was
half a point above none at 4) and refuted the third by 1.4 points, for 600 updates a translation did not end
attention's training. Knowing that, they have 1,000, where three seeds of a pilot had 97 to 99 % of 12 validation
words right. All three hold now. Refuted: with more updates the first of 12 words is also learned forward, and
reversing gains 38 points there, not 50.
"""

from functools import partial

from harness import Arm, Budget, By, Claim, Data, Float, Metric, Optimizer, Study, Training, Trial
from harness.claims import every, everywhere, place
from harness.figures import blank, custom, intervals, panels, sensitivity
from harness.parts.data import load, made
from harness.parts.models import CAPTIONED, Captioner, Recurrent, Translator, scheduled_sampling
from harness.parts.models.ngrams import NGram
from harness.parts.models.state_space import Series
from harness.parts.objectives import CrossEntropy
from harness.parts.probes.language import Alignment, Asked, Captions, Places
from harness.parts.probes.pictures import names, unpacked
from harness.parts.probes.state_space import Likelihood
from harness.parts.schedules import Cosine
from harness.study import Published, classification

LENGTHS, LONGEST, TEXT = (4, 8, 12), 12, 33
MOST, SHOWN, STEPS = 15, 4, 20  # letters and pictures that are drawn; steps of a series
SENTENCE = 1  # the test sentence whose alignment is drawn
STILL = {"lr": 1e-30}  # a rate at which nothing moves
SOURCE = made.names()
DATA = {
    **{f"words_{n}": Data.of(partial(made.sentences, n), name=f"words_{n}") for n in LENGTHS},
    "names": Data.of(partial(made.texts, SOURCE, TEXT), name="names", duplicates="allow"),
    "shakespeare": Data("tinyshakespeare", length=64),
    "pictures": Data.of(made.captions, name="pictures"),
}


ATTENTION = {"forward": ("none", False), "reversed": ("none", True),
             "attention": ("additive", False), "attention_reversed": ("additive", True)}  # fmt: skip
ORDERS = {"unigram": 1, "bigram": 2, "trigram": 3}
CELLS = {"rnn": "RNN", "gru": "GRU", "lstm": "vanilla"}
NOISE = {"state": 0.0, "noisy": 1.0, "filter": 1.0}


def trial(t: Trial) -> Training:
    optimizer, updates, units = Optimizer("adam", Cosine(), lr=t["lr"], clip=1.0), t["updates"], t["units"]  # fmt: skip
    if t.arm in NOISE:
        noise = NOISE[t.arm]
        return Training(
            partial(Series, noise, STEPS, 64), optimizer, steps=updates, every=updates,
            probes=(Likelihood(noise, STEPS),),
        )  # fmt: skip
    data, probes, objective = DATA[t["task"]], (), CrossEntropy()
    if t.arm in ATTENTION:
        kind, back = ATTENTION[t.arm]
        model, objective = partial(Translator, made.WORDS, units, kind, back), scheduled_sampling()
        probes = (Places(), *([Alignment(SENTENCE)] if kind == "additive" else []))
    elif t["task"] == "pictures":
        told = 9 if t.arm == "bag" else 0
        model, objective = partial(Captioner, len(made.SAID), 5, units, told), CAPTIONED
        probes = (Captions(SHOWN),)
    else:
        symbols = 9 if t["task"] == "names" else 65
        probes = (Asked(SOURCE, TEXT, ORDERS.get(t.arm, 0), MOST),) if t["task"] == "names" else ()
        if t.arm in ORDERS:
            model, updates = partial(NGram, ORDERS[t.arm], symbols, data), 1
        else:
            given = {"every_step": True, "std": 1.7 * units**-0.5}
            model = partial(Recurrent, CELLS[t.arm], symbols, units, symbols, **given)
    return Training(
        model, optimizer, data, objective, steps=updates, every=updates, batch_size=t["batch_size"],
        probes=probes if t.phase == "confirm" else (),
    )  # fmt: skip


ARMS = {
    "forward": Arm({}, label="no attention"), "reversed": Arm({}, label="no attention, reversed"),
    "attention": Arm({}, label="attention"), "attention_reversed": Arm({}, label="attention, reversed"),
    **{name: Arm({}, held=STILL) for name in ORDERS},
    "rnn": Arm({}, label="RNN"), "gru": Arm({}, label="GRU"), "lstm": Arm({}, label="LSTM"),
    "captioner": Arm({}, label="convolution + LSTM"), "bag": Arm({}, label="bag of objects + LSTM"),
    "state": Arm({}, held=STILL, label="no noise"), "noisy": Arm({}, held=STILL, label="noise"),
    "filter": Arm({}, held={"lr": 0.02}, label="noise, RNN trained"),
}  # fmt: skip
WORDS = [f"words_{n}" for n in LENGTHS]
RUNS = {
    **dict.fromkeys(WORDS, tuple(ATTENTION)[:3]), "words_12": tuple(ATTENTION),
    "names": (*ORDERS, *CELLS), "shakespeare": (*ORDERS, *CELLS), "pictures": ("captioner", "bag"), "series": tuple(NOISE),
}  # fmt: skip


def included(arm, cell) -> bool:
    return arm in RUNS[cell["task"]]


def accuracy(label: str) -> Metric:
    return Metric("fraction", better="high", worst=0.0, label=label)


METRICS = {
    **classification(), "test_loss": Metric("nats", better="low", label="test loss"),
    "test_whole_accuracy": accuracy("captions that are right"), "relation_test": accuracy("relations that are right"),
    **{f"right_test_{n}": accuracy(f"right at place {n}") for n in range(1, LONGEST + 1)},
    **{f"after_test_{n}": accuracy(f"right after {n} letters") for n in range(1, MOST + 1)},
    "near_test": accuracy("names right after 1 to 3 letters"),
    "near_less_far_test": Metric("fraction", label="names right after 1 to 3 letters less after 10 or more"),
    "excess_test": Metric("nats", label="test loss less the source's own"), "over_floor_test": Metric("nats", label="test loss less the floor"),
    "apart": Metric("nats", label="largest |loss − (−log p)|"), "excess": Metric("nats", better="low", label="loss less −log p, a step"),
    "product": Metric("nats", label="product of integrals less −log p, a step"),
    **{f"word_test_{n}": Metric("word") for n in range(5 * SHOWN)}, **{name: Metric("pixels") for name in names("looks_test", LONGEST**2)},
}  # fmt: skip
UPDATES = dict.fromkeys(WORDS, 1000) | {"names": 500, "pictures": 1000, "series": 300}
DRAWS = {"words_4": 4, "words_8": 2, "words_12": 4} | {"names": 3, "pictures": 4, "series": 1}
FINAL = dict.fromkeys(UPDATES, 1) | {"words_4": 2, "words_12": 2, "pictures": 2}
BUDGETS = {
    "smoke": Budget(draws=2, seeds=2, updates=16, task=("words_4", "names", "pictures", "series")),
    "default": Budget(draws=By("task", DRAWS), seeds=6, most_seeds=24, futility=0.05, finalists=2, final_seeds=By("task", FINAL), task=tuple(UPDATES), updates=By("task", UPDATES),
                      batch_size=By("task", dict.fromkeys(UPDATES, 16) | {"pictures": 32})),
    "paper": Budget(draws=8, seeds=10, most_seeds=20, finalists=3, updates=20_000, units=256, batch_size=64),
}  # fmt: skip

four, twelve, texts = place(task="words_4"), place(task="words_12"), place(task="names")
shown, series = place(task="pictures"), place(task="series")
MT = "[SNU], “Applications of RNN (LSTM): machine translation”"
JANE, SSM = (
    "[SNU], “Problems with BPTT: vanishing or exploding gradients”",
    "[SNU], “RNNs as state-space models”",
)
LM = "[SNU], “Applications of RNN (LSTM): acoustic model” (“LSTM-based LM”)"
CAPTION = "[SNU], “Applications of CNN + RNN (LSTM): image captioning”"
CLAIMS = {
    "bottleneck": Claim("A source in one state is a bottleneck: without attention 12 words are translated more than 30 points less accurately than 4.",
        MT + "; [Bahdanau], section 1", twelve.lower("test_accuracy", arm="forward", than="forward", by=0.3, against=dict(four)), "length"),
    "flat": Claim("With attention, accuracy stays flat: less than 10 points are lost from 4 to 12 words.",
        "[Bahdanau], section 5.1; [UIUC], “Recurrent Neural Networks: General Concepts”",
        twelve.higher("test_accuracy", arm="attention", than="attention", by=-0.1, against=dict(four)), "length"),
    "longer-is-better": Claim("With attention 12 words are translated better than 4 without.",
        "[Bahdanau], table 1 (sentences of up to 30 words against 50)", twelve.higher("test_accuracy", arm="attention", than="forward", against=dict(four)), "length",
        Published("BLEU 21.5 (attention, 30 words) against 17.8 (none, 50)", "quoted by someone else")),
    "reversing": Claim("Reversing the source helps without attention: more than 10 points at 12 words.",
        MT + "; [Seq2seq], section 3.3", twelve.higher("test_accuracy", arm="reversed", than="forward", by=0.1), "length",
        Published("perplexity 5.8 to 4.7, BLEU 25.9 to 30.6", "read in the paper")),
    "not-beside-attention": Claim("Beside attention it does not: less than 2 points are gained.",
        "against [Seq2seq], section 3.3", twelve.lower("test_accuracy", arm="attention_reversed", than="attention", by=-0.02), "length"),
    "first-word": Claim("It is the short way that helps: the first of 12 words, now last to be read, is right more often by over 50 points.",
        "[Seq2seq], section 3.3 (short-term dependencies)", twelve.higher("right_test_1", arm="reversed", than="forward", by=0.5), "length"),
    "last-word": Claim("The last word, now the first to be read, does not pay for it: it is right less often by at most 5 points.",
        "[Seq2seq], section 3.3", twelve.higher("right_test_12", arm="reversed", than="forward", by=-0.05), "length"),
    "not-enough": Claim("Reversing is no substitute: at 12 words it stays more than 10 points below attention.",
        "[Bahdanau], section 5.1", twelve.lower("test_accuracy", arm="reversed", than="attention", by=0.1), "length"),
    "floors": Claim("A counted n-gram is within 0.02 nats of its floor on fresh texts: of one, two and three symbols (exact).",
        "[Shannon48], section 7", everywhere(every(texts.below("over_floor_test", 0.02, arm="bigram"), texts.above("over_floor_test", -0.02, arm="bigram")), arm=tuple(ORDERS)), "texts"),
    "beats-trigrams": Claim("An LSTM beats trigrams on equal data: by more than 0.1 nats a symbol of the 0.14 that no trigram can have.",
        LM, texts.lower("test_loss", arm="lstm", than="trigram", by=0.1), "texts"),
    "entropy": Claim("LSTM and GRU come within 0.01 nats of the source's entropy.",
        LM, everywhere(texts.below("excess_test", 0.01, arm="lstm"), arm=("lstm", "gru")), "texts"),
    "chance": Claim("A trigram is at chance on the name, one in four within 4 points, however near it is (exact).",
        JANE, every(texts.below("near_test", 0.29, arm="trigram"), texts.above("near_test", 0.21, arm="trigram")), "names"),
    "paragraphs": Claim("A plain network predicts better after a short paragraph: the name is right more often after 1 to 3 letters than after 10 or more, by over 10 points.",
        JANE, texts.above("near_less_far_test", 0.1, arm="rnn"), "names"),
    "gates-remember": Claim("An LSTM hardly minds: by less than 5 points.",
        JANE, texts.below("near_less_far_test", 0.05, arm="lstm"), "names"),
    "shakespeare": Claim("On Shakespeare an LSTM beats trigrams that are counted on the same text by more than 0.2 nats a character.",
        LM, place(task="shakespeare").lower("test_loss", arm="lstm", than="trigram", by=0.2), "texts"),
    "bag": Claim("Who is told the objects alone is right about no more than every fourth caption (exact), within 4 points.",
        CAPTION, shown.below("test_whole_accuracy", 0.29, arm="bag"), "captions"),
    "captions": Claim("Translating the picture beats the bag of its objects: more than 50 points more captions are right.",
        CAPTION, shown.higher("test_whole_accuracy", arm="captioner", than="bag", by=0.5), "captions"),
    "relations": Claim("What the bag lacks is how objects stand: the relation is right in over 95 % of captions, and under 55 % for the bag.",
        CAPTION, every(shown.above("relation_test", 0.95, arm="captioner"), shown.below("relation_test", 0.55, arm="bag")), "captions"),
    "deterministic": Claim("Without noise in its transitions the model's negative log-likelihood is the RNN's loss, to 1e-9 nats on each of 2,000 series (exact).",
        SSM, series.below("apart", 1e-9, arm="state"), "states"),
    "noise": Claim("With noise it is not: the loss of the RNN that has the true transitions is more than half a nat a step above it.",
        SSM, series.above("excess", 0.5, arm="noisy"), "states"),
    "product": Claim("Nor is it then the slide's product of integrals over one transition: that is more than 0.15 nats a step too large.",
        SSM, series.above("product", 0.15, arm="noisy"), "states"),
    "filter": Claim("Yet another RNN has it: trained on what is drawn with noise it comes within 0.01 nats a step (the Kalman filter is one).",
        "[Kalman], abstract; against " + SSM, series.below("excess", 0.01, arm="filter"), "states"),
}  # fmt: skip


def final(frame, task, *arms):
    """Last rows of confirmed trials, by arm."""
    rows = frame[(frame["phase"] == "confirm") & (frame["task"] == task)].sort_values("step")
    rows = rows.groupby("trial").last()
    return {arm: rows[rows["arm"] == arm] for arm in arms if (rows["arm"] == arm).any()}


def alignment(study, frame, palette):
    """The attention of one network of each kind, over a sentence."""
    found = final(frame, f"words_{LONGEST}", "attention", "attention_reversed")
    drawn_ones = {arm: own.dropna(subset=["looks_test_0"]) for arm, own in found.items()}
    drawn_ones = {arm: own for arm, own in drawn_ones.items() if len(own)}
    if not drawn_ones:
        return blank()
    figure, axes = panels(len(drawn_ones), columns=2, height=3.1, legend=0.0)
    x, y = (part[SENTENCE] for part in load(DATA[f"words_{LONGEST}"]).test)
    read = [f"{'a' if s < made.ADJECTIVES else 'N'}{s}" for s in x.tolist()]
    said = [f"{'a' if s < made.ADJECTIVES else 'N'}{s}′" for s in (made.WORDS - 1 - y).tolist()]
    for ax, (arm, own) in zip(axes, drawn_ones.items(), strict=True):
        looks = unpacked(own[names("looks_test", LONGEST**2)].iloc[0].to_numpy(float))[: LONGEST**2]
        ax.imshow(1 - looks.reshape(LONGEST, LONGEST), cmap="gray", vmin=0, vmax=1)
        ax.set_xticks(range(LONGEST), read, fontsize=6.5)
        ax.set_yticks(range(LONGEST), said, fontsize=6.5)
        ax.set(title=study.label(arm), xlabel="read", ylabel="said")
        ax.grid(False)
    return figure


def lengths(study, frame, palette):
    """Accuracy by length, and at 12 words by place."""
    figure, axes = panels(2, columns=2, height=2.4)
    for arm in ATTENTION:
        own = {n: final(frame, f"words_{n}", arm).get(arm) for n in LENGTHS}
        along = {n: 100 * one["test_accuracy"].mean() for n, one in own.items() if one is not None}
        style = {"ms": 3, "color": palette[arm], "label": study.label(arm)}
        axes[0].plot([*along], [*along.values()], "o-", **style)
        if LONGEST in along:
            places = own[LONGEST][[f"right_test_{n}" for n in range(1, LONGEST + 1)]].mean()
            axes[1].plot(range(1, LONGEST + 1), 100 * places, "o-", **style)
    axes[0].set(
        title="words that are right (%)",
        xlabel="words of a sentence",
        xticks=LENGTHS,
        ylim=(0, 103),
    )
    axes[1].set(
        title="of 12 words, at each place (%)", xlabel="place in the translation", ylim=(0, 103)
    )
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return figure  # fmt: skip


def by_letters(study, frame, palette):
    """How often the name is right, by the letters since it stood there."""
    figure, axes = panels(1, columns=1, height=2.4)
    steps = range(1, MOST + 1)
    for arm, own in final(frame, "names", "trigram", *CELLS).items():
        right = 100 * own[[f"after_test_{n}" for n in steps]].mean()
        axes[0].plot(steps, right, "o-", ms=3, color=palette[arm], label=study.label(arm))
    axes[0].axhline(100 / made.NAMES, color="0.5", lw=0.8, ls=":")
    axes[0].set(xlabel="letters since the name", ylabel="name right (%)", ylim=(0, 103))
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return figure


def captioned(study, frame, palette):
    """Test pictures, and what is said of them."""
    found = final(frame, "pictures", "captioner", "bag")
    figure, axes = panels(SHOWN, columns=SHOWN, height=2.3, legend=0.0)
    images = load(DATA["pictures"]).test[0][:SHOWN]
    for number, (ax, image) in enumerate(zip(axes, images, strict=True)):
        ax.imshow((image / image.max()).clamp(0, 1).permute(1, 2, 0).numpy())
        columns = [f"word_test_{5 * number + place}" for place in range(5)]
        lines = []
        for arm, own in found.items():
            words = [made.SAID[int(n)] for n in own.sort_values("seed")[columns].iloc[0]]
            lines.append(f"{arm}:\n{' '.join(words[:3])}\n{' '.join(words[3:])}")
        ax.set(xticks=[], yticks=[])
        ax.set_xlabel("\n".join(lines), fontsize=6.5)
        ax.grid(False)
    return figure


FIGURES = (
    custom("alignment", "Where attention looks (dark) at each word that it says. For an adjective (a) and its noun (N), which change places, it looks at one place, where both have been read: the adjective's where the source is read from its end (seed 0).", alignment),
    custom("length", "Words that are right by the length of sentences, and at each place of 12: without attention what was read long ago is lost.", lengths),
    intervals("texts", "Loss on fresh texts: networks with gates reach what no trigram can.", "test_loss", where=texts),
    custom("names", "How often a name is right that was last seen so many letters ago: a trigram is at chance, and the plain network forgets; LSTM and GRU lie on each other.", by_letters),
    custom("captions", "Four test pictures and their captions: who knows the objects alone guesses how they stand (first seed).", captioned),
    intervals("states", "How far the network's loss is above the exact negative log-likelihood, a step.", "excess", where=series),
    sensitivity("sensitivity", "Accuracy on validation sentences of 12 words against the rate: every draw of the tune phase.", "valid_accuracy", where=twelve),
)  # fmt: skip

STUDY = Study(
    question="What do attention, reversed sources and gates buy, and is a recurrent network a state-space model?",
    trial=trial,
    arms=ARMS,
    vary={"task": tuple(RUNS)},
    include=included,
    nuisance={"lr": Float(2e-3, 0.04, log=True)},
    fixed={"updates": 600, "units": 32, "batch_size": 16},
    select=("valid_loss", "excess"),
    metrics=METRICS,
    budgets=BUDGETS,
    sources={
        "[Bahdanau]": "Bahdanau, Cho & Bengio 2015, Neural machine translation by jointly learning to align and translate",
        "[Seq2seq]": "Sutskever, Vinyals & Le 2014, Sequence to sequence learning with neural networks",
        "[Shannon48]": "Shannon 1948, A mathematical theory of communication",
        "[Kalman]": "Kalman 1960, A new approach to linear filtering and prediction problems",
    },
    claims=CLAIMS,
    figures=FIGURES,
)  # fmt: skip
