"""Every option of a training, defined once: flags, config file and checks derive from here."""

import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

import tomli_w
from cyclopts import Group, Parameter
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from cryolatent.errors import InputError

Positive = Annotated[int, Field(ge=1)]
Flat = Parameter(name="*")
TABLES = ("poses", "ctf", "ind", "passthrough")


class Section(BaseModel):
    """A part of the configuration: frozen, and unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


@Parameter(name="*", group=Group("Data", sort_key=1))
class TablesConfig(Section):
    """Files that complete or replace what a particle file says."""

    poses: Path | None = None
    """cryoDRGN's poses.pkl, in place of the particle file's own poses."""

    ctf: Path | None = None
    """cryoDRGN's ctf.pkl, in place of all that the particle file says of the optics."""

    ind: Path | None = None
    """cryoDRGN's ind.pkl, or an .npy: the particles to use, counted from zero; all if left out."""

    passthrough: Path | None = None
    """cryoSPARC's passthrough file, if it is not beside the .cs file."""

    def tables(self) -> Any:
        """The files as `cryolatent.data.open_particles` wants them.

        Returns:
            Its `Tables`.
        """
        from cryolatent.data import Tables

        return Tables(**{name: getattr(self, name) for name in TABLES})


@Parameter(name="*", group=Group("Data", sort_key=1))
class ReadingConfig(TablesConfig):
    """How particles are read: the options of `cryolatent.data.open_particles`."""

    datadir: Path | None = None
    """Folder that image names are relative to, if not the particle file's own; the working
    directory if left out."""

    invert_contrast: bool = False
    """Negate the images, for stacks in which particles are dark."""

    shells: Positive | None = None
    """Last Fourier shell used; all below Nyquist if left out."""

    symmetry: str = "C1"
    """Point group, as in RELION (C3, D2, T, O, I ...): every particle is expanded into its
    symmetric copies, so that parts that break the symmetry can be told apart."""

    def reading(self) -> dict[str, Any]:
        """The options of `cryolatent.data.open_particles`.

        Returns:
            Keyword arguments.
        """
        wanted = set(ReadingConfig.model_fields) - set(TABLES)
        return self.model_dump(include=wanted) | {"tables": self.tables()}


@Parameter(name="*", group=Group("Data", sort_key=1))
class PrepareConfig(TablesConfig):
    """How particles are checked and packed."""

    datadir: Path | None = None
    """Folder that image names are relative to, if not the particle file's own; the working
    directory if left out."""

    invert_contrast: bool | None = None
    """Negate the images, for stacks in which particles are dark. Left out, clearly dark particles
    stop the work."""

    box: Positive | None = None
    """Box to bring the images to, by Fourier cropping; their own if left out."""

    downsample: Annotated[float, Field(ge=1)] | None = None
    """The same as a factor: 2 halves the box and doubles the pixel size."""

    dtype: Literal["float16", "float32"] = "float32"
    """Type of the packed numbers; float16 halves the folder."""

    normalise: Literal["image", "none"] = "image"
    """Bring the background of each image to mean 0 and variance 1, as RELION does, or change no
    value."""

    window: Annotated[float, Field(gt=0, lt=0.99)] | None = None
    """Share of half the box within which images stay whole; they fall to zero at 0.99 of it. No
    window if left out: windows correlate the noise of neighbouring coefficients."""

    particle_radius: Annotated[float, Field(gt=0)] | None = None
    """Radius of the particle, in Å; beyond it is background. 45 % of the box if left out."""

    on_bad: Literal["error", "drop"] = "error"
    """What to do with particles that should not be used: stop and write nothing, or leave them
    out."""

    workers: Positive | None = None
    """Threads; all cores if left out."""

    def packing(self) -> Any:
        """The options as `cryolatent.data.packed.prepare.pack` wants them.

        Returns:
            Its `Packing`.
        """
        from dataclasses import fields

        from cryolatent.data.packed.prepare import Packing

        own = {f.name for f in fields(Packing)} & set(PrepareConfig.model_fields)
        known = self.invert_contrast is not None
        return Packing(**self.model_dump(include=own), contrast_known=known)


@Parameter(name="*", group=Group("Data", sort_key=1))
class DataConfig(ReadingConfig):
    """How the particles are read, and what of an image is background."""

    particle_radius: Annotated[float, Field(gt=0)] | None = None
    """Radius of the particle, in Å; beyond it is background. 45 % of the box if left out."""

    twin: Literal["permuted", "noise", "same-pose", "ctf-only"] | None = None
    """Control: what the posterior is shown in place of its particle, for all particles: another
    particle, white noise, another particle seen from nearly the same direction, or nothing but the
    transfer function. What is reconstructed stays (posteriors encoder, semi-amortized)."""

    twin_ctf: Literal["own", "target"] = "own"
    """Transfer function that the evidence carries: the shown image's own, or the target's, as in
    the report's code."""

    def located(self, datadir: Path | None) -> "DataConfig":
        """The same options for use from any folder.

        Args:
            datadir: Folder in which the images were found, if not the particle file's own.

        Returns:
            Options with absolute paths.
        """
        given = {name: getattr(self, name) for name in TABLES}
        paths = {name: path.resolve() for name, path in given.items() if path is not None}
        return self.model_copy(update={"datadir": datadir, **paths})


@Parameter(name="*", group=Group("Model", sort_key=2))
class ModelConfig(Section):
    """What is trained."""

    posterior: Literal[
        "encoder", "semi-amortized", "table", "point-table", "exact", "categorical"
    ] = "encoder"
    """Posterior: amortised encoder; encoder refined by the model's own gradients; variational
    lookup table; table of points, which maximises the joint density and gives no bound of the
    evidence; exact normal or categorical, which are trained by expectation maximisation and need
    no learning rate."""

    decoder: Literal["mlp", "subspace", "pixel"] | None = None
    """Decoder: coordinate network, or a few volumes weighted by functions of z. If left out,
    subspace for the exact posteriors and mlp for the others. Digits have pixel, a network that
    gives all pixels at once."""

    z_dim: Positive = 8
    """Number of latent dimensions; with an exact posterior the largest number that is tried."""

    coefficients: Literal["linear", "polynomial", "fourier", "network"] = "linear"
    """Weights of the volumes as functions of z (decoder subspace)."""

    contrast_spread: Annotated[float, Field(ge=0, lt=0.5)] = 0.0
    """Standard deviation of the particles' contrast about 1 (exact posteriors)."""

    encoder_width: Positive = 256
    """Units per layer of the encoder (posteriors encoder, semi-amortized)."""

    encoder_layers: Positive = 3
    """Hidden layers of the encoder (posteriors encoder, semi-amortized)."""

    refinement_steps: Positive = 3
    """Gradient steps that refine the encoder's proposal (posterior semi-amortized)."""

    encoder_residual: bool = True
    """Whether each hidden layer of the encoder is added to its input (posterior encoder)."""

    evidence_frame: Literal["raw", "aligned"] = "raw"
    """Images as the encoder sees them: as recorded, or with the displacement and in-plane rotation
    of their own poses undone (posteriors encoder, semi-amortized)."""

    decoder_width: Positive = 256
    """Units per layer of the decoder."""

    decoder_layers: Positive = 3
    """Hidden layers of the decoder."""

    decoder_encoding: Literal["geom_lowf", "gaussian", "none"] = "geom_lowf"
    """How a point of Fourier space enters the decoder: sines and cosines of geometrically spaced
    wavelengths, random Fourier features, or its coordinates (decoder mlp)."""

    decoder_residual: bool = True
    """Whether each hidden layer of the decoder is added to its input (decoder mlp)."""

    decoder_output: Literal["fourier", "hartley"] = "fourier"
    """What the decoder's network gives: the complex transform on one half of Fourier space, or the
    real Hartley transform on all of it, at twice the cost (decoder mlp)."""

    table_start: Literal["zero", "random", "pretrained", "permuted", "random-clusters"] | None = (
        None
    )
    """Start of the table (posterior table): all at zero and narrow; drawn with the mean and spread
    of the run in --pretrained, or those of the report's code without; that run's latents, particle
    by particle or shuffled over the particles; eight narrow clusters about some of its latents, or
    at random. If left out, pretrained with --pretrained and else zero."""

    table_log_var: Annotated[float, Field(allow_inf_nan=False)] | None = None
    """Logarithm of the variances that the table starts from; that of the start if left out
    (posterior table)."""

    table_spread: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    """Standard deviation of the normal distribution about zero that the table's means are drawn
    from, with --table-start random; that of the start if left out (posteriors table and
    point-table)."""

    pretrained: Path | None = None
    """Finished run from whose latents the table starts, as --table-start says; from an exact run a
    linear subspace decoder takes the volumes too. It has as many latent dimensions (posteriors
    table and point-table)."""

    @property
    def is_exact(self) -> bool:
        """Whether the posterior is known in closed form, given decoder and noise."""
        return self.posterior in ("exact", "categorical")


@Parameter(name="*", group=Group("Training", sort_key=3))
class OptimisationConfig(Section):
    """How it is trained."""

    epochs: Positive = 30
    """Passes over the particles."""

    batch_size: Positive = 8
    """Particles per step."""

    learning_rate: Annotated[float, Field(gt=0)] = 1e-3
    """Adam's learning rate for decoder and encoder."""

    table_optimiser: Literal["row-adam", "sparse-adam", "sgd", "adam"] = "row-adam"
    """Optimiser of the table; all but adam step only the rows of the batch (posteriors table,
    point-table)."""

    table_learning_rate: Annotated[float, Field(ge=0)] | None = None
    """Learning rate of the table; 5 / epochs, at most 0.5, if left out: a row makes one step per
    epoch and must be able to cross the prior."""

    coefficient_fraction: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Share of the Fourier coefficients that a step compares, drawn anew for each and weighted up:
    cheaper steps, noisier gradients."""

    marching: Annotated[int, Field(ge=0)] = 0
    """Epochs over which the last shell compared grows from a quarter of all to all; 0 compares all
    shells from the start."""

    precision: Literal["float32", "bfloat16"] = "float32"
    """Numbers in the decoder's products; bfloat16 is faster where the processor has instructions
    for it, and slower elsewhere."""

    augment: bool = False
    """Turn and displace the images that the posterior sees by random amounts in each step, poses
    and transfer functions with them; what the likelihood compares stays (posterior encoder)."""

    objective: Literal["elbo", "summed-elbo", "report"] = "elbo"
    """Evidence lower bound, with fitted noise where there is any; the same summed over the batch;
    or the report's mean squared error."""

    beta: Annotated[float, Field(ge=0)] | None = None
    """Weight of the KL term; 1 for elbo and 1 / z_dim for report if left out."""

    beta_warmup: Annotated[int, Field(ge=0)] | None = None
    """Epochs over which the KL term's weight rises to beta; if left out, a third of all and at most
    10 for elbo, none for report."""

    seed: Annotated[int, Field(ge=0)] = 0
    """Fixes every random choice."""

    threads: Annotated[int, Field(ge=0)] = 0
    """Processor threads; 0 uses all. Results repeat bit for bit at equal threads."""

    checkpoint_minutes: Annotated[float, Field(gt=0)] = 10.0
    """Minutes between checkpoints within an epoch; there is always one after each epoch."""


@Parameter(name="*", group=Group("Expectation maximisation (exact posteriors)", sort_key=4))
class SearchConfig(Section):
    """How exact posteriors and their volumes are found."""

    search_shells: Positive = 12
    """Last shell of the search for a subspace; the volumes are then refined to all shells."""

    starts: Positive = 2
    """Random starts at the lowest shells; the best evidence is kept."""

    states: Positive | None = None
    """Number of states (posterior categorical); chosen by held-out evidence if left out."""

    hold_out: Annotated[float, Field(gt=0, le=0.5)] = 0.1
    """Share of the particles kept aside to choose the number of dimensions and states."""

    mask: Path | None = None
    """Solvent mask (.mrc, values 0 to 1, box and pixel size of the particles); made from the
    consensus if left out."""

    focus_mask: Path | None = None
    """Mask outside which volumes may not differ from the consensus."""


DERIVED = ("beta", "beta_warmup", "table_learning_rate")


class TrainConfig(Section):
    """All options of a training."""

    data: Annotated[DataConfig, Flat] = DataConfig()
    model: Annotated[ModelConfig, Flat] = ModelConfig()
    optimisation: Annotated[OptimisationConfig, Flat] = OptimisationConfig()
    search: Annotated[SearchConfig, Flat] = SearchConfig()

    @model_validator(mode="after")
    def _consistent(self) -> "TrainConfig":
        model = self.model
        if model.is_exact and (model.decoder == "mlp" or model.coefficients != "linear"):
            raise ValueError(
                f"posterior {model.posterior}: expected decoder subspace with linear coefficients"
            )
        if model.pretrained is None and model.table_start in ("pretrained", "permuted"):
            raise ValueError(
                f"--table-start {model.table_start} without --pretrained: expected a finished run "
                "whose latents the table starts from"
            )
        if model.is_exact and self.data.twin is not None:
            raise ValueError(
                f"posterior {model.posterior} with --twin {self.data.twin}: expected posterior "
                "encoder; an exact posterior is that of the images that are reconstructed"
            )
        if model.posterior == "semi-amortized" and self.data.twin in ("noise", "ctf-only"):
            raise ValueError(
                f"posterior semi-amortized with --twin {self.data.twin}: expected a twin with a "
                "pose, permuted or same-pose, because the model's own gradients need one"
            )
        return self

    def resolved(self) -> "TrainConfig":
        """Replace the defaults that depend on other options by their values.

        Returns:
            A configuration that says everything.
        """
        optimisation = self.optimisation
        is_elbo = optimisation.objective != "report"
        beta = 1.0 if is_elbo else 1.0 / self.model.z_dim
        given = optimisation.model_dump(exclude_none=True)
        defaults = {
            "beta": beta,
            "beta_warmup": min(10, optimisation.epochs // 3) if is_elbo else 0,
            "table_learning_rate": min(0.5, 5.0 / optimisation.epochs),
        }
        resolved = OptimisationConfig.model_validate(defaults | given)
        decoder = self.model.decoder or ("subspace" if self.model.is_exact else "mlp")
        start = self.model.table_start or ("pretrained" if self.model.pretrained else "zero")
        model = self.model.model_copy(update={"decoder": decoder, "table_start": start})
        return self.model_copy(update={"optimisation": resolved, "model": model})

    def updated(self, other: "TrainConfig") -> "TrainConfig":
        """Override this configuration by the options that were set explicitly in another.

        Args:
            other: A configuration, of which only explicitly set options count.

        Returns:
            The merged configuration.
        """
        merged = self.model_dump(exclude_unset=True)
        for section, options in other.model_dump(exclude_unset=True).items():
            merged[section] = merged.get(section, {}) | options
        return TrainConfig.model_validate(merged)

    def overridden(self, other: "TrainConfig") -> "TrainConfig":
        """Begin anew from this configuration with some options changed.

        Unlike `updated`, defaults that `resolved` derived are derived again if what they depend on
        has changed.

        Args:
            other: A configuration, of which only explicitly set options count.

        Returns:
            The merged configuration.
        """
        merged = self.updated(other)
        given = other.model.model_fields_set
        if "pretrained" in given and "table_start" not in given:
            model = merged.model.model_copy(update={"table_start": None})
            merged = merged.model_copy(update={"model": model})
        before, after = self.optimisation, merged.optimisation
        same = (before.epochs, before.objective, self.model.z_dim) == (
            (after.epochs, after.objective, merged.model.z_dim)
        )
        if same:
            return merged
        given = other.optimisation.model_fields_set
        blank = {name: None for name in DERIVED if name not in given}
        return merged.model_copy(update={"optimisation": after.model_copy(update=blank)})

    def to_toml(self) -> str:
        """Write the configuration as TOML; options without a value are left out.

        Returns:
            The text of a config file.
        """
        return tomli_w.dumps(self.model_dump(mode="json", exclude_none=True))

    @staticmethod
    def from_toml(path: Path) -> "TrainConfig":
        """Read a config file.

        Args:
            path: A TOML file, for instance a run's ``config.toml``.

        Returns:
            The configuration.

        Raises:
            InputError: If the file is missing, is no TOML, or has an unknown or wrong option.
        """
        try:
            content: dict[str, Any] = tomllib.loads(path.read_text())
        except (OSError, ValueError) as error:
            raise InputError(
                path, f"no TOML ({error})", "a config file", "Check --config."
            ) from None
        try:
            return TrainConfig.model_validate(content)
        except ValidationError as error:
            first = error.errors()[0]
            raise InputError(
                path,
                f"{'.'.join(map(str, first['loc']))} = {first['input']}",
                first["msg"],
                "See cryolatent train --help.",
            ) from None


@Parameter(name="*")
class InferConfig(Section):
    """How the latents of particles are found that a run was not trained on."""

    starts: Positive = 4
    """Starts of each particle's fit, the prior and draws of it; the best fit is kept (tables and
    --refine)."""

    pool: Annotated[int, Field(ge=0)] = 32
    """Trained latents, evenly spread over the particles, of which the one that explains a particle
    best is one more start of its fit; 0 for none (tables and --refine)."""

    steps: Positive = 200
    """Steps of each fit (tables and --refine)."""

    refine: Annotated[bool, Parameter(negative="")] = False
    """Fit the distributions of an encoder too, its own as a further start, and print what that
    gains: the amortisation gap."""

    seed: Annotated[int, Field(ge=0)] = 0
    """Fixes starts and samples."""
