"""What a training is expected to cost, from trainings that were measured.

Two terms for exact inference, one that grows with particles and coefficients and one with voxels,
fitted to the rows that `tests/sessions/test_forecast.py` reads from ``benchmarks/results``; for
coordinate networks the products of their layers. All on one thread of the processor named there.
"""

from dataclasses import dataclass

from cryolatent.config.training import TrainConfig
from cryolatent.data.shell_store import BYTES
from cryolatent.data.source import Geometry
from cryolatent.models.decoders.options import MlpOptions
from cryolatent.train.options import EmOptions, GradientOptions

FACTOR = 2.0
"""Within this factor the model foretells every measured run, in seconds and in memory."""

FIRST_SECONDS, VOXEL_SECONDS, COEFFICIENT_SECONDS = 12.0, 7e-5, 2.2e-6
"""Of exact inference that doubts its inputs: once, per voxel of the box, per coefficient of every
image."""

TRUSTING = 0.7
"""Share of that, all inputs believed."""

BASE_BYTES, VOXEL_BYTES = 0.45e9, 3500
"""Memory of the program itself, and of volumes, their sums and derivatives per voxel of the box."""

PRODUCTS_PER_SECOND = 6e10
"""Multiplications and additions per second that steps of a coordinate network come to."""

PASSES_OF_A_STEP = 3
"""A step goes once forward and, at twice the cost, backward."""


@dataclass(frozen=True)
class Forecast:
    """What one training is expected to take.

    Args:
        core_seconds: Processor time on one thread.
        memory_bytes: The largest anonymous memory; None where none was measured.
        scratch_bytes: Size of the file of filtered images beside the run; 0 if they fit.
    """

    core_seconds: float
    memory_bytes: float | None
    scratch_bytes: float


def forecast(
    geometry: Geometry, images: int, config: TrainConfig, free_bytes: float
) -> Forecast | None:
    """Foretell what a training takes.

    Args:
        geometry: Box and last shell of the images.
        images: Number of images.
        config: Options.
        free_bytes: Memory that could be had now.

    Returns:
        The expectation; None of a kind of training that was not measured.
    """
    config = config.resolved()
    coefficients = half_disc(geometry.shells)
    if isinstance(config.method, EmOptions):
        return _exact(geometry.box, images, coefficients, config.method, free_bytes)
    if isinstance(config.method, GradientOptions) and isinstance(config.decoder, MlpOptions):
        products = 2 * PASSES_OF_A_STEP * coefficients * _weights(config.decoder)
        products *= config.method.coefficient_fraction * config.method.epochs * images
        return Forecast(products / PRODUCTS_PER_SECOND, None, 0.0)
    return None


def half_disc(shells: int) -> float:
    """About how many Fourier coefficients of an image are used.

    Args:
        shells: The last shell.

    Returns:
        Those of a half disc.
    """
    return 1.5708 * shells**2


def _exact(
    box: int, images: int, coefficients: float, options: EmOptions, free_bytes: float
) -> Forecast:
    seconds = FIRST_SECONDS + VOXEL_SECONDS * box**3 + COEFFICIENT_SECONDS * coefficients * images
    if options.trust is not None and "all" in options.trust:
        seconds *= TRUSTING
    filtered = BYTES * images * coefficients
    room = free_bytes / 2 if options.memory is None else options.memory * 1e9
    fits = filtered <= room
    memory = BASE_BYTES + VOXEL_BYTES * box**3 + (filtered if fits else 0.0)
    return Forecast(seconds, memory, 0.0 if fits else filtered)


def _weights(options: MlpOptions) -> int:
    """Weights of a network's layers; the first one sees about as many features as units."""
    return options.decoder_width**2 * (options.decoder_layers + 1)
