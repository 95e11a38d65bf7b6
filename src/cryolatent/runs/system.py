"""From configuration to model: the one place that maps an option's value to a class."""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from cryolatent.data import StackStatistics, twin_of
from cryolatent.data.source import AnySource
from cryolatent.models import (
    Bernoulli,
    Categorical,
    Decoder,
    Encoder,
    ExactGaussian,
    Features,
    FourierFeatures,
    FourierGaussian,
    GenerativeModel,
    HartleyDecoder,
    Likelihood,
    LookupTable,
    MlpDecoder,
    NegativeElbo,
    Objective,
    PixelDecoder,
    PixelFeatures,
    PointTable,
    Posterior,
    ReportObjective,
    SemiAmortized,
    SubspaceDecoder,
    SummedElbo,
)
from cryolatent.models.decoders.coefficients import Fourier, Linear, Network, Polynomial, Shares
from cryolatent.models.decoders.encodings import (
    Coordinates,
    Encoding,
    GaussianEncoding,
    GeometricEncoding,
)
from cryolatent.models.layers import PlainMlp, ResidualMlp
from cryolatent.physics import FourierDisc, Interpolation
from cryolatent.runs.config import TrainConfig
from cryolatent.runs.manifest import Manifest
from cryolatent.runs.run import Checkpoint, Run

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass(frozen=True)
class System:
    """The parts that a training joins.

    Args:
        model: Decoder and likelihood.
        posterior: The posterior.
    """

    model: GenerativeModel
    posterior: Posterior

    def tensors(self) -> dict[str, torch.Tensor]:
        """All parameters and buffers by name.

        Returns:
            Names begin with ``model.`` or ``posterior.``.
        """
        parts = {"model": self.model, "posterior": self.posterior}
        return {
            f"{k}.{name}": t for k, part in parts.items() for name, t in part.state_dict().items()
        }

    def load(self, checkpoint: Checkpoint) -> None:
        """Set all parameters and buffers.

        Args:
            checkpoint: A checkpoint of a system of the same configuration.
        """
        for key, part in (("model.", self.model), ("posterior.", self.posterior)):
            tensors = checkpoint.tensors.items()
            part.load_state_dict({n[len(key) :]: t for n, t in tensors if n.startswith(key)})


def assemble(
    config: TrainConfig, disc: FourierDisc, particles: int, statistics: StackStatistics
) -> System:
    """Build decoder, likelihood and posterior.

    The decoder's start depends on the seed alone, so runs that differ in the posterior begin with
    the same decoder.

    Args:
        config: Resolved options.
        disc: The coefficients in use.
        particles: Number of particles.
        statistics: Spectra of the data.

    Returns:
        The parts, at their start.
    """
    build = DECODERS[config.model.decoder or "mlp"]
    return join(
        config,
        particles,
        decoder=lambda: build(config, disc, statistics),
        features=FourierFeatures(disc, statistics.power, config.model.evidence_frame),
        likelihood=FourierGaussian(disc, statistics.background, statistics.power),
    )


def assemble_pixels(config: TrainConfig, box: int, examples: int) -> System:
    """Build decoder, likelihood and posterior of images that are compared pixel by pixel.

    Args:
        config: Resolved options.
        box: Side of the images.
        examples: Number of images.

    Returns:
        The parts, at their start.
    """
    options = config.model
    return join(
        config,
        examples,
        decoder=lambda: PixelDecoder(
            box, options.z_dim, width=options.decoder_width, layers=options.decoder_layers
        ),
        features=PixelFeatures(box),
        likelihood=Bernoulli(box),
    )


def join(
    config: TrainConfig,
    examples: int,
    *,
    decoder: Callable[[], Decoder],
    features: Features,
    likelihood: Likelihood,
) -> System:
    """Join the parts of any field; the posteriors are the same for all.

    Args:
        config: Resolved options.
        examples: Number of examples.
        decoder: Builds the decoder.
        features: What an encoder is fed.
        likelihood: Compares.

    Returns:
        The parts, at their start.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.optimisation.seed)
        model = GenerativeModel(decoder(), likelihood)
        posterior = POSTERIORS[config.model.posterior](config, features, examples)
    return System(model, posterior)


def as_shown(config: TrainConfig, stack: AnySource) -> AnySource:
    """The particles as a run's posterior is shown them.

    Args:
        config: Options.
        stack: All examples of the run; one that has a twin already, of more particles perhaps,
            keeps it.

    Returns:
        The same particles, with the twin that the options ask for.

    Raises:
        InputError: If there are too few particles for it.
    """
    if config.data.twin is None or stack.twin is not None:
        return stack
    return twin_of(stack, config.data.twin, config.optimisation.seed, config.data.twin_ctf)


def objective(config: TrainConfig, epoch: int) -> Objective:
    """The objective of an epoch.

    Args:
        config: Resolved options.
        epoch: Counted from zero.

    Returns:
        The objective, with the KL term's weight of that epoch.
    """
    options = config.optimisation
    full = 1.0 if options.beta is None else options.beta
    beta = full * min(1.0, (epoch + 1) / ((options.beta_warmup or 0) + 1))
    return OBJECTIVES[options.objective](beta)


def restore(run: Run) -> System:
    """Load the parts of a run.

    Args:
        run: The run.

    Returns:
        The parts as the newest checkpoint holds them.
    """
    system = BLANK[run.manifest.domain](run.config, run.manifest)
    system.load(run.checkpoint())
    return system


def _blank_particles(config: TrainConfig, manifest: Manifest) -> System:
    disc = FourierDisc(manifest.box, manifest.shells)
    blank = torch.ones(disc.radius + 1)
    return assemble(config, disc, manifest.particles, StackStatistics(blank, blank, blank))


def _blank_digits(config: TrainConfig, manifest: Manifest) -> System:
    return assemble_pixels(config, manifest.box, manifest.particles)


def _mlp(config: TrainConfig, disc: FourierDisc, statistics: StackStatistics) -> Decoder:
    options = config.model
    seed = config.optimisation.seed
    return OUTPUTS[options.decoder_output](
        disc,
        options.z_dim,
        statistics.signal_amplitude,
        width=options.decoder_width,
        layers=options.decoder_layers,
        precision=PRECISIONS[config.optimisation.precision],
        encoding=ENCODINGS[options.decoder_encoding](disc.box, seed),
        hidden=ResidualMlp if options.decoder_residual else PlainMlp,
    )


def _subspace(config: TrainConfig, disc: FourierDisc, statistics: StackStatistics) -> Decoder:
    options = config.model
    kind = Shares if options.posterior == "categorical" else COEFFICIENTS[options.coefficients]
    return SubspaceDecoder(
        disc,
        kind(options.z_dim),
        statistics.signal_amplitude,
        interpolation=Interpolation.NEAREST if options.is_exact else Interpolation.TRILINEAR,
    )


def _encoder(config: TrainConfig, features: Features, examples: int) -> Encoder:
    options = config.model
    return Encoder(
        features,
        options.z_dim,
        width=options.encoder_width,
        layers=options.encoder_layers,
        hidden=ResidualMlp if options.encoder_residual else PlainMlp,
    )


def _semi_amortized(config: TrainConfig, features: Features, examples: int) -> Posterior:
    encoder = _encoder(config, features, examples)
    return SemiAmortized(encoder, config.model.refinement_steps)


def _table(config: TrainConfig, features: Features, examples: int) -> Posterior:
    sparse = config.optimisation.table_optimiser != "adam"
    return LookupTable(examples, config.model.z_dim, sparse=sparse)


def _points(config: TrainConfig, features: Features, examples: int) -> Posterior:
    sparse = config.optimisation.table_optimiser != "adam"
    return PointTable(examples, config.model.z_dim, sparse=sparse)


def _exact(config: TrainConfig, features: Features, examples: int) -> Posterior:
    options = config.model
    return ExactGaussian(options.z_dim, contrast_spread=options.contrast_spread)


def _categorical(config: TrainConfig, features: Features, examples: int) -> Posterior:
    options = config.model
    return Categorical(options.z_dim, contrast_spread=options.contrast_spread)


COEFFICIENTS = {
    "linear": Linear,
    "polynomial": Polynomial,
    "fourier": Fourier,
    "network": Network,
}
ENCODINGS: dict[str, Callable[[int, int], Encoding]] = {
    "geom_lowf": lambda box, seed: GeometricEncoding(box),
    "gaussian": GaussianEncoding,
    "none": lambda box, seed: Coordinates(box),
}
OUTPUTS = {"fourier": MlpDecoder, "hartley": HartleyDecoder}
DECODERS = {"mlp": _mlp, "subspace": _subspace}
POSTERIORS = {
    "encoder": _encoder,
    "semi-amortized": _semi_amortized,
    "table": _table,
    "point-table": _points,
    "exact": _exact,
    "categorical": _categorical,
}
OBJECTIVES = {"elbo": NegativeElbo, "summed-elbo": SummedElbo, "report": ReportObjective}
BLANK = {"particles": _blank_particles, "digits": _blank_digits}
