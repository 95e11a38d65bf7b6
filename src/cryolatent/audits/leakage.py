"""Do latents tell how a particle was recorded, and not only what it is?"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float, Int

from cryolatent.analysis.bootstrap import bootstrap
from cryolatent.audits.base import Audit
from cryolatent.audits.halves import NEIGHBOURS, announces, neighbours
from cryolatent.audits.reading import cannot_reread, chosen_particles, reread
from cryolatent.data import ParticleStack
from cryolatent.models.distributions import Distribution
from cryolatent.physics import in_plane_degrees, view_order
from cryolatent.runs.finding import ALPHA, Estimate, Finding, p_beyond
from cryolatent.sessions.subject import Need, Subject

FOLDS, PERMUTATIONS = 5, 19
JITTER = 1e-4
"""Of latents, relative to their spread: breaks ties of states."""

BOTH = "Particles of other latents, simulated there, show it too: it is the inference that leaks."
DATA = "Particles simulated there do not show it: it comes from the images or the training."
ALIKE = "In-plane angle, shift and defocus are recorded as the same for all particles."
REAL = "Latents depend on {names}, which can be real."


@dataclass(frozen=True)
class Covariate:
    """Something recorded of particles.

    Args:
        name: What.
        values: Numbers, a row per particle.
        can_be_real: Whether what particles are may depend on it.
    """

    name: str
    values: Float[np.ndarray, "n c"]
    can_be_real: bool = False


@dataclass(frozen=True, kw_only=True)
class Leakage(Audit):
    """Predict how particles were recorded from draws of their latents.

    The statistic is the share of the variance that a particle's neighbours in latent space, none
    of its micrograph, predict of what they should know least of: in-plane angle, shift and
    defocus, of each what neighbours in view direction predict taken off. Null: latents given to
    other particles of about the same view. Draws and not means are asked, for means shrink
    with the defocus even where a posterior is exact.

    States may prefer views, grids and micrographs; dependence on those is *inconclusive*. What
    particles simulated at the same poses and transfer functions give, whose latents depend on
    nothing, says where a leak comes from.

    Args:
        threshold: Smallest share that counts.
        seed: Fixes particles, draws, permutations and resampling.
    """

    needs: ClassVar[tuple[Need, ...]] = ("latents", "particles")

    threshold: float = 0.05
    seed: int = 0

    @property
    def name(self) -> str:
        """Name of the audit."""
        return "leakage"

    @property
    def question(self) -> str:
        """What is asked, in a sentence."""
        return (
            "Can in-plane angle, shift or defocus be told from the latents, beyond what the view "
            "tells of them?"
        )

    def answer(self, subject: Subject) -> Finding:
        """Predict what is recorded of up to 2,000 particles."""
        stack, latents = subject.particles(), subject.latents()
        if latents is None or not isinstance(stack, ParticleStack) or not announces(subject):
            note = "The run announces no heterogeneity, or its examples have no poses."
            return self.finding("not applicable", threshold=self.threshold, note=note)
        index = chosen_particles(len(stack), self.seed)
        known, groups = recorded(stack, index)
        if all(c.can_be_real for c in known):
            return self.finding("not applicable", threshold=self.threshold, note=ALIKE)
        order = view_order(stack.poses.rotations[stack.offsets[index]]).numpy()
        rng = np.random.default_rng(self.seed)
        z = self._drawn(latents.distribution.at(index), rng)
        found = {c.name: self._share(z, c, groups) for c in known}
        null = [
            self._share(z[mixed], c, groups, resamples=1).value
            for mixed in (_shuffled(order, rng) for _ in range(PERMUTATIONS))
            for c in known
            if not c.can_be_real
        ]
        chance = Estimate.of_null(null)
        simulated = self._simulated(subject, stack, index, known, groups)
        numbers = found | {f"{name}_simulated": share for name, share in simulated.items()}
        return self._judged(known, found, simulated, chance, len(index), numbers)

    def _judged(
        self,
        known: list[Covariate],
        found: dict[str, Estimate],
        simulated: dict[str, Estimate],
        chance: Estimate,
        particles: int,
        numbers: dict[str, Estimate],
    ) -> Finding:
        threshold = max(self.threshold, chance.high)
        never = [c.name for c in known if not c.can_be_real]
        worst = max(never, key=lambda name: found[name].value)
        real = [c.name for c in known if c.can_be_real and found[c.name].low > threshold]
        verdict, note = "inconclusive", REAL.format(names=", ".join(real)) if real else ""
        p_value = min(1.0, len(never) * p_beyond(found[worst], threshold))
        fails = found[worst].low > threshold and p_value < ALPHA
        if fails:
            verdict, note = "fail", f"Latents tell the {worst}."
            if worst in simulated:
                note += f" {BOTH if simulated[worst].low > threshold else DATA}"
        elif not real and all(found[name].high < threshold for name in never):
            verdict = "pass"
        return self.finding(
            verdict,
            found[worst],
            particles=particles,
            null=chance,
            threshold=threshold,
            note=note,
            numbers=numbers,
        ).at(p_value)

    def _simulated(
        self,
        subject: Subject,
        stack: ParticleStack,
        index: Int[torch.Tensor, " n"],
        known: list[Covariate],
        groups: Int[np.ndarray, " n"],
    ) -> dict[str, Estimate]:
        """The same of particles that the model draws, where it can and images are read."""
        system = subject.system()
        if system is None or not system.posterior.reads_images or cannot_reread(system, stack):
            return {}
        again = reread(system, stack, index, self.seed)
        z = self._drawn(again.found, np.random.default_rng(self.seed))
        return {c.name: self._share(z, c, groups) for c in known}

    def _drawn(self, q: Distribution, rng: np.random.Generator) -> Float[np.ndarray, "n d"]:
        z = q.rsample(torch.Generator().manual_seed(self.seed)).double().numpy()
        return z + JITTER * z.std() * rng.normal(size=z.shape)

    def _share(
        self,
        z: Float[np.ndarray, "n d"],
        covariate: Covariate,
        groups: Int[np.ndarray, " n"],
        resamples: int = 1000,
    ) -> Estimate:
        left, total = residuals(z, covariate.values, groups)
        return bootstrap(
            lambda rows: 1 - float(left[rows].sum() / total[rows].sum()),
            len(left),
            seed=self.seed,
            resamples=resamples,
        )


def residuals(
    z: Float[np.ndarray, "n d"], values: Float[np.ndarray, "n c"], groups: Int[np.ndarray, " n"]
) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """How badly neighbours in latent space predict what is recorded, groups kept apart.

    Args:
        z: Latents.
        values: What is recorded.
        groups: Number of each particle's group; a particle is predicted by particles of other
            folds of groups alone.

    Returns:
        Squared errors of the mean of each particle's 20 nearest, and squared deviations from the
        mean of all. ``1 - Σ / Σ`` is about ``-1 / 20`` where latents tell nothing.
    """
    from sklearn.neighbors import NearestNeighbors

    fold = np.random.default_rng(0).permutation(groups.max() + 1)[groups] % FOLDS
    left = np.zeros(len(z))
    for number in np.unique(fold):
        own = fold == number
        near = NearestNeighbors(n_neighbors=min(NEIGHBOURS, int((~own).sum()))).fit(z[~own])
        predicted = values[~own][near.kneighbors(z[own], return_distance=False)].mean(axis=1)
        left[own] = np.square(values[own] - predicted).sum(axis=1)
    return left, np.square(values - values.mean(axis=0)).sum(axis=1)


def recorded(
    stack: ParticleStack, index: Int[torch.Tensor, " n"]
) -> tuple[list[Covariate], Int[np.ndarray, " n"]]:
    """What is recorded of particles, of the first of several images.

    Args:
        stack: Particles.
        index: Which.

    Returns:
        Harmonics of the view direction (degrees one and two) and of the in-plane angle, shifts and
        defocus, each column of variance one; all but the view without what neighbours in view
        predict of them. And numbers of the micrographs, or other groups of noise; of
        particles of less than five of them their own.
    """
    first = stack.offsets[index]
    rotations = stack.poses.rotations[first]
    view = rotations[:, 2].double().numpy()
    second = (view[:, :, None] * view[:, None]).reshape(len(view), 9)[:, [0, 1, 2, 4, 5]]
    angle = torch.deg2rad(in_plane_degrees(rotations)).double()
    turns = torch.stack([f(m * angle) for m in (1, 2) for f in (torch.cos, torch.sin)], 1)
    ctf = stack.ctf[first]
    defocus = 0.5 * (ctf.defocus_u_angstrom + ctf.defocus_v_angstrom)
    given = {
        "in-plane angle": turns.numpy(),
        "shift": stack.poses.shifts_angstrom[first].double().numpy(),
        "defocus": defocus[:, None].double().numpy(),
    }
    near = neighbours(view, NEIGHBOURS)
    known = [Covariate("view", _scaled(np.concatenate([view, second], 1)), can_be_real=True)]
    for name, values in given.items():
        if (values.std(axis=0) > 0).all():
            scaled = _scaled(values)
            here = scaled - scaled[near].mean(axis=1)
            known.append(Covariate(name, here))
    groups = np.arange(len(index))
    if stack.noise_groups is not None:
        names, found = np.unique(stack.noise_groups[first.numpy()], return_inverse=True)
        groups = found if len(names) >= FOLDS else groups
    return known, groups


def _scaled(values: Float[np.ndarray, "n c"]) -> Float[np.ndarray, "n c"]:
    return (values - values.mean(axis=0)) / np.maximum(values.std(axis=0), 1e-12)


def _shuffled(order: Int[np.ndarray, " n"], rng: np.random.Generator) -> Int[np.ndarray, " n"]:
    """For each particle another one of about its view."""
    block = np.arange(len(order)) // NEIGHBOURS
    mixed = np.empty_like(order)
    mixed[order] = order[np.lexsort((rng.random(len(order)), block))]
    return mixed
