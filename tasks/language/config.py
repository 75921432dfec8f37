"""Options, data sets and presets of word-level language modeling."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from plasticrl.runs import UsageError
from plasticrl.tasks.config import DataTaskConfig
from plasticrl.tasks.data import EmbeddedDataSet, ExternalDataSet, File

Kind = Literal["lstm", "plastic", "simple", "retroactive"]

KING_JAMES = EmbeddedDataSet(
    "king-james",
    "language",
    Path(__file__).parent / "king_james.txt.xz",
    "d197d9ec4e960d0329d6bcdf5403fca946e3ed2648dda1271ecbe00adc51671d",
    "the King James Bible, 791 k words, in the public domain, from Debian's bible-kjv-text",
)
PENN_TREEBANK = ExternalDataSet(
    "Penn Treebank",
    "language",
    (
        File("ptb.train.txt", "f26c4b92c5fdc7b3f8c7cdcb991d8420"),
        File("ptb.valid.txt", "aa0affc06ff7c36e977d7cd49e3839bf"),
        File("ptb.test.txt", "8b80168b89c18661a38ef683c0dc3721"),
    ),
    "king-james",
)
DATA_SETS: tuple[EmbeddedDataSet | ExternalDataSet, ...] = (KING_JAMES, PENN_TREEBANK)


@dataclass(frozen=True, kw_only=True)
class LanguageConfig(DataTaskConfig):
    """Word-level language modeling with plastic LSTMs; BP 2019.

    The training text is read as ``batch_size`` parallel streams, in windows of ``bptt_length``
    steps. Each window is an update, and its last state is the first of the next window. A round is
    ``round_updates`` updates.
    """

    name: ClassVar[str] = "language"
    external_data: ClassVar[str] = "penn-treebank"

    data: Literal["king-james", "penn-treebank", "synthetic"] = "king-james"
    """king-james, penn-treebank (ptb.{train,valid,test}.txt) or synthetic."""
    max_words: int = 10_000
    """Size of the vocabulary, the most frequent words of the training text; with data=synthetic,
    number of words of the Markov chain, at most 30."""
    nets: tuple[Kind, ...] = ("simple", "lstm", "plastic", "retroactive")
    """Any of lstm, plastic, simple and retroactive: first the run's own net, then its controls."""
    embedding_size: int = 200
    """Size of a word's embedding."""
    layers: tuple[int, ...] = (200, 200)
    """Units of each LSTM layer; plastic nets have fewer, for at most as many parameters."""
    tied: bool = False
    """Use the embedding as the weights of the decoder; the last layer must have the same size."""
    alpha: Literal["neuron", "connection"] = "neuron"
    """One plasticity coefficient per neuron, its gradient divided by the number of its connections;
    or one per connection."""
    trace_bound: float = 2.0
    """Largest absolute value of a trace."""
    dropout_input: float = 0.0
    """Dropout probability of the embedding, with the same mask at all steps of a window."""
    dropout_hidden: float = 0.0
    """Dropout probability between layers."""
    dropout_output: float = 0.0
    """Dropout probability after the last layer."""
    activity_penalty: float = 0.0
    """Coefficient of the penalty on the mean square of the last layer's activity, after dropout."""
    change_penalty: float = 0.0
    """Coefficient of the penalty on the mean square of its change per step, before dropout."""
    weight_decay: float = 0.0
    """Coefficient of the weight decay, which is added to the gradient."""
    bptt_length: int = 20
    """Steps per window of truncated back-propagation through time."""
    learning_rate: float = 20.0
    """Learning rate of stochastic gradient descent on the loss per word."""
    max_grad_norm: float = 0.25
    """Norm at which the gradient is clipped."""
    round_updates: int = 0
    """Updates per round, which ends with a validation; 0: once through the training text."""
    decay: float = 1.0
    """Factor on the learning rate at the start of each round after the first decay_after ones."""
    decay_after: int = 0
    """Number of rounds at the full learning rate."""
    average_after: int = 0
    """Number of rounds after which the weights are averaged (ASGD); 0: no averaging."""
    evaluation_episodes: int = 20
    """Equal parts of a held-out text, each read from the initial state, for the interval."""
    evaluation_tokens: int = 0
    """Number of tokens read at the start of each part; 0: all."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_at_least("max_words", 3)
        for name in ("embedding_size", "bptt_length"):
            self._check_at_least(name, 1)
        for name in ("round_updates", "decay_after", "average_after", "evaluation_tokens"):
            self._check_at_least(name, 0)
        if self.evaluation_tokens == 1:
            raise UsageError(
                "evaluation_tokens must be 0 or at least 2: the first token is not predicted"
            )
        self._check_positive("trace_bound", "decay")
        for name in ("dropout_input", "dropout_hidden", "dropout_output"):
            self._check_range(name, 1.0)
        for name in ("activity_penalty", "change_penalty", "weight_decay"):
            self._check_range(name, float("inf"))
        self._check_layers()

    def _check_range(self, name: str, end: float) -> None:
        if not 0 <= getattr(self, name) < end:
            raise UsageError(f"{name} must be from 0 to below {end}, not {getattr(self, name)}")

    def _check_layers(self) -> None:
        if not self.layers or min(self.layers) < 1:
            raise UsageError(f"layers must be sizes of at least 1, not {self.layers}")
        if self.tied and self.layers[-1] != self.embedding_size:
            raise UsageError(
                f"tied needs a last layer of embedding_size={self.embedding_size} units, "
                f"not {self.layers[-1]}"
            )
        if not self.nets or len(set(self.nets)) < len(self.nets):
            raise UsageError(f"nets must be one or several different names, not {self.nets}")


def language_quickstart() -> LanguageConfig:
    """120,000 words of King James, a vocabulary of 2,000, nets of 32 units: a quick trial."""
    return LanguageConfig(
        max_words=2_000,
        embedding_size=32,
        layers=(32, 32),
        tied=True,
        n_updates=300,
        batch_size=20,
        round_updates=75,
        decay=0.5,
        decay_after=2,
        evaluation_tokens=500,
    )


def language_small() -> LanguageConfig:
    """Four nets of at most 233,632 parameters, trained on 400,000 words of King James.

    The rate, the clipping, 20 steps, 20 streams and one alpha per connection are those of
    language-paper-small. The sizes, the vocabulary and the schedule are chosen so that it takes
    minutes on one core.
    """
    return LanguageConfig(
        max_words=4_000,
        embedding_size=48,
        layers=(48, 48),
        tied=True,
        alpha="connection",
        n_updates=1_000,
        batch_size=20,
        round_updates=200,
        decay=0.5,
        decay_after=3,
        average_after=4,
    )


def language_paper_small() -> LanguageConfig:
    """Two layers of 200 on the Penn Treebank, 13 epochs; BP 2019 (arXiv 2002.10585).

    The paper: 20 steps, rate 1, clipping at 5, decay of .25 to .40 from epoch 4 to 6. We assume
    that its rate and clipping belong to a loss summed over the steps of a window. Our loss is the
    mean, so that the same updates need 20 times the rate and a 20th of the clipping norm. The 20
    streams and the exact decay are our choice.
    """
    return LanguageConfig(
        data="penn-treebank",
        alpha="connection",
        batch_size=20,
        n_updates=13 * 2_324,
        decay=0.4,
        decay_after=5,
    )


def language_paper() -> LanguageConfig:
    """The large model on the Penn Treebank, 24 M parameters; BP 2019 (arXiv 2002.10585).

    Embedding 400, layers 1150, 1150, 400, rate 30, clipping .25, 70 steps, batch 6, penalties 2 and
    1, averaging from epoch 125. The 500 epochs of 2,214 updates are our choice. The output dropout
    of .4 is quoted from memory and not verified. All windows have 70 steps; in Merity et al. 2017
    their length varies.
    """
    return LanguageConfig(
        data="penn-treebank",
        nets=("simple", "lstm"),
        embedding_size=400,
        layers=(1150, 1150, 400),
        tied=True,
        dropout_input=0.4,
        dropout_hidden=0.25,
        dropout_output=0.4,
        activity_penalty=2.0,
        change_penalty=1.0,
        weight_decay=1.2e-6,
        bptt_length=70,
        batch_size=6,
        learning_rate=30.0,
        n_updates=500 * 2_214,
        average_after=124,
        evaluation_episodes=10,
    )


PRESETS = {
    "language-quickstart": language_quickstart,
    "language-small": language_small,
    "language-paper-small": language_paper_small,
    "language-paper": language_paper,
}
