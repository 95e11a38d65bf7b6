"""From configuration to model: the one place that maps an option's value to a class."""

from dataclasses import dataclass

import torch

from cryolatent.data import StackStatistics
from cryolatent.models import (
    Categorical,
    Decoder,
    Encoder,
    ExactGaussian,
    FourierGaussian,
    GenerativeModel,
    LookupTable,
    MlpDecoder,
    NegativeElbo,
    Objective,
    PointTable,
    Posterior,
    ReportObjective,
    SemiAmortized,
    SubspaceDecoder,
)
from cryolatent.models.decoders.coefficients import Fourier, Linear, Network, Polynomial, Shares
from cryolatent.physics import FourierDisc, Interpolation
from cryolatent.runs.config import TrainConfig
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
    options, seed = config.model, config.optimisation.seed
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        decoder = DECODERS[options.decoder or "mlp"](config, disc, statistics)
        posterior = POSTERIORS[options.posterior](config, disc, particles, statistics)
    likelihood = FourierGaussian(disc, statistics.background, statistics.power)
    return System(GenerativeModel(decoder, likelihood), posterior)


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
    return NegativeElbo(beta) if options.objective == "elbo" else ReportObjective(beta)


def restore(run: Run) -> System:
    """Load the parts of a run.

    Args:
        run: The run.

    Returns:
        The parts as the newest checkpoint holds them.
    """
    manifest = run.manifest
    disc = FourierDisc(manifest.box, manifest.shells)
    blank = torch.ones(disc.radius + 1)
    system = assemble(run.config, disc, manifest.particles, StackStatistics(blank, blank, blank))
    system.load(run.checkpoint())
    return system


def _mlp(config: TrainConfig, disc: FourierDisc, statistics: StackStatistics) -> Decoder:
    options = config.model
    return MlpDecoder(
        disc,
        options.z_dim,
        statistics.signal_amplitude,
        width=options.decoder_width,
        layers=options.decoder_layers,
        precision=PRECISIONS[config.optimisation.precision],
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


def _encoder(
    config: TrainConfig, disc: FourierDisc, particles: int, statistics: StackStatistics
) -> Encoder:
    options = config.model
    return Encoder(
        disc,
        options.z_dim,
        statistics.power,
        width=options.encoder_width,
        layers=options.encoder_layers,
    )


def _semi_amortized(
    config: TrainConfig, disc: FourierDisc, particles: int, statistics: StackStatistics
) -> Posterior:
    encoder = _encoder(config, disc, particles, statistics)
    return SemiAmortized(encoder, config.model.refinement_steps)


def _table(
    config: TrainConfig, disc: FourierDisc, particles: int, statistics: StackStatistics
) -> Posterior:
    sparse = config.optimisation.table_optimiser != "adam"
    table = LookupTable(particles, config.model.z_dim, sparse=sparse)
    if config.model.table_start == "random":
        table.randomise(torch.Generator().manual_seed(config.optimisation.seed + 1))
    return table


def _points(
    config: TrainConfig, disc: FourierDisc, particles: int, statistics: StackStatistics
) -> Posterior:
    sparse = config.optimisation.table_optimiser != "adam"
    table = PointTable(particles, config.model.z_dim, sparse=sparse)
    if config.model.table_start == "random":
        table.randomise(torch.Generator().manual_seed(config.optimisation.seed + 1))
    return table


def _exact(
    config: TrainConfig, disc: FourierDisc, particles: int, statistics: StackStatistics
) -> Posterior:
    options = config.model
    return ExactGaussian(options.z_dim, contrast_spread=options.contrast_spread)


def _categorical(
    config: TrainConfig, disc: FourierDisc, particles: int, statistics: StackStatistics
) -> Posterior:
    options = config.model
    return Categorical(options.z_dim, contrast_spread=options.contrast_spread)


COEFFICIENTS = {
    "linear": Linear,
    "polynomial": Polynomial,
    "fourier": Fourier,
    "network": Network,
}
DECODERS = {"mlp": _mlp, "subspace": _subspace}
POSTERIORS = {
    "encoder": _encoder,
    "semi-amortized": _semi_amortized,
    "table": _table,
    "point-table": _points,
    "exact": _exact,
    "categorical": _categorical,
}
