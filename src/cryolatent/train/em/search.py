"""What a search by expectation maximisation works on: particles, spectra, mask, prior."""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from cryolatent.data import Filtered, StackStatistics
from cryolatent.models.contrast import ONE, Contrast
from cryolatent.models.posteriors.exact import ClosedForm
from cryolatent.physics import FourierDisc, FourierLattice, NormalEquations
from cryolatent.physics.masks import solvent_mask
from cryolatent.train.em.step import Pass, sweep
from cryolatent.train.em.volumes import MaskedVolumes

MEAN_PRIOR = 4.0
"""Prior variance of the mean volume over the signal's: wide, so that it hardly shrinks."""

RATIO_PRIOR = 2.0
"""Prior variance of other volumes over what they are found to have: wide, so that they grow."""

MIN_RATIO = 0.02
"""Least power that a volume may be found to have, relative to the mean's, while searching."""

EDGE = 0.05
"""Mask below which a field has no say."""

MASK_EXTENT = 0.4
"""How far a mask made from the consensus reaches beyond it, and its edge, in resolutions."""

CG_STEPS = 3
CONSENSUS_STEPS = 8


@dataclass
class Search:
    """The particles, and everything that is known of noise, signal and mask so far.

    Args:
        parts: The particles that volumes are made from.
        held: The particles that are kept for checks.
        spectra: Mean spectra of the data.
        noise: Noise variance of shells 0 to the last.
        mask: Where volumes may be, on the box.
        focus: Where volumes may differ from the mean, on the box, if not in all of the mask.
        tell: Called with the record of each iteration.
        contrast: Prior of the particles' contrast.
        told: Remarks for the log, emptied as they are told.
    """

    parts: Filtered
    held: Filtered
    spectra: StackStatistics
    noise: Float[Tensor, " shells"]
    mask: Float[Tensor, "z y x"]
    focus: Float[Tensor, "z y x"] | None
    tell: Callable[[dict], None]
    contrast: Contrast = ONE
    curve: int = 0
    told: list[str] = field(default_factory=list)

    @property
    def device(self) -> torch.device:
        """Where everything lies."""
        return self.noise.device

    def lattice(self, shells: int) -> FourierLattice:
        """The lattice of the first shells.

        Args:
            shells: Last shell.

        Returns:
            The lattice.
        """
        return FourierLattice(FourierDisc(self.parts.stack.disc.box, shells).to(self.device))

    def signal(self, shells: int) -> Float[Tensor, " shells"]:
        """Mean power of the particle's Fourier coefficients.

        Args:
            shells: Last shell.

        Returns:
            Variance of shells 0 to `shells`; at least a fiftieth of the noise's.
        """
        spectra = self.spectra
        excess = (spectra.power - self.noise) / spectra.ctf_squared.clamp(min=0.05)
        signal = torch.maximum(excess, 0.02 * self.noise)
        signal[0] = signal[1]
        return signal[: shells + 1]

    def space(
        self,
        lattice: FourierLattice,
        ratios: Float[Tensor, " others"],
        mixing: Float[Tensor, "c f"],
    ) -> MaskedVolumes:
        """The space of a mean volume and some others.

        Args:
            lattice: Where slices are taken.
            ratios: Power of each other volume relative to the mean's.
            mixing: Components from fields.

        Returns:
            Fields inside the mask, under a prior that follows the signal's spectrum.
        """
        signal = self.signal(lattice.disc.radius)
        mixes = not torch.equal(mixing.cpu(), torch.eye(len(mixing)))
        mean = ratios.new_tensor([MEAN_PRIOR * (len(mixing) if mixes else 1)])
        wide = torch.cat([mean, RATIO_PRIOR * ratios])
        masks = lattice.field_of(self.mask)[None]
        if self.focus is not None and len(ratios):
            focus = lattice.field_of(self.focus)[None].expand(len(ratios), -1, -1, -1)
            masks = torch.cat([masks, focus])
        return MaskedVolumes(lattice, masks, signal[:, None] * wide, mixing)

    def alone(self, lattice: FourierLattice) -> MaskedVolumes:
        """The space of one volume.

        Args:
            lattice: Where slices are taken.

        Returns:
            Fields inside the mask.
        """
        return self.space(lattice, self.noise.new_zeros(0), self.noise.new_ones(1, 1))

    def consensus(self, lattice: FourierLattice) -> Float[Tensor, "1 z y x"]:
        """The volume of all particles.

        Args:
            lattice: Where slices are taken.

        Returns:
            Its field.
        """
        space = self.alone(lattice)
        equations = NormalEquations(lattice, 1)
        gains = 1 / self.noise[lattice.disc.shells]
        for part in self.parts.chunks(lattice.disc):
            ones = part.weights.new_ones(len(part.images), 1)
            equations.insert(part.images, part.weights, gains, (ones, ones), part.rotations)
        blank = torch.zeros_like(space.mask[:1])
        return space.improve(blank, *equations.total(), CONSENSUS_STEPS)

    def tighten(self, lattice: FourierLattice) -> None:
        """Replace the mask by one about the consensus, if the consensus stands out.

        Args:
            lattice: Where slices are taken.
        """
        stack = self.parts.stack
        space = self.alone(lattice)
        volume = lattice.to_volumes(space.values(self.consensus(lattice)), 1)[0]
        pixel_size = stack.pixel_size_angstrom
        resolution = stack.disc.box * pixel_size / lattice.disc.radius
        try:
            mask = solvent_mask(
                volume.cpu(),
                pixel_size,
                resolution_angstrom=resolution,
                extend_angstrom=MASK_EXTENT * resolution,
                edge_angstrom=MASK_EXTENT * resolution,
            )
        except ValueError as error:
            self.told.append(f"no tighter mask at {resolution:.1f} Å: {error}")
            return
        self.mask = mask.to(self.device)
        self.curve += 1

    def ratios(
        self, space: MaskedVolumes, fields: Float[Tensor, "f z y x"]
    ) -> Float[Tensor, " others"]:
        """The power of every volume but the mean, relative to the signal's.

        Args:
            space: Where the fields live.
            fields: Mean first.

        Returns:
            Ratios of sums over shells, at least `MIN_RATIO`.
        """
        power = space.lattice.shell_mean(space.transform(fields).abs().square())[1:, 1:]
        signal = self.signal(space.lattice.disc.radius)[1:]
        return (power.sum(0) / signal.sum()).clamp(min=MIN_RATIO)

    def expect(
        self,
        space: MaskedVolumes,
        fields: Float[Tensor, "f z y x"],
        posterior: ClosedForm,
        *,
        refit_noise: bool = False,
    ) -> Pass:
        """One pass over the particles, and its record.

        Args:
            space: Where the fields live.
            fields: The volumes now.
            posterior: What z is.
            refit_noise: Whether the residuals are wanted too.

        Returns:
            Sums over all particles.
        """
        lattice = space.lattice
        noise = self.noise[: lattice.disc.radius + 1]
        parts, values = self.parts.chunks(lattice.disc), space.values(fields)
        found = sweep(
            parts, values, noise, lattice, posterior, self.contrast, refit_noise=refit_noise
        ).finished(lattice)
        particles = len(self.parts)
        self.tell(
            {
                "curve": self.curve,
                "shells": lattice.disc.radius,
                "volumes": len(fields),
                "states": posterior.gives_states,
                "evidence": found.evidence / particles,
                "objective": (found.evidence - space.penalty(fields)) / particles,
                "kl": found.kl / particles,
            }
        )
        return found

    def set_noise(self, spectrum: Float[Tensor, " shells"]) -> None:
        """Replace the noise of the first shells; what follows is a new curve.

        Args:
            spectrum: Noise variance of shells 0 to any.
        """
        self.noise[: len(spectrum)] = spectrum
        self.curve += 1


def marching(last: int, first: int = 4) -> list[int]:
    """The shells at which a search halts on its way to the last.

    Args:
        last: Last shell.
        first: First halt.

    Returns:
        Ascending; two more each time, or a third more from the twelfth shell on.
    """
    halts = [min(first, last)]
    while halts[-1] < last:
        step = 2 if halts[-1] < 12 else round(halts[-1] / 3)
        halts.append(min(last, halts[-1] + step))
    # a last step that is much shorter than the others is not worth a halt
    if len(halts) > 2 and halts[-1] - halts[-2] < 0.15 * last:
        del halts[-2]
    return halts


def regrown(
    values: Tensor, smaller: FourierLattice, space: MaskedVolumes
) -> Float[Tensor, "f z y x"]:
    """Fields of a larger lattice whose transform is that of a smaller one.

    Args:
        values: Transforms of the fields on the smaller lattice.
        smaller: The smaller lattice.
        space: The larger lattice's space.

    Returns:
        Fields; where the mask is nearly zero they are zero.
    """
    lattice = space.lattice
    grown = values if smaller == lattice else lattice.grown_from(values, smaller)
    return lattice.to_field(grown) / space.mask.clamp(min=EDGE) * (space.mask > EDGE)
