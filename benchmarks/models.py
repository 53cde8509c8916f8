"""Models of the benchmark, as a user would write them: ordinary modules, no trial axis in sight."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class PeepholeLSTM(nn.Module):
    """An LSTM whose gates see the cell (Gers & Schmidhuber 2000), read out after the last step.

    Gates come first in every tensor's shape, so that zeros at the end of a dimension add units
    that stay at zero and change nothing.

    Args:
        hidden: Units.
        inputs: Numbers read a step.
        classes: Outputs.

    Shapes: input (B, T * inputs); output (B, classes) logits.
    """

    def __init__(self, hidden: int, inputs: int = 1, classes: int = 10) -> None:
        super().__init__()
        self.inputs = inputs
        bound = hidden**-0.5
        self.from_input = nn.Parameter(torch.empty(4, hidden, inputs).uniform_(-bound, bound))
        self.from_hidden = nn.Parameter(torch.empty(4, hidden, hidden).uniform_(-bound, bound))
        self.peep = nn.Parameter(torch.empty(3, hidden).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.zeros(4, hidden))
        self.read = nn.Linear(hidden, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = x.unflatten(1, (-1, self.inputs))  # (B, T, inputs)
        recurrent = self.from_hidden.flatten(0, 1)  # (4 hidden, hidden)
        driven = functional.linear(x, self.from_input.flatten(0, 1), self.bias.flatten())
        driven = driven.unflatten(-1, (4, -1))  # (B, T, 4, hidden)
        peep_in, peep_forget, peep_out = self.peep.unbind(0)
        h = c = torch.zeros_like(driven[:, 0, 0])  # (B, hidden)
        for now in driven.unbind(1):
            gates = now + functional.linear(h, recurrent).unflatten(-1, (4, -1))
            enter, forget, new, leave = gates.unbind(1)
            enter = torch.sigmoid(enter + peep_in * c)
            forget = torch.sigmoid(forget + peep_forget * c)
            c = forget * c + enter * torch.tanh(new)
            h = torch.sigmoid(leave + peep_out * c) * torch.tanh(c)
        out: Tensor = self.read(h)
        return out


class CNN(nn.Module):
    """Two convolutions with pooling and a linear layer, on 8x8 images.

    Args:
        channels: Maps of the two convolutions.
        norm: Whether batch normalisation follows each.

    Shapes: input (B, 64); output (B, 10) logits.
    """

    def __init__(self, channels: tuple[int, int] = (8, 16), norm: bool = False) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for n_in, n_out in zip((1, *channels), channels, strict=False):
            layers.append(nn.Conv2d(n_in, n_out, 3, padding=1))
            layers += [nn.BatchNorm2d(n_out)] if norm else []
            layers += [nn.ReLU(), nn.MaxPool2d(2)]
        self.layers = nn.Sequential(*layers)
        self.read = nn.Linear(channels[-1] * 4, 10)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.read(self.layers(x.reshape(-1, 1, 8, 8)).flatten(1))
        return out


class Signals(nn.Module):
    """The convolutional network of MNIST-1D (Greydanus & Kobak 2024): three convolutions along a
    signal of 40 numbers, which are the first 40 pixels of a digit here.

    Args:
        channels: Of each convolution.

    Shapes: input (B, at least 40); output (B, 10) logits.
    """

    def __init__(self, channels: int = 25) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv1d(1, channels, 5, stride=2, padding=1), nn.ReLU(),
            nn.Conv1d(channels, channels, 3, stride=2, padding=1), nn.ReLU(),
            nn.Conv1d(channels, channels, 3, stride=2, padding=1), nn.ReLU(),
        )  # fmt: skip
        self.read = nn.Linear(5 * channels, 10)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.read(self.layers(x[:, None, :40]).flatten(1))
        return out


class Encoder(nn.Module):
    """One layer of a transformer (Vaswani et al. 2017) that reads an image row by row.

    Args:
        width: Of a token.
        heads: Of its attention.
        wide: Hidden units of its feed-forward part.
        dropout: Rate of dropout.

    Shapes: input (B, 64); output (B, 10) logits.
    """

    def __init__(
        self, width: int = 16, heads: int = 4, wide: int = 64, dropout: float = 0.1
    ) -> None:
        super().__init__()
        self.embed = nn.Linear(8, width)
        self.place = nn.Parameter(torch.randn(8, width) / 8)
        self.layer = nn.TransformerEncoderLayer(width, heads, wide, dropout, batch_first=True)
        self.read = nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.embed(x.unflatten(1, (8, 8))) + self.place  # (B, 64) -> (B, 8, width)
        out: Tensor = self.read(self.layer(tokens).mean(1))
        return out
