"""Random pictures of disks that cover each other, like fallen leaves.

    gray ~ U(0, 1),  center ~ U(the picture),  radius ~ r^-2 between 1/32 and 3/4 of the side

Each disk is painted over the earlier ones, at twice the resolution, and the result is averaged
down. Like photographs, the pictures have edges, flat areas and a power spectrum that falls with
about the third power of frequency. Model: Lee, Mumford & Huang 2001, Int. J. Computer Vision 41.
"""

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

N_LEAVES = 220
SMALLEST, LARGEST = 1 / 32, 3 / 4
"""Radii as fractions of the picture's side."""
OVERSAMPLING = 2


def dead_leaves(n_pictures: int, side: int, generator: Generator) -> Tensor:
    """Gray pictures (n_pictures, side, side), from 0 to 1, on the generator's device."""
    device, fine = generator.device, OVERSAMPLING * side
    position = (torch.arange(fine, device=device) + 0.5) / fine
    picture = torch.rand(n_pictures, 1, 1, generator=generator, device=device)  # the background
    for _ in range(N_LEAVES):
        drawn = torch.rand(4, n_pictures, 1, 1, generator=generator, device=device)
        y, x, gray = drawn[:3]
        radius = 1 / (1 / SMALLEST - drawn[3] * (1 / SMALLEST - 1 / LARGEST))
        inside = (position[:, None] - y).square() + (position - x).square() < radius.square()
        picture = torch.where(inside, gray, picture)
    return F.avg_pool2d(picture.unsqueeze(1), OVERSAMPLING).squeeze(1)
