"""What appendix B did with digits, what it saw, and what it left open."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

from cryolatent.config.owners import belonging
from cryolatent.config.training import TrainConfig

SEEDS = 5
TEXT, CODE = "the appendix's text", "the authors' code"
COMMON: Mapping[str, Any] = {
    "posterior": "encoder",
    "decoder": "pixel",
    "z_dim": 2,
    "encoder_width": 256,
    "encoder_layers": 2,
    "encoder_residual": False,
    "decoder_width": 256,
    "decoder_layers": 1,
    "epochs": 100,
    "batch_size": 128,
    "learning_rate": 0.01,
    "objective": "summed-elbo",
    "beta": 1.0,
    "beta_warmup": 0,
    "table_optimiser": "sparse-adam",
    "table_learning_rate": 0.01,
    "threads": 1,
}


class Claim(Enum):
    """What the appendix says of an experiment, as a question that numbers can answer."""

    READABLE = "most reconstructions show the digit that was put in"
    CLOSER = "the table's reconstruction term is lower and its KL term higher"
    NONE = ""


@dataclass(frozen=True)
class Move:
    """What is done to the pictures that a trained encoder is shown.

    Args:
        columns: Columns that are rolled to the right, with wrap-around.
        noise_mean: Mean of the Gaussian noise added to every pixel.
        noise_variance: Its variance.
    """

    columns: int = 0
    noise_mean: float = 0.0
    noise_variance: float = 0.0


@dataclass(frozen=True)
class Experiment:
    """An experiment on digits.

    Args:
        name: What it is called in folders and on the command line.
        figures: Figures of the report that show it.
        title: What is done.
        saw: What the appendix says of it, in short, or why it is here.
        claim: The same as a question.
        options: Options that differ from `COMMON`, by name.
        against: Experiment that it is compared with.
        pretrained: Experiment from whose best run the table starts.
        move: For an experiment that trains nothing, what its encoder is shown.
        reading: Whose reading of the settings it is, where text and code disagree.
        described: Whether the appendix describes it, with or without a figure.
        repeated: Number of seeds.
        slow: Whether it takes several times as long as the others, and is begun before them.
    """

    name: str
    figures: tuple[int, ...]
    title: str
    saw: str
    claim: Claim = Claim.NONE
    options: Mapping[str, Any] = field(default_factory=dict)
    against: str = "vae"
    pretrained: str | None = None
    move: Move | None = None
    reading: str = ""
    described: bool = True
    repeated: int = 1
    slow: bool = False

    @property
    def label(self) -> str:
        """Its figures, or that the appendix describes it, or that it is an addition."""
        if self.figures:
            return f"Figures {' and '.join(map(str, self.figures))}"
        return "Appendix B" if self.described else "Added"

    @property
    def seeds(self) -> range:
        """Seeds of its trainings."""
        return range(self.repeated)

    @property
    def is_frozen(self) -> bool:
        """Whether the rows of its table are never trained."""
        return self.options.get("table_learning_rate") == 0.0

    def config(
        self, seed: int, parent: Path | None = None, epochs: int | None = None
    ) -> TrainConfig:
        """The options of a training.

        Args:
            seed: Fixes every random choice.
            parent: Run that a table starts from.
            epochs: Passes over the digits, if not the report's.

        Returns:
            The configuration.
        """
        asked = dict(self.options) | {"seed": seed}
        if parent is not None:
            asked["pretrained"] = parent
        if epochs is not None:
            asked["epochs"] = epochs
        kept = {k: v for k, v in belonging({**COMMON, **asked}).items() if k not in asked}
        return TrainConfig.of(kept | asked)


def _table(**options: Any) -> dict[str, Any]:
    return {"posterior": "table"} | options


def _frozen(**options: Any) -> dict[str, Any]:
    return _table(**options) | {"table_learning_rate": 0.0}


EXPERIMENTS = (
    Experiment(
        "vae",
        (11, 12),
        "Standard VAE",
        "Most pictures are reconstructed as the right digit, and the latents cluster by digit, "
        "ones and zeros best, fours with nines and sixes with eights worst. Starts and learning "
        "rate matter: a few trainings fail or stick in poor minima.",
        Claim.READABLE,
        reading=TEXT,
        repeated=SEEDS,
    ),
    Experiment(
        "shift-1",
        (13, 14),
        "Images shifted by one column, shown to the trained VAE",
        "Latents and reconstructions are shown, without a statement about them.",
        move=Move(columns=1),
    ),
    Experiment(
        "shift-5",
        (15, 16),
        "Images shifted by five columns, shown to the trained VAE",
        "Latents and reconstructions are shown, without a statement about them.",
        move=Move(columns=5),
    ),
    Experiment(
        "table",
        (17, 18),
        "Variational lookup table from zeros",
        "It converges more slowly, to a much lower loss: the reconstruction term is lower, the KL "
        "term higher (about 950 against 660). The latents look more normal, the digits less "
        "separated, and fewer reconstructions are mistaken.",
        Claim.CLOSER,
        _table(table_start="zero"),
        reading=TEXT,
        repeated=SEEDS,
    ),
    Experiment(
        "vae-code",
        (),
        "Standard VAE with an encoder of two hidden layers",
        "The text counts three hidden layers in the encoder; the published code has two.",
        options={"encoder_layers": 1},
        reading=CODE,
    ),
    Experiment(
        "table-sgd",
        (),
        "Variational lookup table, its rows trained by SGD",
        "The text speaks of identical settings, so of Adam at 0.01; the published code has plain "
        "gradient steps on the rows, and the other as a comment.",
        options=_table(table_start="zero") | {"table_optimiser": "sgd"},
        against="table",
        reading=CODE,
    ),
    Experiment(
        "noise",
        (),
        "Images with Gaussian noise of mean zero, shown to the trained VAE",
        "Noise of a fixed variance is added to every pixel; no result is given.",
        move=Move(noise_variance=0.25),
        reading=TEXT,
    ),
    Experiment(
        "noise-code",
        (),
        "Images with Gaussian noise of mean one half, shown to the trained VAE",
        "The published code adds noise of mean 0.5 and standard deviation 0.5.",
        move=Move(noise_mean=0.5, noise_variance=0.25),
        reading=CODE,
    ),
    Experiment(
        "table-wide",
        (),
        "Variational lookup table from a wide normal start",
        "The start was changed; no result is given. The spread, 5, is that of the published code.",
        options=_table(table_start="random", table_spread=5.0, table_log_var=-8.0),
        against="table",
    ),
    Experiment(
        "table-pretrained",
        (),
        "Variational lookup table from the VAE's latents",
        "The start was changed; no result is given.",
        options=_table(table_start="pretrained"),
        against="table",
        pretrained="vae",
    ),
    Experiment(
        "frozen-pretrained",
        (),
        "Lookup table frozen at a trained table's rows",
        "The rows stay and the decoder alone is trained; no result is given. The rows are those of "
        "the table from zeros, as in the published code.",
        options=_frozen(table_start="pretrained"),
        against="table",
        pretrained="table",
    ),
    Experiment(
        "frozen-wide",
        (),
        "Lookup table frozen at a wide normal start",
        "The rows stay and mean nothing: what remains is what the decoder can memorise.",
        options=_frozen(table_start="random", table_spread=5.0, table_log_var=-8.0),
        against="table",
    ),
    Experiment(
        "frozen-huge",
        (),
        "The same in eight dimensions with four hidden layers and no KL term",
        "The largest network of the published code: spread 10, weight of the KL term zero.",
        options=_frozen(table_start="random", table_spread=10.0, table_log_var=-8.0)
        | {"z_dim": 8, "decoder_layers": 3, "beta": 0.0},
        against="frozen-wide",
        reading=CODE,
    ),
    Experiment(
        "vae-large",
        (),
        "Larger networks: four hidden layers of 512",
        "Width and depth were changed; no result is given.",
        options={
            "encoder_width": 512,
            "encoder_layers": 3,
            "decoder_width": 512,
            "decoder_layers": 3,
        },
        slow=True,
    ),
    Experiment(
        "vae-z10",
        (),
        "Ten latent dimensions",
        "The number of dimensions was changed; no result is given. Ten is that of the published "
        "code.",
        options={"z_dim": 10, "encoder_layers": 1},
        reading=CODE,
    ),
    Experiment(
        "twin-permuted",
        (),
        "Evil twin: the encoder is shown another picture",
        "The report's control on particles, which the appendix does not repeat on digits.",
        options={"twin": "permuted"},
        described=False,
    ),
    Experiment(
        "twin-noise",
        (),
        "Evil twin: the encoder is shown noise",
        "The same with noise of the pictures' mean and variance.",
        options={"twin": "noise"},
        described=False,
    ),
    Experiment(
        "point-table",
        (),
        "One point per picture in place of a distribution",
        "What a table gains from its widths. A point has no evidence lower bound.",
        options={"posterior": "point-table"},
        against="table",
        described=False,
    ),
    Experiment(
        "semi-amortized",
        (),
        "An encoder whose proposal is refined by gradient steps",
        "Between encoder and table: does refining close the gap between them?",
        options={"posterior": "semi-amortized"},
        described=False,
        slow=True,
    ),
    Experiment(
        "table-rows",
        (),
        "Variational lookup table by Adam with a step count per row",
        "This library's own setting for tables: each row is corrected for its own steps, at a rate "
        "of 5 / epochs.",
        options=_table(table_start="zero")
        | {"table_optimiser": "row-adam", "table_learning_rate": 0.05},
        against="table",
        described=False,
    ),
)
BY_NAME = {experiment.name: experiment for experiment in EXPERIMENTS}
