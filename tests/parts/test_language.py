"""Made language, n-grams, captions and series: what is said to be exact, by other ways."""

from __future__ import annotations

import itertools
import math
from functools import partial

import numpy as np
import pytest
import torch

from harness import Data, Optimizer, Training
from harness.engine.pack import train
from harness.parts.data import made
from harness.parts.data.markov import MarkovSource
from harness.parts.models import CAPTIONED, Captioner, Translator, scheduled_sampling
from harness.parts.models.ngrams import NGram
from harness.parts.models.state_space import Series, drawn, exact_nats, network_nats
from harness.parts.probes.language import Alignment, Asked, Captions, Places
from harness.parts.probes.pictures import unpacked
from harness.parts.probes.state_space import Likelihood

pytestmark = pytest.mark.usefixtures("one_thread")
TEXTS = Data.of(partial(made.texts, made.names(), 9), name="names_9", duplicates="allow")


def coin() -> MarkovSource:
    """0 or 1, and what it was again with probability 3/4."""
    return MarkovSource(np.array([[0.5, 0.5], [0.75, 0.25], [0.25, 0.75]]), np.array([[1, 2]] * 3))


def test_sentences_swap_an_adjective_with_what_follows() -> None:
    for x, y in made.sentences(5):
        assert all(len({*row}) == 5 for row in x.tolist())
        for source, target in zip(x[:50].tolist(), y[:50].tolist(), strict=True):
            words, said = list(source), []
            while words:
                pair = len(words) > 1 and words[0] < made.ADJECTIVES <= words[1]
                said += [words.pop(1)] if pair else []
                said.append(words.pop(0))
            assert [made.WORDS - 1 - word for word in said] == target
    train, _, test = made.sentences(4)
    assert not {*map(tuple, train[0])} & {*map(tuple, test[0])}


@pytest.mark.parametrize("source", [coin(), made.names(0.3)])
@pytest.mark.parametrize("order", [1, 2, 3, None])
def test_floors_are_those_of_all_texts(source: MarkovSource, order: int | None) -> None:
    length, joint, nats = 4, {}, 0.0
    for text in itertools.product(range(source.symbols), repeat=length):
        state, chance = 0, 1.0
        for symbol in text:
            chance *= source.emits[state, symbol]
            state = source.to[state, symbol]
        if not chance:
            continue
        nats += chance * source.nats(np.array([text]))[0, 1:].sum()
        for step in range(1, length):
            padded = (None, None, *text[:step])
            seen = padded[len(padded) - ((order or 1) - 1) :]
            key = (seen, text[step])
            joint[key] = joint.get(key, 0.0) + chance
    sums: dict[object, float] = {}
    for (seen, _), chance in joint.items():
        sums[seen] = sums.get(seen, 0.0) + chance
    counted = -sum(p * math.log(p / sums[seen]) for (seen, _), p in joint.items())
    expected = nats if order is None else counted
    assert source.floor(length, order) == pytest.approx(expected / (length - 1))


def test_texts_are_as_likely_as_the_source_says() -> None:
    texts = coin().texts(20_000, 3, seed=1)
    assert (texts[:, 1] == texts[:, 0]).mean() == pytest.approx(0.75, abs=0.02)
    asked = made.names().texts(50, 40, seed=0)
    for text in asked.tolist():
        for step in np.flatnonzero(np.array(text[:-1]) == 8):
            assert text[step + 1] == [s for s in text[:step] if s < made.NAMES][-1]


@pytest.mark.parametrize("order", [1, 2, 3])
def test_ngrams_are_counts(order: int) -> None:
    net = NGram(order, 9, TEXTS)
    x, y = (torch.from_numpy(part) for part in made.texts(made.names(), 9)[0])
    said = net(x).exp()
    torch.testing.assert_close(said.sum(-1), torch.ones(x.shape))
    padded = torch.cat([torch.full((len(x), 2), -1), x], 1)
    for row, step in ((0, 0), (3, 1), (7, 6)):
        here = torch.ones(x.shape, dtype=torch.bool)
        for back in range(order - 1):
            column = padded[:, 2 - back : padded.shape[1] - back]
            here &= column == column[row, step]
        counts = torch.bincount(y[here], minlength=9) + 0.1
        torch.testing.assert_close(said[row, step], counts / counts.sum())


def test_four_captions_are_likely_of_a_bag() -> None:
    (_, bags), words = made.captions()[0]
    assert (bags.sum(1) == 2).all()
    same = (bags == bags[0]).all(1)
    assert len({*map(tuple, words[same].tolist())}) == 4
    kinds = {tuple(one) for row in words[same] for one in (row[:2], row[3:])}
    assert {3 * c + s - 3 for c, s in kinds} == {*np.flatnonzero(bags[0])}


@pytest.mark.parametrize("told", [0, 9])
def test_a_caption_said_word_by_word_is_that_of_its_own_words(told: int) -> None:
    torch.manual_seed(0)
    net = Captioner(8, 5, 12, told)
    image, bag = torch.randn(3, 3, 8, 8), torch.rand(3, 9)
    free = net(image, bag)
    torch.testing.assert_close(free, net(image, bag, free.argmax(-1)))
    other = net(image * 2, bag) if told else net(image, bag * 2)
    torch.testing.assert_close(free, other)


def test_densities_of_series() -> None:
    """Without noise the network's loss; with noise the Kalman filter's."""
    normals = torch.randn(5, 6, 2, dtype=torch.float64)
    decay, drive = (torch.tensor(value, dtype=torch.float64) for value in (0.75, -0.25))
    x = drawn(normals, 0.0)
    torch.testing.assert_close(exact_nats(x, 0.0), network_nats(x, decay, drive, 1.0))
    x, mean, variance, nats = drawn(normals, 0.5), 0.0, 0.25, 0.0
    for now in x.unbind(1):
        spread = variance + 1
        nats = nats + ((now - mean) ** 2 / spread + math.log(2 * math.pi * spread)) / 2
        mean = 0.75 * (mean + variance / spread * (now - mean)) - 0.25 * now
        variance = 0.75**2 * variance / spread + 0.25
    torch.testing.assert_close(exact_nats(x, 0.5), nats)


def test_what_probes_say() -> None:
    words = Data.of(partial(made.sentences, 4), name="four")
    adam = Optimizer("adam", lr=0.01)
    given = {"steps": 2, "every": 2, "batch_size": 16}
    model = partial(Translator, made.WORDS, 8, "additive")
    trainings = [
        Training(partial(model, backwards), adam, words, scheduled_sampling(), probes=(Places(), Alignment(1)), **given)
        for backwards in (False, True)
    ]  # fmt: skip
    for found in train(trainings, seeds=[0, 0]):
        places = [found.metrics[f"right_test_{n}"][-1] for n in range(1, 5)]
        assert np.mean(places) == pytest.approx(found.metrics["test_accuracy"][-1], abs=1e-5)
        looks = unpacked([found.metrics[f"looks_test_{n}"][-1] for n in range(2)]).reshape(4, 4)
        assert looks.sum(1) == pytest.approx(1, abs=4 / 14)
    bigram = Training(partial(NGram, 2, 9, TEXTS), Optimizer("sgd", lr=1e-30), TEXTS,
                      probes=(Asked(made.names(), 9, 2),), **given)  # fmt: skip
    (found,) = train([bigram], seeds=[0])
    assert abs(found.metrics["over_floor_test"][-1]) < 0.05
    assert found.metrics["excess_test"][-1] > 0.1
    pictures = Data.of(made.captions, name="pictures_here")
    (found,) = train([Training(partial(Captioner, 8, 5, 8), adam, pictures, CAPTIONED, probes=(Captions(2),), **given)], seeds=[0])  # fmt: skip
    assert {found.metrics[f"word_test_{n}"][-1] for n in range(10)} <= {*range(8)}
    assert 0 <= found.metrics["relation_test"][-1] <= 1
    still = Optimizer("sgd", lr=1e-30)
    series = [Training(partial(Series, noise, 6, 8), still, steps=2, every=2, probes=(Likelihood(noise, 6),)) for noise in (0.0, 1.0)]  # fmt: skip
    quiet, noisy = (one for training in series for one in train([training], seeds=[0]))
    assert quiet.metrics["apart"][-1] < 1e-9
    assert noisy.metrics["excess"][-1] > noisy.metrics["product"][-1] > 0
