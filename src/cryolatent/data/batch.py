"""What a training step sees: evidence for the posterior, observations for the likelihood."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Inexact, Int
from torch import Tensor

from cryolatent.physics import ALL_COEFFICIENTS, CTF, CoefficientSubset, Poses


@dataclass(frozen=True)
class Evidence:
    """What the posterior is shown, which need not be what the likelihood explains.

    Args:
        images: Observed coefficients (or pixels), one row per observation.
        poses: The observations' poses, if they have any.
        ctf: The observations' transfer functions, if they have any.
        owner: For each observation, the position in the batch of the particle that it is shown for;
            a particle may be shown more or fewer observations than it has.
        beyond: What of the images lies outside the Fourier disc, for posteriors that ask for it.
    """

    images: Inexact[Tensor, "obs k"]
    poses: Poses | None
    ctf: CTF | None
    owner: Int[Tensor, " obs"]
    beyond: Float[Tensor, "obs y x"] | None = None


@dataclass(frozen=True)
class Batch:
    """Some particles and their observations.

    Args:
        index: Position of each particle in its stack.
        owner: For each observation, the particle's position in this batch.
        images: Observed coefficients (or pixels) for the likelihood.
        poses: The observations' poses, if they have any.
        ctf: The observations' transfer functions, if they have any.
        evidence: What the posterior is shown.
        subset: Which of the decoder's coefficients the images hold.
    """

    index: Int[Tensor, " particles"]
    owner: Int[Tensor, " obs"]
    images: Inexact[Tensor, "obs k"]
    poses: Poses | None
    ctf: CTF | None
    evidence: Evidence
    subset: CoefficientSubset = ALL_COEFFICIENTS

    def __len__(self) -> int:
        return self.index.shape[0]

    def comparing(self, subset: CoefficientSubset) -> "Batch":
        """Leave the likelihood some of the coefficients; the posterior sees what it saw.

        Args:
            subset: The coefficients to keep, of a batch that holds all.

        Returns:
            The same particles.
        """
        return replace(self, images=self.images[:, subset.index], subset=subset)

    def of_evidence(self) -> "Batch":
        """Put the evidence, all of it, in the place of what the likelihood explains.

        Returns:
            The same particles, for posteriors that ask the model how it explains the evidence.
        """
        shown = self.evidence
        return replace(
            self,
            owner=shown.owner,
            images=shown.images,
            poses=shown.poses,
            ctf=shown.ctf,
            subset=ALL_COEFFICIENTS,
        )

    def sum_by_particle(self, values: Float[Tensor, "obs *rest"]) -> Float[Tensor, "n *rest"]:
        """Add up the observations of each particle.

        Args:
            values: One entry per observation.

        Returns:
            One entry per particle.
        """
        return values.new_zeros(len(self), *values.shape[1:]).index_add(0, self.owner, values)


class Twin(ABC):
    """Replaces the evidence whole: the posterior is shown something else than the observations.

    What a particle is shown depends on its name and the twin alone, never on the batch, the order
    or the selection that it is in.
    """

    @abstractmethod
    def evidence(self, ids: np.ndarray, batch: Batch) -> Evidence:
        """What the posterior is shown in place of some particles' observations.

        Args:
            ids: Names of the batch's particles.
            batch: Their observations, particle by particle.

        Returns:
            One row per observation of the batch.

        Raises:
            InputError: If a particle was not in the stack that the twin was made for.
        """
