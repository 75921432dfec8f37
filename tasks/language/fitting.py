"""Training of a language model by truncated back-propagation through time, SGD and then ASGD.

    w <- w - rate * clip( gradient of the window's loss ),    state <- state after the window
    result = mean of w over the updates after average_after rounds (ASGD: Polyak & Juditsky 1992)

The rate decreases by a factor from round to round.
Sources: BP 2019 (arXiv 2002.10585) section 4.3;
the penalties on activity and on its change: Merity et al. 2017 (arXiv 1708.01009).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from plasticrl.core.state import leaves, unflatten
from plasticrl.tasks.fitting import Fit
from plasticrl.tasks.language.config import LanguageConfig
from plasticrl.tasks.language.model import Output


class Window(NamedTuple):
    """T steps of B streams, which are one update."""

    inputs: Tensor
    """The tokens (T, B)."""
    targets: Tensor
    """The next token of each (T, B)."""
    is_first: bool
    """Whether the window is at the start of the streams, so that the initial states are used."""


def windows(streams: Tensor, n_steps: int) -> list[Window]:
    """Cut streams (L, B) into windows of ``n_steps``; the last window may be shorter."""
    last = len(streams) - 1  # the last token has no next one
    return [
        Window(streams[start:end], streams[start + 1 : end + 1], start == 0)
        for start in range(0, last, n_steps)
        for end in [min(start + n_steps, last)]
    ]


class LanguageFit(Fit):
    """The training of a language model. When the streams end, it reads them again from the start.

    Args:
        net: maps tokens and states to an ``Output``.
        streams: the training text (L, B).
        validate: computes the validation perplexity of a net; called at the end of each round.
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
        self.updates_per_round = config.round_updates or len(self.windows)
        self.states: tuple[Any, ...] | None = None
        """The states of all layers after the last window."""
        self.average: AveragedModel | None = None

    def learning_rate(self) -> float:
        return learning_rate(self.config, self.n_updates // self.updates_per_round)

    def loss(self) -> tuple[Tensor, float]:
        window = self.windows[self.n_updates % len(self.windows)]
        output: Output = self.net(window.inputs, None if window.is_first else self.states)
        self.states = output.states
        return losses(self.config, output, window.targets)

    def updated(self) -> dict[str, float]:
        """Update the average of the weights, use it at the end, and validate after each round."""
        n_rounds = (self.n_updates - 1) // self.updates_per_round  # completed before this update
        if self.config.average_after and n_rounds >= self.config.average_after:
            self.average = self.average or AveragedModel(self.net)
            self.average.update_parameters(self.net)
        is_last = self.n_updates == self.config.n_updates
        if self.n_updates % self.updates_per_round and not is_last:
            return {}
        perplexity = self.validate(self.net if self.average is None else self.average.module)
        if is_last and self.average is not None:
            self.net.load_state_dict(self.average.module.state_dict())
        return {"valid/perplexity": perplexity, "train/rate": learning_rate(self.config, n_rounds)}

    def state(self) -> dict[str, Any]:
        # A state can be a view of all steps of its window; without clone, all would be saved.
        tensors = [[leaf.clone() for leaf in leaves(state)] for state in self.states or ()]
        average = None if self.average is None else dict(self.average.state_dict())
        return {**super().state(), "states": tensors, "average": average}

    def form(self, state: dict[str, Any]) -> dict[str, Any]:
        tensors = [
            [leaf.cpu() for leaf in leaves(layer.initial_state(self.config.batch_size))]
            for layer in self._layers
        ]
        is_averaged = state.get("average") is not None
        average = dict(AveragedModel(self.net).state_dict()) if is_averaged else None
        return {**super().form(state), "states": tensors, "average": average}

    def restore(self, state: dict[str, Any]) -> None:
        super().restore(state)
        self.states = tuple(
            unflatten(
                layer.initial_state(self.config.batch_size),
                [leaf.to(self.config.device) for leaf in tensors],
            )
            for layer, tensors in zip(self._layers, state["states"], strict=True)
        )
        if state["average"] is not None:
            self.average = AveragedModel(self.net)
            self.average.load_state_dict(state["average"])

    @property
    def _layers(self) -> Any:
        return self.net.layers


def learning_rate(config: LanguageConfig, n_rounds: int) -> float:
    """The learning rate after a number of complete rounds."""
    return config.learning_rate * config.decay ** max(0, n_rounds - config.decay_after + 1)


def losses(config: LanguageConfig, output: Output, targets: Tensor) -> tuple[Tensor, float]:
    """The loss with its penalties, and the cross-entropy alone, in nats per word."""
    words = F.cross_entropy(output.logits.flatten(0, 1), targets.flatten())
    loss = words
    if config.activity_penalty:
        loss = loss + config.activity_penalty * output.dropped.square().mean()
    if config.change_penalty and len(output.last) > 1:
        loss = loss + config.change_penalty * output.last.diff(dim=0).square().mean()
    return loss, words.item()
