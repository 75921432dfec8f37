"""Training a language model: truncated back-propagation with carried state, SGD, then ASGD.

    w <- w - rate * clip( gradient of the window's loss ),    state <- state after the window
    result = mean of w over the updates from some round on    (ASGD: Polyak & Juditsky 1992)

The rate falls by a factor from round to round. Sources: BP 2019 (arXiv 2002.10585) section 4.3;
the penalties on activity and on its change: Merity et al. 2017 (arXiv 1708.01009).
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from plasticrl.tasks.fitting import REPORTS, SMOOTHING, Log, progress, step
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


def windows(streams: Tensor, n_steps: int) -> Iterator[Window]:
    """Streams (L, B) in order, ``n_steps`` at a time; the last window may be shorter."""
    last = len(streams) - 1  # has no next token
    for start in range(0, last, n_steps):
        end = min(start + n_steps, last)
        yield Window(streams[start:end], streams[start + 1 : end + 1], start == 0)


def fit(
    net: nn.Module,
    config: LanguageConfig,
    streams: Tensor,
    validate: Callable[[nn.Module], float],
    name: str,
    log: Log,
) -> None:
    """``n_updates`` updates, through the streams as often as that takes.

    Args:
        net: gives an ``Output`` from tokens and states.
        streams: of the training text, (L, B).
        validate: the perplexity of a net on the validation text.
        name: of the net, for messages.
        log: gets the loss, and at the end of each round the perplexity.

    Raises:
        FloatingPointError: the loss or its gradient is no longer finite.
    """
    optimizer = torch.optim.SGD(
        net.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
    )
    average: AveragedModel | None = None
    per_round = config.round_updates or -(-(len(streams) - 1) // config.bptt_length)
    states, smooth = None, None
    with progress(name, config.n_updates) as advance:
        for done, window in zip(range(config.n_updates), _forever(streams, config), strict=False):
            n_rounds, update = done // per_round, done + 1
            for group in optimizer.param_groups:
                group["lr"] = rate(config, n_rounds)
            output: Output = net(window.inputs, None if window.is_first else states)
            states = output.states
            loss, word_loss = losses(config, output, window.targets)
            norm = step(net, optimizer, loss, config.max_grad_norm, f"{name}, update {update}")
            if config.average_after and n_rounds >= config.average_after:
                average = average or AveragedModel(net)
                average.update_parameters(net)
            smooth = _smoothed(smooth, word_loss)
            advance(smooth)
            seen = update * config.batch_size
            if update % max(1, config.n_updates // REPORTS) == 0:
                log(seen, {"train/loss": smooth, "train/grad_norm": norm})
            if update % per_round == 0 or update == config.n_updates:
                found = validate(net if average is None else average.module)
                log(seen, {"valid/perplexity": found, "train/rate": rate(config, n_rounds)})
    if average is not None:
        net.load_state_dict(average.module.state_dict())


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


def _forever(streams: Tensor, config: LanguageConfig) -> Iterator[Window]:
    while True:
        yield from windows(streams, config.bptt_length)


def _smoothed(before: float | None, value: float) -> float:
    return value if before is None else SMOOTHING * before + (1 - SMOOTHING) * value
