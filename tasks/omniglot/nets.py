"""The nets: convolutions with a plastic or non-plastic readout, and a nearest-neighbor baseline."""

from itertools import pairwise
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from plasticrl.core import build_cell, sequence
from plasticrl.core.state import map_leaves
from plasticrl.tasks.omniglot.config import OmniglotConfig

N_LAYERS, KERNEL, STRIDE = 4, 3, 2


class OneShotEpisodes(NamedTuple):
    """B episodes of K characters and Q queries; images are (..., 31, 31)."""

    images: Tensor
    """Labeled images (K, B, 31, 31), one of each character."""
    labels: Tensor
    """Labels of the images (K, B); an episode has each of 0 to K - 1 once."""
    queries: Tensor
    """Unlabeled images (Q, B, 31, 31)."""
    answers: Tensor
    """Labels of the queries (Q, B)."""


class OneShot(nn.Module):
    """Four convolutions, each of which halves the image, then a plastic readout.

    Args:
        config: sizes and the readout's options.
        embedding_size: channels of the last convolution.
        plastic: if false, alpha and eta are zero and are not trained.
    """

    def __init__(self, config: OmniglotConfig, embedding_size: int, plastic: bool) -> None:
        super().__init__()
        self.n_ways = config.n_ways
        widths = [1] + [config.channels] * (N_LAYERS - 1) + [embedding_size]
        layers: list[nn.Module] = []
        for n_in, n_out in pairwise(widths):
            layers += [nn.Conv2d(n_in, n_out, KERNEL, STRIDE), nn.Tanh()]
        self.embedding = nn.Sequential(*layers, nn.Flatten())
        self.readout = build_cell(
            "plastic_readout",
            embedding_size + config.n_ways,
            hidden_size=config.n_ways,
            rule=config.rule,
            bound="none" if config.rule == "oja" else "decay",
            eta_init=config.eta_init,
            alpha_scale=config.alpha_scale,
        )
        if not plastic:
            connection = self.readout.connection
            assert connection is not None
            for parameter in (connection.alpha, connection.eta):
                assert parameter is not None
                nn.init.zeros_(parameter.requires_grad_(False))

    def forward(self, episodes: OneShotEpisodes) -> Tensor:
        """Probabilities of each label for each query (Q, B, K)."""
        n_queries, n_episodes = episodes.answers.shape
        labeled = self._inputs(episodes.images, F.one_hot(episodes.labels, self.n_ways))
        _, state = sequence(self.readout, labeled)
        # Every query sees the same trace, as if it were the only query of the episode.
        states = map_leaves(lambda leaf: leaf.repeat(n_queries, *[1] * (leaf.dim() - 1)), state)
        no_labels = episodes.answers.new_zeros(n_queries, n_episodes, self.n_ways)
        query_inputs = self._inputs(episodes.queries, no_labels).flatten(0, 1).unsqueeze(0)
        outputs, _ = sequence(self.readout, query_inputs, states)
        return outputs.view(n_queries, n_episodes, self.n_ways)

    def _inputs(self, images: Tensor, labels: Tensor) -> Tensor:
        """Embeddings and one-hot labels side by side (T, B, F + K)."""
        embeddings = self.embedding(images.flatten(0, 1).unsqueeze(1))
        return torch.cat([embeddings.view(*images.shape[:2], -1), labels], dim=2)


class NearestPixels(nn.Module):
    """Predicts the label of the image with the smallest squared difference. Has no parameters."""

    def forward(self, episodes: OneShotEpisodes) -> Tensor:
        """Probabilities of each label, 0 or 1, for each query (Q, B, K)."""
        differences = episodes.queries.unsqueeze(1) - episodes.images
        nearest = differences.square().sum(dim=(3, 4)).argmin(dim=1, keepdim=True)
        labels = episodes.labels.expand(len(nearest), -1, -1).gather(1, nearest).squeeze(1)
        return F.one_hot(labels, len(episodes.labels)).float()
