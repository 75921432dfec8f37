"""Word-level language modeling: predicting the next word with LSTMs whose memory cells are plastic.

The metric is the perplexity of a held-out text, exp(mean over words of -log p(word)). The text is
cut into equal parts, each read from the initial state, so that the result does not depend on the
number of parts read at a time. The interval is over the parts.
Source: BP 2019 (arXiv 2002.10585) section 4.3.
"""

import math
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from plasticrl.tasks.data import DataRecord, sha256_of
from plasticrl.tasks.language.config import KING_JAMES, PENN_TREEBANK, Kind, LanguageConfig
from plasticrl.tasks.language.corpus import Corpus, penn_treebank, streams
from plasticrl.tasks.language.fitting import LanguageFit, windows
from plasticrl.tasks.language.king_james import TEST, VALID, king_james
from plasticrl.tasks.language.model import LanguageModel, sizes
from plasticrl.tasks.language.synthetic import synthetic
from plasticrl.tasks.summary import Measurement, mean
from plasticrl.tasks.task import Net, Task

NAMES: dict[Kind, str] = {
    "lstm": "LSTM",
    "plastic": "plastic",
    "simple": "simple modulation",
    "retroactive": "retroactive modulation",
}
EVALUATION_BATCH_SIZE = 20
"""Number of parts of a held-out text that are read at a time."""
N_DRAWN = 48
"""Number of words in the figure."""


class Language(Task[LanguageConfig]):
    """The task that the docstring of this file describes."""

    metric = "test perplexity"

    def __init__(self, config: LanguageConfig) -> None:
        super().__init__(config)
        self.corpus, self.data = load(config)
        self.train = streams(self.corpus.train, config.batch_size, "training")
        self.valid, self.test = (
            streams(text, config.evaluation_episodes, name)
            for text, name in ((self.corpus.valid, "validation"), (self.corpus.test, "test"))
        )

    def nets(self) -> list[Net]:
        return [Net(NAMES[kind], partial(self._build, kind)) for kind in self.config.nets]

    def _build(self, kind: Kind) -> nn.Module:
        n_words = len(self.corpus.vocabulary)
        return LanguageModel(self.config, kind, n_words, sizes(self.config, kind, n_words))

    def fit(self, net: nn.Module) -> LanguageFit:
        def validate(net: nn.Module) -> float:
            return self._measure(net, self.valid).value

        return LanguageFit(net, self.config, self.train.to(self.config.device), validate)

    def evaluate(self, net: nn.Module) -> Measurement:
        return self._measure(net, self.test)

    def pictures(self, net: nn.Module, folder: Path) -> list[Path]:
        from plasticrl.tasks.language.drawing import draw  # late, since it loads matplotlib

        start = self.test[:N_DRAWN, 0].to(self.config.device)
        return draw(net, start, self.corpus.vocabulary, folder)

    def _measure(self, net: nn.Module, parts: Tensor) -> Measurement:
        if self.config.evaluation_tokens:
            parts = parts[: self.config.evaluation_tokens]
        return perplexity(net, parts.to(self.config.device), self.config.bptt_length)


@torch.no_grad()
def perplexity(
    net: nn.Module, parts: Tensor, n_steps: int, batch_size: int = EVALUATION_BATCH_SIZE
) -> Measurement:
    """The perplexity of the parts (L, n) of a text, each read from the initial state.

    Args:
        n_steps: the number of steps of a window. It does not change the result.
        batch_size: the number of parts read at a time. It does not change the result.
    """
    was_training = net.training
    net.eval()
    groups = torch.split(parts, batch_size, dim=1)
    means = torch.cat([_mean_losses(net, group, n_steps) for group in groups])
    net.train(was_training)
    value, (low, high), n = mean(means.double().cpu())
    return Measurement(_exp(value), (_exp(low), _exp(high)), n)


def _exp(nats: float) -> float:
    try:
        return math.exp(nats)
    except OverflowError:  # the net has diverged
        return math.inf


def _mean_losses(net: nn.Module, parts: Tensor, n_steps: int) -> Tensor:
    """The mean loss of each part in nats per word, (B,)."""
    states: Any = None
    total = torch.zeros(parts.shape[1], dtype=torch.float64, device=parts.device)
    for window in windows(parts, n_steps):
        logits, _, _, states = net(window.inputs, states)
        losses = F.cross_entropy(logits.flatten(0, 1), window.targets.flatten(), reduction="none")
        total += losses.view_as(window.targets).sum(dim=0)
    return total / (len(parts) - 1)


def load(config: LanguageConfig) -> tuple[Corpus, DataRecord]:
    """Load the corpus that a config names, and its record for ``evaluation.json``.

    Raises:
        DataError: the data set is missing, altered or damaged.
    """
    if config.data == "synthetic":
        record = DataRecord("synthetic", "1", None, "later parts of the same chain's walk")
        return synthetic(config.seed, config.max_words), record
    if config.data == "penn-treebank":
        paths = PENN_TREEBANK.find(config.data_root)
        record = DataRecord("penn-treebank", "Mikolov 2010", sha256_of(paths), "as published")
        return penn_treebank(paths, config.max_words), record
    split = f"whole books: {', '.join(VALID)} to validate; {', '.join(TEST)} to test"
    return king_james(config.max_words), DataRecord("king-james", "1", KING_JAMES.sha256, split)
