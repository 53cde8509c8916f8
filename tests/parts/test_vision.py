"""Parts of convolutional networks, held to torch's own."""

import torch
from torch.nn import functional as F

from harness.parts.models import vision


def test_responses_are_normalised_as_by_torch():
    x = torch.randn(3, 8, 4, 4) * 30
    # torch divides alpha by the size
    theirs = F.local_response_norm(x, 5, alpha=5e-4, beta=0.75, k=2.0)
    torch.testing.assert_close(vision.LocalResponse(8)(x), theirs)
    # the same of numbers 255 times as small, but for their scale
    ours = vision.LocalResponse(8, alpha=1e-4 * 255**2)(x / 255)
    torch.testing.assert_close(255 * ours, theirs)


def test_an_inception_module_keeps_places_and_sees_5x5():
    module = vision.Inception(8, 32, norm=True).eval()
    x = torch.zeros(1, 8, 9, 9, requires_grad=True)
    for parameter in module.parameters():
        torch.nn.init.constant_(parameter, 0.1)
    out = module(x)
    assert out.shape == (1, 32, 9, 9)
    out[0, :, 4, 4].sum().backward()
    assert (x.grad[0].abs().sum(0) > 0).nonzero().tolist() == [
        [i, j] for i in range(2, 7) for j in range(2, 7)
    ]
