"""The language model and its training, worked by hand or against torch's own."""

import math
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor, nn

from plasticrl.commands import run_command
from plasticrl.core import sequence
from plasticrl.runs import UsageError
from plasticrl.tasks.fitting import Log
from plasticrl.tasks.language.config import Kind, LanguageConfig, language_paper, language_small
from plasticrl.tasks.language.drawing import draw as draw_text
from plasticrl.tasks.language.fitting import LanguageFit, learning_rate, losses, windows
from plasticrl.tasks.language.model import (
    LanguageModel,
    Output,
    locked_dropout,
    n_parameters,
    sizes,
)
from plasticrl.tasks.language.synthetic import N_WORDS, chain
from plasticrl.tasks.language.task import Language, perplexity

train_main = partial(run_command, "train")

KINDS: tuple[Kind, ...] = get_args(Kind)
PLASTIC_KINDS = [kind for kind in KINDS if kind != "lstm"]
N = 11
SMALL = LanguageConfig(
    data="synthetic",
    embedding_size=6,
    layers=(7, 6),
    tied=True,
    bptt_length=5,
    batch_size=4,
    n_updates=30,
    learning_rate=2.0,
    evaluation_episodes=8,
    evaluation_tokens=40,
)


def model(kind: Kind, config: LanguageConfig = SMALL) -> LanguageModel:
    torch.manual_seed(0)
    net = LanguageModel(config, kind, N, config.layers).double()
    for layer in net.layers:
        if layer.connection is not None:
            nn.init.constant_(layer.connection.alpha, 0.5)  # so that the trace matters
    return net


def text(n_steps: int, n_streams: int) -> Tensor:
    return torch.randint(0, N, (n_steps, n_streams), generator=torch.Generator().manual_seed(1))


def quiet(step: int, values: dict[str, float]) -> None:
    pass


def fit(
    net: nn.Module,
    config: LanguageConfig,
    streams: Tensor,
    validate: Callable[[nn.Module], float],
    log: Log = quiet,
) -> None:
    LanguageFit(net, config, streams, validate).run("net", log, lambda: None)


@pytest.mark.parametrize("kind", KINDS)
def test_windows_with_carried_state_equal_one_pass(kind: Kind) -> None:
    """Otherwise the net forgets at every window's end."""
    net, tokens = model(kind).eval(), text(47, 3)
    whole: Output = net(tokens[:-1])
    states: Any = None
    pieces = []
    for window in windows(tokens, 20):
        logits, _, _, states = net(window.inputs, None if window.is_first else states)
        pieces.append(logits)
    assert [len(piece) for piece in pieces] == [20, 20, 6]
    torch.testing.assert_close(torch.cat(pieces), whole.logits, rtol=1e-9, atol=1e-9)
    for state, expected in zip(states, whole.states, strict=True):
        for leaf, other in zip(state, expected, strict=True):
            assert (leaf is None) == (other is None)
            if leaf is not None:
                torch.testing.assert_close(leaf, other, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_the_perplexity_does_not_depend_on_the_batch(kind: Kind) -> None:
    """Otherwise the result depends on the batch size, or is not the perplexity."""
    net, parts = model(kind, replace(SMALL, dropout_input=0.5)), text(33, 8)
    one, eight = (perplexity(net, parts, 20, batch_size) for batch_size in (1, 8))
    assert one.value == pytest.approx(eight.value, rel=1e-12)
    assert one.ci95 == pytest.approx(eight.ci95, rel=1e-9)
    assert one.episodes == eight.episodes == 8
    assert net.training
    logits = net.eval()(parts[:-1]).logits
    mean = F.cross_entropy(logits.flatten(0, 1), parts[1:].flatten()).item()
    assert one.value == pytest.approx(math.exp(mean), rel=1e-9)


def test_a_dropped_unit_is_dropped_at_all_steps() -> None:
    """Otherwise the dropout is not variational, and noise accumulates in the state."""
    torch.manual_seed(0)
    dropped = locked_dropout(torch.ones(9, 50, 40), 0.25)
    assert torch.equal(dropped, dropped[:1].expand_as(dropped))
    assert dropped.unique().tolist() == pytest.approx([0.0, 4 / 3])
    assert (dropped == 0).float().mean().item() == pytest.approx(0.25, abs=0.03)
    assert not torch.equal(dropped[:, 0], dropped[:, 1])  # streams have masks of their own


@pytest.mark.parametrize("name", ["dropout_input", "dropout_hidden", "dropout_output"])
def test_every_dropout_acts_only_in_training(name: str) -> None:
    """Otherwise an option does nothing, or a measurement is random."""
    options: dict[str, Any] = {name: 0.5}
    net, tokens = model("lstm", replace(SMALL, **options)), text(6, 4)
    plain = model("lstm").eval()(tokens).logits
    assert not torch.allclose(net(tokens).logits, plain)
    torch.testing.assert_close(net.eval()(tokens).logits, plain)


def test_the_model_is_embedding_layers_and_decoder() -> None:
    """Otherwise the model is wrong. The oracle is torch's LSTM with the same weights."""
    net, tokens = model("lstm").eval(), text(6, 4)
    x = net.embedding.weight[tokens]
    for layer in net.layers:
        own = nn.LSTM(layer.input_size, layer.hidden_size).double()
        for theirs, ours in zip(own.parameters(), layer.parameters(), strict=True):
            theirs.data.copy_(ours.data)
        x, _ = own(x)
    expected = x @ net.embedding.weight.T + net.decoder.bias
    torch.testing.assert_close(net(tokens).logits, expected)


def test_tied_weights_are_one() -> None:
    """Otherwise they become different, and there are more parameters than in the paper."""
    net = model("simple")
    assert net.decoder.weight is net.embedding.weight
    untied = model("simple", replace(SMALL, tied=False))
    assert untied.decoder.weight is not untied.embedding.weight
    assert n_parameters(replace(SMALL, tied=False), "simple", N, (7, 6)) == (
        n_parameters(SMALL, "simple", N, (7, 6)) + 6 * N
    )


@pytest.mark.parametrize(("kind", "expected"), [("lstm", 24_221_600), ("simple", 24_198_893)])
def test_published_parameter_counts(kind: Kind, expected: int) -> None:
    """Otherwise the large model is not that of BP 2019; 1,149 units follow from 1,150."""
    config = language_paper()
    layers = sizes(config, kind, 10_000)
    assert layers == ((1150, 1150, 400) if kind == "lstm" else (1149, 1149, 400))
    assert n_parameters(config, kind, 10_000, layers) == expected


@pytest.mark.parametrize("kind", PLASTIC_KINDS)
@pytest.mark.parametrize("alpha", ["neuron", "connection"])
def test_a_plastic_net_has_as_many_parameters_as_the_lstm_or_just_fewer(
    kind: Kind, alpha: Any
) -> None:
    """Otherwise the comparison is unfair. One more unit would be too many."""
    config = replace(language_small(), alpha=alpha)
    layers = sizes(config, kind, 4_000)
    most = n_parameters(config, "lstm", 4_000, (48, 48))
    assert n_parameters(config, kind, 4_000, layers) <= most
    assert n_parameters(config, kind, 4_000, (layers[0] + 1, 48)) > most


@pytest.mark.parametrize("kind", ["plastic", "retroactive"])
def test_the_gradient_of_what_connections_share_is_divided_by_their_number(kind: Kind) -> None:
    """By hand: by N for the alpha of a neuron, by N^2 for eta. Otherwise training diverges."""
    net, tokens = model(kind), text(9, 4)
    net(tokens).logits.square().sum().backward()
    bare = model(kind)
    x = bare.embedding(tokens)
    for layer in bare.layers:
        for parameter in (layer.connection.alpha, layer.connection.eta):
            parameter._backward_hooks.clear()
        x, _ = sequence(layer, x)
    bare.decoder(x).square().sum().backward()
    for ours, theirs in zip(net.layers, bare.layers, strict=True):
        n = ours.hidden_size
        for name, share in (("alpha", n), ("eta", n * n), ("weight", 1)):
            found, whole = (getattr(layer.connection, name).grad for layer in (ours, theirs))
            assert whole.abs().max() > 0
            torch.testing.assert_close(found * share, whole)


WIDE = """
import resource, torch
from plasticrl.tasks.language.config import LanguageConfig
from plasticrl.tasks.language.model import LanguageModel
torch.manual_seed(0)
config = LanguageConfig(embedding_size=400, layers=(1149,))
net = LanguageModel(config, 'simple', 50, config.layers)
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
start, state = peak(), net.layers[0].initial_state(6)
net(torch.randint(0, 50, (70, 6)), (state,)).logits.square().mean().backward()
print(peak() - start)
"""


@pytest.mark.slow
def test_a_layer_of_the_large_model_trains_in_three_gigabytes() -> None:
    """BP 2019: 1,149 units, 6 streams, 70 steps. Storing every trace would take over 12 GB."""
    ran = subprocess.run([sys.executable, "-c", WIDE], capture_output=True, check=True)
    assert int(ran.stdout) < 3_000_000  # kilobytes


def test_alpha_of_each_connection_keeps_its_gradient() -> None:
    """Otherwise plasticity is learned too slowly if no parameters are shared."""
    net = model("simple", replace(SMALL, alpha="connection"))
    assert all(not layer.connection.alpha._backward_hooks for layer in net.layers)


def test_the_penalties() -> None:
    """By hand. Otherwise a penalty is computed from the wrong activity."""
    last = torch.tensor([[[1.0, 2.0]], [[1.0, 5.0]]])
    output = Output(torch.zeros(2, 1, 3), last, 2 * last, ())
    config = replace(SMALL, activity_penalty=0.5, change_penalty=0.25)
    loss, words = losses(config, output, torch.tensor([[0], [2]]))
    assert words == pytest.approx(math.log(3))
    activity, change = 4 * (1 + 4 + 1 + 25) / 4, (0 + 9) / 2
    assert loss.item() == pytest.approx(math.log(3) + 0.5 * activity + 0.25 * change)
    one_step = output._replace(logits=output.logits[:1], last=last[:1], dropped=last[:1])
    assert math.isfinite(losses(config, one_step, torch.tensor([[0]]))[0].item())


def trained(config: LanguageConfig, watch: Callable[[nn.Module], None] = lambda _: None) -> Tensor:
    """All parameters after training; ``watch`` sees the net before each update."""
    net = model("lstm", config)
    before = net.forward

    def forward(*arguments: Any) -> Output:
        watch(net)
        return before(*arguments)

    net.forward = forward  # type: ignore[method-assign]
    fit(net, config, text(201, 4), lambda _: 1.0)
    return nn.utils.parameters_to_vector(net.parameters())


def test_the_result_is_the_mean_of_the_weights_from_the_switch_on() -> None:
    """Otherwise ASGD averages the wrong weights."""
    seen: list[Tensor] = []

    def watch(net: nn.Module) -> None:
        seen.append(nn.utils.parameters_to_vector(net.parameters()).detach().clone())

    plain = replace(SMALL, n_updates=25, round_updates=10)
    averaged = replace(plain, average_after=2)
    last = trained(plain, watch)
    torch.testing.assert_close(trained(averaged), torch.stack([*seen[21:], last]).mean(dim=0))
    assert not torch.allclose(trained(averaged), last)
    torch.testing.assert_close(trained(replace(plain, average_after=3)), last)  # never reached


def test_an_update_is_sgd_on_the_clipped_gradient_of_a_window() -> None:
    """By hand. Otherwise the learning rate, the clipping or the weight decay is wrong."""
    config = replace(SMALL, n_updates=1, weight_decay=0.01, max_grad_norm=0.1)
    net, tokens = model("lstm"), text(201, 4)
    weights = nn.utils.parameters_to_vector(net.parameters())
    logits = net(tokens[:5]).logits
    loss = F.cross_entropy(logits.flatten(0, 1), tokens[1:6].flatten())
    gradient = torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(net.parameters()))])
    assert gradient.norm() > 0.1
    step = gradient * 0.1 / gradient.norm() + 0.01 * weights
    torch.testing.assert_close(trained(config), weights - 2.0 * step, rtol=1e-5, atol=1e-6)


def test_the_state_is_carried_from_window_to_window_but_not_to_the_text_s_start() -> None:
    """Otherwise a window starts with no state, or with that of another part of the text."""
    net, given = model("simple"), []
    before = net.forward

    def forward(tokens: Tensor, states: Any = None) -> Output:
        output = before(tokens, states)
        given.append((states, output.states))
        return output

    net.forward = forward  # type: ignore[method-assign]
    fit(net, replace(SMALL, n_updates=7), text(16, 4), lambda _: 1.0)
    starts = [states is None for states, _ in given]
    assert starts == [True, False, False, True, False, False, True]  # 15 steps in windows of 5
    assert given[1][0] is given[0][1]
    assert given[2][0] is given[1][1]
    assert not any(leaf.requires_grad for leaf in given[1][0][0] if leaf is not None)


@pytest.mark.parametrize("after", [1, 3, 4, 8])
@pytest.mark.parametrize("kind", ["lstm", "retroactive"])
def test_a_training_goes_on_from_any_update(kind: Kind, after: int) -> None:
    """Otherwise the state, the position in the text, the round or the average is lost."""
    config = replace(SMALL, n_updates=9, round_updates=2, average_after=3, decay=0.5)

    def start() -> LanguageFit:
        return LanguageFit(model(kind, config), config, text(16, 4), lambda _: 1.0)

    unbroken, first, second = start(), start(), start()
    unbroken.run("net", quiet, lambda: None)
    for _ in range(after):
        first.update("net")
    second.restore(first.state())
    second.run("net", quiet, lambda: None)
    for one, other in zip(second.net.parameters(), unbroken.net.parameters(), strict=True):
        assert torch.equal(one, other)


def test_the_learning_rate_decays_after_decay_after_rounds() -> None:
    """By hand: two rounds at the full rate, then half of it in each."""
    config = replace(SMALL, learning_rate=8.0, decay=0.5, decay_after=2)
    assert [learning_rate(config, n_rounds) for n_rounds in range(5)] == [8, 8, 4, 2, 1]


@pytest.mark.parametrize(("round_updates", "expected"), [(4, [16, 32, 40]), (0, [12, 24, 36, 40])])
def test_every_round_ends_with_a_validation(round_updates: int, expected: list[int]) -> None:
    """Otherwise the validation curve has gaps. A round of 0 updates is once through the text."""
    lines: list[tuple[int, dict[str, float]]] = []
    config = replace(SMALL, n_updates=10, round_updates=round_updates)
    net = model("lstm", config)
    fit(net, config, text(16, 4), lambda _: 7.0, lambda *line: lines.append(line))
    assert [at for at, values in lines if "valid/perplexity" in values] == expected


def test_a_non_finite_loss_stops_the_training() -> None:
    """Otherwise hours pass with nothing learned."""
    net = model("lstm")
    nn.init.constant_(net.decoder.bias, math.nan)
    with pytest.raises(FloatingPointError, match="net, update 1: the loss is nan; lower the"):
        fit(net, SMALL, text(201, 4), lambda _: 1.0)


def test_the_lstm_comes_near_the_entropy_and_not_below() -> None:
    """No model can be better than the source, unless it sees the words that it has to predict."""
    config = LanguageConfig(
        data="synthetic",
        embedding_size=32,
        layers=(32,),
        tied=True,
        batch_size=20,
        n_updates=800,
        decay=0.3,
        round_updates=100,
        decay_after=5,
    )
    task = Language(config)
    net = task.nets()[1].build()
    task.fit(net).run("LSTM", quiet, lambda: None)
    found = task.evaluate(net)
    source = chain(config.seed)
    # What the true probabilities give on the same text: the luck of a finite text included.
    pairs = torch.stack([task.test[:-1].flatten(), task.test[1:].flatten()])
    lucky = -torch.tensor(source.transitions).log()[pairs[0], pairs[1]]
    assert lucky.mean().item() == pytest.approx(
        source.entropy, abs=4 * lucky.std().item() / math.sqrt(len(lucky))
    )
    excess = math.log(found.value) - lucky.mean().item()
    assert -0.003 < excess < 0.05
    assert source.entropy < 0.75 * math.log(N_WORDS)  # there was something to learn


@pytest.mark.parametrize(("kind", "n_panels"), [("lstm", 1), ("plastic", 2), ("retroactive", 3)])
def test_a_text_is_drawn_word_by_word(
    kind: Kind, n_panels: int, tmp_path: Path, figures: dict[str, Figure]
) -> None:
    """Otherwise the surprise, the modulation or the trace is drawn at the wrong word.

    The oracle reads the text in one pass: its last state is the one after the last word.
    """
    net, tokens = model(kind), text(12, 1)[:, 0]
    vocabulary = tuple(f"${number}" for number in range(N))  # which is no formula
    (file,) = draw_text(net, tokens, vocabulary, tmp_path)
    with Image.open(file) as image:
        assert (file.name, image.format) == ("text.png", "PNG")
    assert net.training
    panels = figures["text"].axes
    assert len(panels) == n_panels
    assert [label.get_text() for label in panels[-1].get_xticklabels()] == [
        vocabulary[token] for token in tokens
    ]
    output: Output = net.eval()(tokens.view(-1, 1))
    expected = -output.logits[:-1, 0].log_softmax(dim=1).gather(1, tokens[1:, None])[:, 0]
    bars = {round(bar.get_x() + bar.get_width() / 2): bar.get_height() for bar in panels[0].patches}
    assert list(bars) == list(range(1, 12))
    assert list(bars.values()) == pytest.approx(expected.tolist())
    layers = list(zip(net.layers, output.states, strict=True))
    last = [[line.get_ydata()[-1] for line in panel.lines] for panel in panels[1:]]
    if kind != "lstm":
        assert last[-1] == pytest.approx([state.trace.abs().mean().item() for _, state in layers])
    if kind == "retroactive":
        signals = [layer.modulation(state).mean().item() for layer, state in layers]
        assert last[0] == pytest.approx(signals)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tied": True, "layers": (5, 7)}, "tied needs a last layer of embedding_size=200 units"),
        ({"layers": ()}, "layers must be sizes of at least 1"),
        ({"nets": ("lstm", "lstm")}, "nets must be one or several different names"),
        ({"dropout_hidden": 1.0}, "dropout_hidden must be from 0 to below 1"),
        ({"dropout_input": math.nan}, "dropout_input must be from 0"),
        ({"decay": 0.0}, "decay must be a finite number above 0"),
        ({"evaluation_tokens": 1}, "evaluation_tokens must be 0 or at least 2"),
        ({"bptt_length": 0}, "bptt_length must be at least 1"),
        ({"max_words": 2}, "max_words must be at least 3"),
    ],
)
def test_a_bad_value_is_named(options: dict[str, Any], message: str) -> None:
    """Otherwise the user reads an error about tensor shapes."""
    with pytest.raises(UsageError, match=message):
        LanguageConfig(**options)
