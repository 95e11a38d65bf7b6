"""What a search by expectation maximisation works on: particles, spectra, mask, prior."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from itertools import chain

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from cryolatent.data import (
    Filtered,
    FilteredImages,
    FilteredTogether,
    Placing,
    StackStatistics,
)
from cryolatent.models.coefficients import CoefficientPosterior
from cryolatent.models.everywhere import GRID_SHELLS, SEARCHED_SHELLS, look_everywhere
from cryolatent.models.hypothesis import Hypothesis
from cryolatent.models.nuisances import Nuisances
from cryolatent.models.posteriors.exact import ExactGaussian
from cryolatent.physics import FourierDisc, FourierLattice, NormalEquations
from cryolatent.physics.masks import solvent_mask
from cryolatent.train.em.corrections import Corrections, PassDraws
from cryolatent.train.em.doubts import Doubts
from cryolatent.train.em.power import power_found, signal_of
from cryolatent.train.em.step import Pass, sweep
from cryolatent.train.em.survey import survey
from cryolatent.train.em.volumes import MaskedVolumes

MEAN_PRIOR = 4.0
"""Prior variance of the mean volume over the signal's: wide, so that it hardly shrinks."""

RATIO_PRIOR = 2.0
"""Prior variance of other volumes over what they are found to have: wide, so that they grow."""

MIN_RATIO = 0.02
"""Least power that a volume may be found to have, relative to the mean's, while searching."""

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
        spectrum: Power of the consensus, of which wrong poses leave less than the images show.
        doubts: Which inputs may be wrong.
        nuisances: By how much, so far.
        corrections: What that makes of each particle.
        seed: Fixes the draws of poses.
        passes: How many draws there were.
        told: Remarks for the log, emptied as they are told.
        placing: Where images are looked at; None if nowhere but where they are recorded.
    """

    parts: Filtered
    held: Filtered
    spectra: StackStatistics
    noise: Float[Tensor, " shells"]
    mask: Float[Tensor, "z y x"]
    focus: Float[Tensor, "z y x"] | None
    tell: Callable[[dict], None]
    spectrum: Float[Tensor, " shells"]
    doubts: Doubts
    nuisances: Nuisances
    corrections: Corrections
    seed: int = 0
    passes: int = 0
    curve: int = 0
    told: list[str] = field(default_factory=list)
    placing: Placing | None = None

    @property
    def device(self) -> torch.device:
        """Where everything lies."""
        return self.noise.device

    @property
    def disc(self) -> FourierDisc:
        """All coefficients, shell by shell."""
        return replace(self.parts.stack.disc, by_shell=True).to(self.device)

    def lattice(self, shells: int) -> FourierLattice:
        """The lattice of the first shells.

        Args:
            shells: Last shell.

        Returns:
            The lattice.
        """
        return FourierLattice(self.disc.within(shells))

    def signal(self, shells: int) -> Float[Tensor, " shells"]:
        """Mean power of the particle's Fourier coefficients, as the images show it.

        Args:
            shells: Last shell.

        Returns:
            Variance of shells 0 to `shells`; at least a fiftieth of the noise's.
        """
        return signal_of(self.spectra, self.noise)[: shells + 1]

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
        shells = lattice.disc.radius
        mixes = not torch.equal(mixing.cpu(), torch.eye(len(mixing)))
        mean = ratios.new_tensor([MEAN_PRIOR * (len(mixing) if mixes else 1)])
        # what differs need not fall off as the consensus does
        consensus, others = self.spectrum[: shells + 1], self.signal(shells)
        prior = [consensus[:, None] * mean, others[:, None] * (RATIO_PRIOR * ratios)]
        masks = lattice.field_of(self.mask)[None]
        if self.focus is not None and len(ratios):
            focus = lattice.field_of(self.focus)[None].expand(len(ratios), -1, -1, -1)
            masks = torch.cat([masks, focus])
        return MaskedVolumes(lattice, masks, torch.cat(prior, dim=1), mixing)

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
        equations = NormalEquations(lattice, 1)
        gains = 1 / self.noise[lattice.disc.shells]
        draws, known = self.draws(), self.corrections
        for part in self.parts.chunks(lattice.disc):
            there = known.drawn(part, draws, lattice.disc) if self.nuisances.poses else part
            (mean, variance), share = known.contrast[part.index].T, known.share[part.index]
            moments = share * (mean.square() + variance), share * mean
            first, second = (moment[part.owner, None] for moment in reversed(moments))
            equations.insert(there.images, there.weights, gains, (second, first), there.rotations)
        return self.solved(lattice, *equations.total())

    def solved(
        self, lattice: FourierLattice, matrix: Float[Tensor, "v 1"], vector: Complex[Tensor, "v 1"]
    ) -> Float[Tensor, "1 z y x"]:
        """Solve for one volume, under a prior that follows the power which the sums show.

        Args:
            lattice: Where slices are taken.
            matrix: Normal matrices at its voxels.
            vector: Right-hand sides.

        Returns:
            Its field.
        """
        self.spectrum[: lattice.disc.radius + 1] = power_found(matrix, vector, lattice)
        space = self.alone(lattice)
        return space.improve(torch.zeros_like(space.mask[:1]), matrix, vector, CONSENSUS_STEPS)

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
        posterior: CoefficientPosterior,
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
        parts = self.parts.chunks(lattice.disc)
        hypothesis = self.hypothesis(lattice, space.values(fields), posterior)
        # one number for the contrast, and one for each latent dimension or the state
        draws = self.draws(1 + len(fields)) if self.nuisances.poses else None
        found = sweep(parts, hypothesis, draws, refit_noise=refit_noise).finished(lattice)
        particles = len(self.parts)
        self.tell(
            {
                "curve": self.curve,
                "shells": lattice.disc.radius,
                "volumes": len(fields),
                "states": posterior.independent,
                "evidence": found.evidence / particles,
                "objective": (found.evidence - space.penalty(fields)) / particles,
                "kl": found.kl / particles,
            }
        )
        return found

    def hypothesis(
        self,
        lattice: FourierLattice,
        values: Complex[Tensor, "v c"],
        posterior: CoefficientPosterior,
    ) -> Hypothesis:
        """Volumes, under what is known of noise and nuisances.

        Args:
            lattice: Where slices are taken.
            values: The components at its voxels.
            posterior: What z is.

        Returns:
            What particles are explained by.
        """
        noise = self.noise[: lattice.disc.radius + 1]
        return Hypothesis(lattice, values, noise, posterior, self.nuisances)

    def draws(self, width: int = 0) -> PassDraws:
        """The random numbers of the next pass.

        Args:
            width: How many each particle needs, beside those of its images' poses.

        Returns:
            Standard normal numbers.
        """
        self.passes += 1
        return PassDraws.of(self.corrections, self.seed, self.passes, width)

    def survey(
        self,
        lattice: FourierLattice,
        values: Complex[Tensor, "v c"],
        posterior: CoefficientPosterior,
    ) -> None:
        """Move poses and contrasts to where volumes explain the images best; fit the priors.

        Fewer shells than were looked at before say nothing new.

        Args:
            lattice: Where slices are taken.
            values: The components at its voxels.
            posterior: What z is.
        """
        shells = lattice.disc.radius
        if not self.doubts or shells < self.corrections.shells:
            return
        hypothesis = self.hypothesis(lattice, values, posterior)
        if self.doubts.lost and GRID_SHELLS <= shells <= SEARCHED_SHELLS:
            self.look_everywhere(hypothesis)
            hypothesis = hypothesis.under(self.nuisances)
        chunks = chain(self.parts.chunks(lattice.disc), self.aside(lattice.disc))
        parts = ((part, *self.corrections.about(part)) for part in chunks)
        found = survey(hypothesis, parts, self.doubts, self.signal(self.parts.stack.disc.radius))
        self.corrections = self.corrections.updated(found.found, shells)
        self.nuisances = found.nuisances
        self.curve += 1

    def look_everywhere(self, hypothesis: Hypothesis) -> None:
        """Place every image where it is most probably, near the recorded pose or anywhere.

        Args:
            hypothesis: Volumes and priors now.
        """
        disc, before = hypothesis.lattice.disc, self.placing
        self.place(None)
        chunks = chain(self.parts.chunks(disc), self.aside(disc))
        placing, lost = look_everywhere(hypothesis, chunks, len(self.corrections.moved))
        self.place(placing)
        changed = placing.lost if before is None else placing.lost | before.lost
        self.corrections = self.corrections.forgotten(changed)
        self.nuisances = replace(self.nuisances, lost=lost)

    def place(self, placing: Placing | None) -> None:
        """Look at all images elsewhere from now on.

        Args:
            placing: A row for each image of the stack; None for the recorded poses.
        """
        self.placing = placing
        for parts in (self.parts, self.held):
            parts.place(placing)

    def survey_consensus(self, lattice: FourierLattice) -> None:
        """`survey`, under the volume of all particles.

        Args:
            lattice: Where slices are taken.
        """
        values = self.alone(lattice).values(self.consensus(lattice))
        self.survey(lattice, values, ExactGaussian(0))

    def aside(self, disc: FourierDisc) -> Iterator[FilteredImages]:
        """Particles kept aside that no volume is made from.

        Args:
            disc: The coefficients wanted.

        Returns:
            Chunks; none once the particles are joined.
        """
        return iter(()) if isinstance(self.parts, FilteredTogether) else self.held.chunks(disc)

    def set_noise(self, spectrum: Float[Tensor, " shells"]) -> None:
        """Replace the noise of the first shells; what follows is a new curve.

        Args:
            spectrum: Noise variance of shells 0 to any.
        """
        self.noise[: len(spectrum)] = spectrum
        self.curve += 1
