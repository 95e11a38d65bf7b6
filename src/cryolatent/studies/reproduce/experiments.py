"""What the report did, what it saw, and how each experiment is declared here."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any


class Claim(Enum):
    """What the report says of an experiment, as a question that numbers can answer."""

    YARDSTICK = "what the other experiments are compared with"
    ALIKE = "the latents tell the states apart as well as those it is compared with"
    POORER = "the latents tell the states apart less well than those it is compared with"
    CONSENSUS = "all volumes are one consensus volume"
    HETEROGENEOUS = "the volumes still differ as the states do"
    MOVED = "a moved image lands elsewhere in latent space"
    BLURRED = "the volumes are worse than those it is compared with"
    NONE = "an addition, of which the report says nothing"


@dataclass(frozen=True)
class Experiment:
    """An experiment of the report, or an addition that separates causes.

    Args:
        name: What it is called in folders and on the command line.
        figures: Figures of the report that show it; none for additions.
        title: What is done.
        saw: What the report says of it, in short.
        claim: The same as a question.
        options: Options that differ from the baseline's, by name.
        against: Experiment that it is compared with.
        pretrained: Experiment whose run of the same seed the table starts from.
        decoders: Decoders with which it makes sense.
        repeated: Whether it has several seeds even where a training is expensive.
        move: For a claim about moved images, which move; such an experiment trains nothing.
        appendix: Section of the report that describes it without a figure.
    """

    name: str
    figures: tuple[int, ...]
    title: str
    saw: str
    claim: Claim
    options: Mapping[str, Any] = field(default_factory=dict)
    against: str = "baseline"
    pretrained: str | None = None
    decoders: tuple[str, ...] = ("mlp", "subspace")
    repeated: bool = False
    move: str | None = None
    appendix: str = ""

    @property
    def is_addition(self) -> bool:
        """Whether the report knows nothing of it."""
        return not self.figures and not self.appendix

    @property
    def label(self) -> str:
        """Its figures or section, or that it is an addition."""
        if self.appendix:
            return f"Appendix {self.appendix}"
        return " and ".join(f"Figure {n}" for n in self.figures) or "Added"


def _table(**options: Any) -> dict[str, Any]:
    return {"posterior": "table"} | options


def _frozen(**options: Any) -> dict[str, Any]:
    return _table(**options) | {"table_learning_rate": 0.0}


def _twin(kind: str, ctf: str = "own", **options: Any) -> dict[str, Any]:
    return {"twin": kind, "twin_ctf": ctf} | options


EXPERIMENTS = (
    Experiment(
        "baseline",
        (3, 19),
        "Amortised encoder",
        "Training as in the tutorial separates clusters in the latent map and gives volumes that "
        "differ; two seeds give maps that differ but are comparable in kind.",
        Claim.YARDSTICK,
        repeated=True,
    ),
    Experiment(
        "table-random",
        (5,),
        "Lookup table, random start",
        "Latents and volumes agree in kind with the encoder's. Single particles may change class, "
        "as they do between two seeds of the encoder.",
        Claim.ALIKE,
        _table(table_start="random"),
        repeated=True,
    ),
    Experiment(
        "table-zero",
        (20,),
        "Lookup table, zero start",
        "Heterogeneous volumes and a similar map, although all rows begin at one point.",
        Claim.ALIKE,
        _table(table_start="zero"),
    ),
    Experiment(
        "table-pretrained",
        (),
        "Lookup table, started from the encoder's latents and trained",
        "Heterogeneous volumes, as with the other trained tables.",
        Claim.ALIKE,
        _table(table_start="pretrained"),
        pretrained="baseline",
        appendix="C.1.1",
    ),
    Experiment(
        "table-wide",
        (),
        "Lookup table, log σ² = 0 at the start",
        "A start with variance one troubles the training.",
        Claim.POORER,
        _table(table_start="zero", table_log_var=0.0),
        against="table-zero",
        appendix="C.1",
    ),
    Experiment(
        "frozen-pretrained",
        (21,),
        "Lookup table, the encoder's latents, never trained",
        "The volumes are still heterogeneous.",
        Claim.HETEROGENEOUS,
        _frozen(table_start="pretrained"),
        pretrained="baseline",
    ),
    Experiment(
        "frozen-random",
        (22,),
        "Lookup table, random start, never trained",
        "All volumes look like one consensus, though they are not exactly equal.",
        Claim.CONSENSUS,
        _frozen(table_start="random"),
    ),
    Experiment(
        "frozen-zero",
        (23,),
        "Lookup table, zero start, never trained",
        "There is a single volume.",
        Claim.CONSENSUS,
        _frozen(table_start="zero"),
    ),
    Experiment(
        "twin-permuted",
        (7,),
        "Evil twin: the encoder is shown another particle",
        "Clusters and heterogeneous volumes still appear, much as in the baseline, so the encoder "
        "may work by memorising.",
        Claim.ALIKE,
        _twin("permuted"),
        repeated=True,
    ),
    Experiment(
        "twin-noise-large",
        (8,),
        "Evil twin: the encoder, 5 × 1024, is shown noise",
        "Noise instead of particles, with a larger encoder: still qualitatively like the baseline.",
        Claim.ALIKE,
        _twin("noise", encoder_layers=5, encoder_width=1024),
    ),
    Experiment(
        "twin-noise",
        (),
        "Evil twin: the encoder, 3 × 256, is shown noise",
        "The report shows noise only to a larger encoder; this is the baseline's.",
        Claim.NONE,
        _twin("noise"),
    ),
    Experiment(
        "shift",
        (9,),
        "Images shifted by one pixel, shown to the trained encoder",
        "Shifted images land at places that have nothing to do with the originals', and their "
        "volumes can look quite different.",
        Claim.MOVED,
        move="shift",
    ),
    Experiment(
        "rotation",
        (10,),
        "Images rotated by 90°, shown to the trained encoder",
        "Rotated images land elsewhere, as shifted ones do.",
        Claim.MOVED,
        move="rotation",
    ),
    Experiment(
        "small",
        (24,),
        "Encoder 2 × 256 and two latent dimensions",
        "Heterogeneity exists but is hard to find, and has little to do with the place in the map.",
        Claim.POORER,
        dict(encoder_layers=2, encoder_width=256, z_dim=2),
    ),
    Experiment(
        "small-twin",
        (25,),
        "The same, shown another particle",
        "Shown beside the figure before, without a statement of its own.",
        Claim.NONE,
        _twin("permuted", encoder_layers=2, encoder_width=256, z_dim=2),
        against="small",
    ),
    Experiment(
        "no-encoding",
        (26,),
        "Coordinate network without positional encoding",
        "Hardly any heterogeneity, and volumes with large artefacts.",
        Claim.BLURRED,
        dict(decoder_encoding="none"),
        decoders=("mlp",),
    ),
    Experiment(
        "twin-permuted-target-ctf",
        (),
        "Evil twin as in the authors' code: its image is phase-flipped by the target's CTF",
        "The difference from the twin that is replaced whole is what the target's CTF gives away.",
        Claim.NONE,
        _twin("permuted", "target"),
        against="twin-permuted",
        decoders=("subspace",),
    ),
    Experiment(
        "twin-same-pose",
        (),
        "Evil twin: a particle of almost the same view",
        "Separates what the view tells from what the particle tells.",
        Claim.NONE,
        _twin("same-pose"),
        decoders=("subspace",),
    ),
    Experiment(
        "twin-ctf-only",
        (),
        "Evil twin: nothing but the particle's CTF",
        "Separates what the CTF tells from what the particle tells.",
        Claim.NONE,
        _twin("ctf-only"),
        decoders=("subspace",),
    ),
    Experiment(
        "aligned",
        (),
        "Encoder that undoes the in-plane rotation and shift",
        "The discussion calls such an invariance possible and leaves it untested.",
        Claim.NONE,
        dict(evidence_frame="aligned"),
        decoders=("subspace",),
    ),
    Experiment(
        "aligned-shift",
        (),
        "Images shifted by one pixel, shown to the aligned encoder",
        "An encoder that undoes the known shift cannot tell one that is known.",
        Claim.NONE,
        against="aligned",
        move="shift",
        decoders=("subspace",),
    ),
    Experiment(
        "aligned-rotation",
        (),
        "Images rotated by 90°, shown to the aligned encoder",
        "The same for the known rotation.",
        Claim.NONE,
        against="aligned",
        move="rotation",
        decoders=("subspace",),
    ),
    Experiment(
        "frozen-permuted",
        (),
        "Lookup table, the encoder's latents shuffled over the particles, never trained",
        "A null: the same cloud of latents, but the wrong ones for each particle.",
        Claim.CONSENSUS,
        _frozen(table_start="permuted"),
        pretrained="baseline",
        decoders=("subspace",),
    ),
    Experiment(
        "frozen-clusters",
        (),
        "Lookup table, particles in random clusters, never trained",
        "A null: clusters that mean nothing.",
        Claim.CONSENSUS,
        _frozen(table_start="random-clusters"),
        decoders=("subspace",),
    ),
)
BY_NAME = {experiment.name: experiment for experiment in EXPERIMENTS}
