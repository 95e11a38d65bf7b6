"""The options of every posterior, without PyTorch."""

from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

from pydantic import Field, model_validator

from cryolatent.models.registry import POSTERIORS, Options, Shared

Positive = Annotated[int, Field(ge=1)]
HOME = "cryolatent.models.posteriors"


class PosteriorOptions(Options):
    """What every posterior has; an own posterior's options derive from this or from a child."""

    common: ClassVar[frozenset[str]] = frozenset({"z_dim"})
    default_decoder: ClassVar[str] = "mlp"
    default_method: ClassVar[str] = "gradient"
    closed_form_given: ClassVar[dict[str, dict[str, Any]] | None] = None
    """Decoders, and options of theirs, under which the posterior is known in closed form; None for
    a posterior that is learned."""

    calibrated: ClassVar[bool] = True
    """Whether its widths are meant as standard deviations of what is believed."""

    reads_beyond: ClassVar[bool] = False
    """Whether it looks at what of an image lies outside the Fourier disc."""

    z_dim: Positive = 8
    """Number of latent dimensions; with an exact posterior the largest number that is tried."""

    @property
    def shown(self) -> "Shown | None":
        """What the posterior is shown of its particles; None if it reads no images."""
        return None

    @property
    def row_options(self) -> "RowOptions | None":
        """How rows are begun and learned; None if there is no row per particle."""
        return None


class Shown(NamedTuple):
    """What a posterior that reads images is shown.

    Args:
        twin: What stands in place of each particle; None for the particle itself.
        twin_ctf: Whose transfer function goes with it.
    """

    twin: Literal["permuted", "noise", "same-pose", "ctf-only"] | None
    twin_ctf: Literal["own", "target"]


class NetworkOptions(PosteriorOptions):
    """Posteriors with a network that reads images."""

    encoder_width: Positive = 256
    """Units per layer of the encoder."""

    encoder_layers: Positive = 3
    """Hidden layers of the encoder."""

    encoder_residual: bool = True
    """Whether each hidden layer of the encoder is added to its input."""

    evidence_frame: Literal["raw", "aligned"] = "raw"
    """Images as the encoder sees them: as recorded, or with the displacement and in-plane rotation
    of their own poses undone."""

    twin_ctf: Literal["own", "target"] = "own"
    """Transfer function that the evidence carries: the shown image's own, or the target's, as in
    the report's code."""


class EncoderOptions(NetworkOptions):
    """A network reads the image: one pass, the same for all particles."""

    twin: Literal["permuted", "noise", "same-pose", "ctf-only"] | None = None
    """Control: what the posterior is shown in place of its particle, for all particles: another
    particle, white noise, another particle seen from nearly the same direction, or nothing but the
    transfer function. What is reconstructed stays. Posterior semi-amortized needs a twin with a
    pose, permuted or same-pose."""

    augment: bool = False
    """Turn and displace the images that the posterior sees by random amounts in each step, poses
    and transfer functions with them; what the likelihood compares stays."""

    @property
    def shown(self) -> Shown:
        """The particle, or a twin."""
        return Shown(self.twin, self.twin_ctf)


class SemiAmortizedOptions(NetworkOptions):
    """An encoder proposes, the model's own gradients refine."""

    twin: Literal["permuted", "same-pose"] | None = None
    """Control: another particle in place of each, for all particles; one with a pose, which the
    model's own gradients need."""

    refinement_steps: Positive = 3
    """Gradient steps that refine the encoder's proposal."""

    @property
    def shown(self) -> Shown:
        """The particle, or a twin."""
        return Shown(self.twin, self.twin_ctf)


class RowOptions(PosteriorOptions):
    """Posteriors with a row of parameters per particle."""

    table_start: Literal["zero", "random", "pretrained", "permuted", "random-clusters"] | None = (
        None
    )
    """Start of the table: all at zero and narrow; drawn with the mean and spread of the run in
    --pretrained, or those of the report's code without; that run's latents, particle by particle or
    shuffled over the particles; eight narrow clusters about some of its latents, or at random. If
    left out, pretrained with --pretrained and else zero."""

    table_spread: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    """Standard deviation of the normal distribution about zero that the table's means are drawn
    from, with --table-start random; that of the start if left out."""

    pretrained: Path | None = None
    """Finished run from whose latents the table starts, as --table-start says; from an exact run a
    linear subspace decoder takes the volumes too. It has as many latent dimensions."""

    table_optimiser: Literal["row-adam", "sparse-adam", "sgd", "adam"] = "row-adam"
    """Optimiser of the table; all but adam step only the rows of the batch."""

    table_learning_rate: Annotated[float, Field(ge=0)] | None = None
    """Learning rate of the table; 5 / epochs, at most 0.5, if left out: a row makes one step per
    epoch and must be able to cross the prior."""

    @model_validator(mode="after")
    def _startable(self) -> "RowOptions":
        if self.pretrained is None and self.table_start in ("pretrained", "permuted"):
            raise ValueError(
                f"table start {self.table_start} without a pretrained run: expected a finished run "
                "whose latents the table starts from"
            )
        return self

    @property
    def row_options(self) -> "RowOptions":
        """These."""
        return self

    def resolved(self, shared: Shared) -> "RowOptions":
        """Where the table starts, and how fast it learns."""
        start = self.table_start or ("pretrained" if self.pretrained else "zero")
        update: dict[str, Any] = {"table_start": start}
        if self.table_learning_rate is None:
            update["table_learning_rate"] = min(0.5, 5.0 / max(1, shared.epochs))
        return self.model_copy(update=update)


class TableOptions(RowOptions):
    """A variational lookup table: mean and variance of each particle's latent."""

    table_log_var: Annotated[float, Field(allow_inf_nan=False)] | None = None
    """Logarithm of the variances that the table starts from; that of the start if left out."""


class PointTableOptions(RowOptions):
    """A point per particle: maximises the joint density and gives no bound of the evidence."""


class ExactOptions(PosteriorOptions):
    """The normal posterior of a linear subspace, in closed form."""

    default_decoder: ClassVar[str] = "subspace"
    default_method: ClassVar[str] = "em"
    closed_form_given: ClassVar[dict[str, dict[str, Any]] | None] = {
        "subspace": {"coefficients": "linear"}
    }


class CategoricalOptions(PosteriorOptions):
    """The responsibilities of K volumes, in closed form."""

    common: ClassVar[frozenset[str]] = frozenset({"z_dim", "states"})
    default_decoder: ClassVar[str] = "volumes"
    default_method: ClassVar[str] = "em"
    closed_form_given: ClassVar[dict[str, dict[str, Any]] | None] = {"volumes": {}}

    states: Positive | None = None
    """Number of states; chosen by held-out evidence if left out."""


class ImportedOptions(PosteriorOptions):
    """Latents that another program gave, a row per particle."""

    trains: ClassVar[bool] = False
    calibrated: ClassVar[bool] = False
    default_decoder: ClassVar[str] = "none"
    default_method: ClassVar[str] = "imported"

    widths: bool = False
    """Whether there is a log variance beside each mean."""


class CryodrgnOptions(PosteriorOptions):
    """The encoder of a run of cryoDRGN."""

    trains: ClassVar[bool] = False
    calibrated: ClassVar[bool] = False
    default_decoder: ClassVar[str] = "cryodrgn"
    default_method: ClassVar[str] = "imported"
    reads_beyond: ClassVar[bool] = True

    encoder_width: Positive = 256
    """Units per layer of the encoder."""

    encoder_layers: Positive = 3
    """Hidden layers of the encoder."""

    encoder_mask: Positive | None = None
    """Largest frequency that the encoder reads, in cycles per box; half the box if left out."""

    window_radius: Annotated[float, Field(ge=0, lt=0.99)] | None = None
    """Share of half the box within which images stay whole; no window if left out."""


POSTERIORS.declare("exact", ExactOptions, f"{HOME}.exact:ExactGaussian")
POSTERIORS.declare("categorical", CategoricalOptions, f"{HOME}.exact:Categorical")
POSTERIORS.declare("encoder", EncoderOptions, f"{HOME}.encoder:Encoder")
POSTERIORS.declare("semi-amortized", SemiAmortizedOptions, f"{HOME}.semi_amortized:SemiAmortized")
POSTERIORS.declare("table", TableOptions, f"{HOME}.table:LookupTable")
POSTERIORS.declare("point-table", PointTableOptions, f"{HOME}.points:PointTable")
POSTERIORS.declare("imported", ImportedOptions, f"{HOME}.imported:Imported")
POSTERIORS.declare("cryodrgn", CryodrgnOptions, "cryolatent.models.cryodrgn:CryodrgnEncoder")
