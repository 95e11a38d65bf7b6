"""Is each class a class, or would the same procedure have made it of nothing?"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from cryolatent.analysis.bootstrap import mean_estimate
from cryolatent.audits.base import Audit
from cryolatent.audits.halves import LEAST_GAIN
from cryolatent.audits.null import REPLICAS
from cryolatent.runs.finding import Estimate, Finding, Table, p_beyond, verdict_above
from cryolatent.sessions.claims import Claim, scale
from cryolatent.sessions.subject import Need, Subject

SINGLE = "All particles are of one class."
MERGES = "The class is no more distinct than classes that the same procedure makes of nothing: {}."

Distinctness = dict[int, Float[np.ndarray, " m"]]
"""For every class, what each of its particles gains from its being a class."""


@dataclass(frozen=True, kw_only=True)
class Classes(Audit):
    """Compare every class with the larger one that is most like it, on images of the other half.

    A volume of each class is regressed on the labels of one half of the particles. The statistic is
    what the other half's particles of a class gain in log evidence from its volume over that of the
    two classes taken together, nats per particle, of the class that gains least. Of two halves of
    one class the smaller is none. Labels have seen
    the images that they foretell, and errors of poses make classes as well, so the null is not a
    random partition: it is the most distinct class that the same procedure makes of replicas whose
    particles do not differ.

    Args:
        distinctness: From `distinctness`; None where all particles are of one class.
        nothing: What the most distinct class gains in the replica of a number; zero where the
            procedure makes no classes.
        replicas: How many.
        seed: Fixes resampling.
    """

    needs: ClassVar[tuple[Need, ...]] = ("latents",)

    distinctness: Distinctness | None
    nothing: Callable[[int], float]
    replicas: int = REPLICAS
    seed: int = 0

    @property
    def name(self) -> str:
        """Name of the audit."""
        return "classes"

    @property
    def question(self) -> str:
        """What is asked, in a sentence."""
        return (
            "Is every class more distinct from the larger one most like it than classes that the "
            "same procedure makes of particles that do not differ?"
        )

    def answer(self, subject: Subject) -> Finding:
        """Compare the least distinct class with the most distinct one of nothing."""
        if self.distinctness is None:
            return self.finding("not applicable", threshold=LEAST_GAIN, note=SINGLE)
        gains = {
            number: mean_estimate(gain, seed=self.seed)
            for number, gain in self.distinctness.items()
        }
        made = [self.nothing(number) for number in range(self.replicas)]
        threshold = max(LEAST_GAIN, *made)
        verdicts = {number: verdict_above(gain, threshold) for number, gain in gains.items()}
        least = min(gains, key=lambda number: gains[number].value)
        lost = [str(number) for number, verdict in verdicts.items() if verdict == "fail"]
        columns = {
            "class": tuple(map(str, gains)),
            "particles": tuple(float(len(gain)) for gain in self.distinctness.values()),
            "gain": tuple(gain.value for gain in gains.values()),
            "low": tuple(gain.low for gain in gains.values()),
            "high": tuple(gain.high for gain in gains.values()),
            "verdict": tuple(verdicts.values()),
        }
        if lost:
            verdict = "fail"
        else:
            verdict = "inconclusive" if "inconclusive" in verdicts.values() else "pass"
        return self.finding(
            verdict,
            gains[least],
            particles=sum(map(len, self.distinctness.values())),
            null=Estimate.of_null(made),
            threshold=threshold,
            note=MERGES.format(", ".join(lost)) if lost else "",
            tables={"classes": Table(columns=columns)},
        ).at(min(1.0, len(gains) * p_beyond(gains[least], threshold)))


def distinctness(pair: tuple[Claim, Claim], labels: Int[np.ndarray, " n"]) -> Distinctness:
    """What it is worth to tell each class from the one that is most like it.

    Args:
        pair: What `indicators` of the labels foretell.
        labels: Class of every particle.

    Returns:
        By class, of its particles: ``log p(x | V_k) - log p(x | V_kl)`` in nats, of the larger
        class l for which the mean is least; the largest class has none. V_kl is the volume of both
        together, and V_k differs from it by as much of the regressed difference as the other
        claim's particles support.
    """
    sizes = torch.from_numpy(np.bincount(labels)).float()
    owners = [torch.from_numpy(labels[claim.rows]).long() for claim in pair]
    sides = [_Sides(claim, own, sizes) for claim, own in zip(pair, owners, strict=True)]
    first, second = sides
    gains = torch.cat([first.gains(second.scales()), second.gains(first.scales())])
    own = torch.cat(owners)
    order = sizes.argsort(descending=True, stable=True)[: int((sizes > 0).sum())].tolist()
    found = {}
    for place, number in enumerate(order[1:], 1):
        mine = gains[own == number]
        least = min(order[:place], key=lambda k: float(mine[:, k].mean()))
        found[number] = mine[:, least].double().numpy()
    return found


def indicators(labels: Int[np.ndarray, " n"]) -> Float[np.ndarray, "n k"]:
    """Latents that say of which class a particle is, and nothing else.

    Args:
        labels: Class of every particle.

    Returns:
        A one and zeros for each.
    """
    return np.eye(int(labels.max()) + 1)[labels]


@dataclass(frozen=True)
class _Sides:
    """Every particle's class, taken together with each other one, under one half's volumes."""

    claim: Claim
    owner: Int[Tensor, " m"]
    sizes: Float[Tensor, " k"]

    def pooled(self, other: int) -> Float[Tensor, "m d"]:
        """Latent of the volume of a particle's own class and another, taken together."""
        place = torch.zeros(len(self.sizes), self.claim.z.shape[1])
        # all particles of a class have the same latent
        place[self.owner] = self.claim.z
        weights = self.sizes[self.owner], self.sizes[other]
        share = (weights[0] / (weights[0] + weights[1]))[:, None]
        return share * place[self.owner] + (1 - share) * place[other]

    def scales(self) -> Float[Tensor, "k k"]:
        """What differences of each pair of classes are to be multiplied by."""
        count = len(self.sizes)
        found = torch.zeros(2, count, count)
        for k in range(count):
            base = self.pooled(k)
            for energy, total in zip(
                self.claim.energies(self.claim.z - base, base), found, strict=True
            ):
                total[:, k].index_add_(0, self.owner, energy)
        explained, power = found + found.mT
        return scale(explained, power)

    def gains(self, scales: Float[Tensor, "k k"]) -> Float[Tensor, "m k"]:
        """Log evidence of particles at their own class over that at each pair's, in nats."""
        gains = []
        for k in range(len(self.sizes)):
            base = self.pooled(k)
            own = base + scales[self.owner, k, None] * (self.claim.z - base)
            gains.append(self.claim.evidence(own) - self.claim.evidence(base))
        return torch.stack(gains, dim=1)
