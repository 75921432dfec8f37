"""Training a language model: truncated back-propagation with carried state, SGD, then ASGD.

    w <- w - rate * clip( gradient of the window's loss ),    state <- state after the window
    result = mean of w over the updates from some round on    (ASGD: Polyak & Juditsky 1992)

The rate falls by a factor from round to round. Sources: BP 2019 (arXiv 2002.10585) section 4.3;
the penalties on activity and on its change: Merity et al. 2017 (arXiv 1708.01009).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from plasticrl.core.state import check_state, leaves, unflatten
from plasticrl.tasks.fitting import Fit, check_finite
from plasticrl.tasks.language.config import LanguageConfig
from plasticrl.tasks.language.model import Output


class Window(NamedTuple):
    """T steps of B streams."""

    inputs: Tensor
    """Tokens, (T, B)."""
    targets: Tensor
    """The token after each, (T, B)."""
    is_first: bool
    """Whether the streams begin here."""


def windows(streams: Tensor, n_steps: int) -> list[Window]:
    """Streams (L, B) in order, ``n_steps`` at a time; the last window may be shorter."""
    last = len(streams) - 1  # has no next token
    return [
        Window(streams[start:end], streams[start + 1 : end + 1], start == 0)
        for start in range(0, last, n_steps)
        for end in [min(start + n_steps, last)]
    ]


class LanguageFit(Fit):
    """``n_updates`` updates, through the streams as often as that takes.

    Args:
        net: gives an ``Output`` from tokens and states.
        streams: of the training text, (L, B).
        validate: the perplexity of a net on the validation text, asked at the end of each round.
    """

    config: LanguageConfig

    def __init__(
        self,
        net: nn.Module,
        config: LanguageConfig,
        streams: Tensor,
        validate: Callable[[nn.Module], float],
    ) -> None:
        optimizer = torch.optim.SGD(
            net.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
        )
        super().__init__(net, optimizer, config)
        self.windows = windows(streams, config.bptt_length)
        self.validate = validate
        self.per_round = config.round_updates or len(self.windows)
        self.states: tuple[Any, ...] | None = None
        """After the last window."""
        self.average: AveragedModel | None = None

    def rate(self) -> float:
        return rate(self.config, self.n_updates // self.per_round)

    def loss(self) -> tuple[Tensor, float]:
        window = self.windows[self.n_updates % len(self.windows)]
        output: Output = self.net(window.inputs, None if window.is_first else self.states)
        self.states = output.states
        return losses(self.config, output, window.targets)

    def updated(self) -> dict[str, float]:
        """Average the weights, and in the end take the average; after a round, the perplexity."""
        n_rounds = (self.n_updates - 1) // self.per_round  # before this update
        if self.config.average_after and n_rounds >= self.config.average_after:
            self.average = self.average or AveragedModel(self.net)
            self.average.update_parameters(self.net)
        is_last = self.n_updates == self.config.n_updates
        if self.n_updates % self.per_round and not is_last:
            return {}
        found = self.validate(self.net if self.average is None else self.average.module)
        if is_last and self.average is not None:
            self.net.load_state_dict(self.average.module.state_dict())
        return {"valid/perplexity": found, "train/rate": rate(self.config, n_rounds)}

    def state(self) -> dict[str, Any]:
        # Cloned, since a state can be a view of all steps of its window.
        tensors = [[leaf.clone() for leaf in leaves(state)] for state in self.states or ()]
        average = None if self.average is None else self.average.state_dict()
        return {**super().state(), "states": tensors, "average": average}

    def restore(self, state: dict[str, Any]) -> None:
        super().restore(state)
        layers: Any = self.net.layers
        self.states = tuple(
            unflatten(
                layer.initial_state(self.config.batch_size),
                [leaf.to(self.config.device) for leaf in tensors],
            )
            for layer, tensors in zip(layers, state["states"], strict=True)
        )
        for layer, one in zip(layers, self.states, strict=True):
            size = self.config.batch_size
            check_state(one, layer.initial_state(size), size)
            check_finite("states", leaves(one))
        if state["average"] is not None:
            self.average = AveragedModel(self.net)
            self.average.load_state_dict(state["average"])
            check_finite("averaged weights", self.average.state_dict().values())


def rate(config: LanguageConfig, n_rounds: int) -> float:
    """The learning rate after a number of whole rounds."""
    return config.learning_rate * config.decay ** max(0, n_rounds - config.decay_after + 1)


def losses(config: LanguageConfig, output: Output, targets: Tensor) -> tuple[Tensor, float]:
    """The loss with its penalties, and the part that counts words: nats a word."""
    words = F.cross_entropy(output.logits.flatten(0, 1), targets.flatten())
    loss = words
    if config.activity_penalty:
        loss = loss + config.activity_penalty * output.dropped.square().mean()
    if config.change_penalty and len(output.last) > 1:
        loss = loss + config.change_penalty * output.last.diff(dim=0).square().mean()
    return loss, words.item()
