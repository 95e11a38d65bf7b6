"""How particles begin and enter a training."""

from typing import Any

from jaxtyping import Int
from torch import Tensor

from cryolatent.data import Batch, ParticleStack, scan
from cryolatent.errors import InputError
from cryolatent.runs.config import OptimisationConfig, TrainConfig
from cryolatent.runs.run import Run
from cryolatent.runs.system import System, assemble
from cryolatent.train.augmentation import augment
from cryolatent.train.coefficients import last_shell, subset_of_step
from cryolatent.train.domain import Training
from cryolatent.train.em.driver import train_exact
from cryolatent.train.em.results import first_tensors
from cryolatent.train.progress import Progress, Watch
from cryolatent.train.randomness import seeded


class ParticleTraining(Training[ParticleStack]):
    """Spectra are measured first; a step may compare some Fourier coefficients and augment."""

    def begin(
        self, config: TrainConfig, source: ParticleStack, watch: Watch
    ) -> tuple[System, dict[str, Tensor]]:
        """Read every image once, and build the parts in the scale of the spectra."""
        if config.model.decoder == "pixel":
            raise InputError("--decoder", "pixel", "mlp or subspace", "These are particles.")
        watch.stage("reading particles", len(source.images))
        radius = radius_pixels(config, source)
        statistics = scan(source, radius, watch.advance)
        system = assemble(config, source.disc, len(source), statistics)
        if not config.model.is_exact:
            return system, {}
        return system, first_tensors(config, source, statistics, radius)

    def batch(
        self,
        source: ParticleStack,
        index: Int[Tensor, " n"],
        options: OptimisationConfig,
        at: Progress,
    ) -> Batch:
        """Particles, of which the likelihood compares some coefficients; perhaps augmented."""
        subset = subset_of_step(source.disc, options, at.epoch, at.step)
        batch = source.batch(index).comparing(subset)
        if not options.augment:
            return batch
        return augment(batch, source.disc, seeded(options.seed, at.step, "augment"))

    def entry(
        self, source: ParticleStack, options: OptimisationConfig, epoch: int
    ) -> dict[str, Any]:
        """The last shell that was compared."""
        return {"shells": last_shell(source.disc.radius, options.marching, epoch)}

    def infer_exactly(self, run: Run, source: ParticleStack, watch: Watch) -> None:
        """Expectation maximisation."""
        train_exact(run, source, watch)


def radius_pixels(config: TrainConfig, stack: ParticleStack) -> float:
    """The radius beyond which pixels count as background.

    Args:
        config: Options.
        stack: The particles.

    Returns:
        Radius in pixels.

    Raises:
        InputError: If the radius reaches the edge of the box.
    """
    radius, half = config.data.particle_radius, stack.disc.box / 2
    if radius is None:
        return 0.9 * half
    limit = half * stack.pixel_size_angstrom
    if radius >= limit:
        raise InputError(
            "--particle-radius",
            f"{radius:g} Å",
            f"less than half the box, {limit:g} Å",
            "Give the radius, not the diameter.",
        )
    return radius / stack.pixel_size_angstrom
