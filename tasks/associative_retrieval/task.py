"""Answering which digit was shown after a letter.

An episode shows K pairs of a letter and a digit, such as ``c 9 k 8 j 3``, then ``? ?``, then one of
the letters, then some steps without input. At the last step the net has to answer the digit that
followed the letter. The letters of an episode differ; its digits may be equal. Each of the 37
symbols is a one-hot vector.

    loss = -log softmax(y)_digit at the last step

Source: Ba et al. 2016 (arXiv 1610.06258), where the answer is read at the letter.
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from plasticrl.tasks.associative_retrieval.config import (
    N_DIGITS,
    N_LETTERS,
    AssociativeRetrievalConfig,
)
from plasticrl.tasks.recurrent import CoreTask, VectorEpisodes
from plasticrl.tasks.summary import Measurement, share
from plasticrl.tasks.task import Net

QUESTION_MARK = N_LETTERS + N_DIGITS
N_SYMBOLS = QUESTION_MARK + 1
"""The symbols are the letters, then the digits, then the question mark."""
N_DRAWN = 6
"""Held-out episodes that are drawn."""


class MostFrequentDigit(nn.Module):
    """Answers the digit that was shown most often, the best answer for which no pair is needed."""

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the number of times that each digit was shown, at every step (T, B, 10)."""
        return inputs[..., N_LETTERS:QUESTION_MARK].sum(dim=0).expand(len(inputs), -1, -1)


class AssociativeRetrieval(CoreTask[AssociativeRetrievalConfig]):
    """The task that the docstring of this file describes."""

    metric = "share of right answers"
    n_outputs = N_DIGITS

    @property
    def n_inputs(self) -> int:
        return N_SYMBOLS

    def baseline(self) -> Net:
        return Net("most frequent digit", MostFrequentDigit)

    def sample(self, n_episodes: int, generator: Generator, held_out: bool) -> VectorEpisodes:
        """Sample new pairs for every episode. Held-out episodes come from another seed."""
        config, device = self.config, generator.device
        keys = torch.rand(n_episodes, N_LETTERS, generator=generator, device=device)
        letters = keys.topk(config.n_pairs).indices
        digits = torch.randint(0, N_DIGITS, letters.shape, generator=generator, device=device)
        asked = torch.randint(
            0, config.n_pairs, (n_episodes, 1), generator=generator, device=device
        )
        pairs = torch.stack([letters, N_LETTERS + digits], dim=2).flatten(1)
        marks = torch.full((n_episodes, 2), QUESTION_MARK, device=device)
        symbols = torch.cat([pairs, marks, letters.gather(1, asked)], dim=1)
        shown = F.one_hot(symbols.T, N_SYMBOLS).float()
        inputs = F.pad(shown, (0, 0, 0, 0, 0, config.extra_steps))
        targets = inputs.new_zeros(*inputs.shape[:2], N_DIGITS)
        targets[-1] = F.one_hot(digits.gather(1, asked).squeeze(1), N_DIGITS)
        counts = torch.zeros(len(inputs), dtype=torch.bool, device=device)
        counts[-1] = True
        return VectorEpisodes(inputs, targets, counts)

    def loss(self, net: nn.Module, episodes: VectorEpisodes) -> Tensor:
        return F.cross_entropy(net(episodes.inputs)[-1], episodes.targets[-1])

    def measure(self, net: nn.Module, episodes: VectorEpisodes) -> Tensor:
        answers = net(episodes.inputs)[-1].argmax(dim=1)
        right: Tensor = answers == episodes.targets[-1].argmax(dim=1)
        return right.float()

    def summary(self, values: Tensor) -> Measurement:
        return share(values)

    def pictures(self, net: nn.Module, folder: Path) -> list[Path]:
        # late, since it loads matplotlib
        from plasticrl.tasks.associative_retrieval.drawing import draw

        return draw(net, self.sample(N_DRAWN, self.held_out_generator(), held_out=True), folder)
