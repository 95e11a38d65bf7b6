"""Do other runs of the same particles, of whatever program, find the same?"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import ClassVar

import numpy as np
from jaxtyping import Float, Int, Shaped

from cryolatent.analysis.agreement import adjusted_rand_index
from cryolatent.analysis.bootstrap import bootstrap
from cryolatent.analysis.clusters import clusters_of
from cryolatent.analysis.consensus import (
    adjusted_mutual_information,
    agreeing,
    label_entropy,
    matched_labels,
    shared_particles,
)
from cryolatent.audits.base import Audit
from cryolatent.audits.halves import (
    LEAST_SHARE,
    NEIGHBOURS,
    PERMUTATIONS,
    neighbours,
    unexplained_by,
)
from cryolatent.errors import InputError
from cryolatent.runs.finding import Estimate, Finding, Table, Verdict, verdict_above
from cryolatent.runs.run import Run
from cryolatent.sessions.subject import Need, Subject

LEAST_SHARED = 5 * NEIGHBOURS
"""Fewest particles whose neighbourhoods say anything."""

MOST = 5000
"""Particles whose neighbours are looked for where there are more; groups are compared of all."""

SILENT = "The run announces no heterogeneity: there is nothing that others could find again."
ALONE = "None of the other runs announces heterogeneity."


@dataclass(frozen=True)
class Member:
    """What one run says of its particles.

    Args:
        name: Name of the run.
        ids: Names of the particles.
        z: Latents; no dimensions if it says that particles do not differ.
        labels: The group of each particle.
    """

    name: str
    ids: Shaped[np.ndarray, " n"]
    z: Float[np.ndarray, "n zdim"]
    labels: Int[np.ndarray, " n"]

    @classmethod
    def of(cls, run: Run, groups: int | None = None, seed: int = 0) -> "Member":
        """Read a finished run.

        Args:
            run: The run.
            groups: Number of clusters if it has no states of its own.
            seed: Fixes the clusters.

        Returns:
            Its latents, with states or clusters.
        """
        latents = run.latents()
        posterior = latents.distribution
        z = posterior.mean.double().numpy()
        has_states = posterior.is_discrete or run.states() is not None
        found = clusters_of(run, None if has_states else groups, seed)
        if z.shape[1] <= int(posterior.is_discrete) or z.std(axis=0).max() == 0:
            z = z[:, :0]
        return cls(run.name, latents.ids, z, found.labels)

    def select(self, rows: Int[np.ndarray, " m"]) -> "Member":
        """Some of its particles.

        Args:
            rows: Which.

        Returns:
            The same run of these.
        """
        return Member(self.name, self.ids[rows], self.z[rows], self.labels[rows])


def members_of(runs: Sequence[Run], seed: int = 0) -> tuple[Member, ...]:
    """Read runs of the same particles.

    Args:
        runs: At least two; clusters of others are as many as the first has groups.
        seed: Fixes clusters.

    Returns:
        What each says of the particles that all have, in one order. Runs of one name are told
        apart by their folders.

    Raises:
        InputError: If a run is not finished, or they share too few particles.
    """
    for run in runs:
        run.check_finished()
    first = Member.of(runs[0], seed=seed)
    groups = int(first.labels.max()) + 1
    members = [first, *(Member.of(run, groups, seed) for run in runs[1:])]
    for member, run in zip(members[1:], runs[1:], strict=True):
        shared = len(shared_particles([first.ids, member.ids])[0])
        if shared < LEAST_SHARED:
            raise InputError(
                run.path,
                f"{shared} particles in common with {runs[0].path} ({member.ids[0]} ...)",
                f"at least {LEAST_SHARED} of the same names ({first.ids[0]} ...)",
                "Compare runs of one particle file; import others with their particles.",
            )
    rows = shared_particles([member.ids for member in members])
    if len(rows[0]) < LEAST_SHARED:
        found = f"{len(rows[0])} particles that all {len(runs)} runs have"
        raise InputError(runs[0].path, found, f"at least {LEAST_SHARED}", "Compare fewer runs.")
    names = [run.name for run in runs]
    return tuple(
        Member(
            run.name if names.count(run.name) == 1 else str(run.path),
            *(value[own] for value in (member.ids, member.z, member.labels)),
        )
        for run, member, own in zip(runs, members, rows, strict=True)
    )


@dataclass(frozen=True)
class Pair:
    """How far two runs agree.

    Args:
        share: Share of the variance of each one's latents that neighbours in the other's predict.
        null: The same with one run's particles permuted.
    """

    share: Estimate
    null: Estimate

    @property
    def threshold(self) -> float:
        """Where the verdict changes."""
        return max(LEAST_SHARE, self.null.high)

    @property
    def verdict(self) -> Verdict:
        """Pass if they agree, fail if they do not."""
        return verdict_above(self.share, self.threshold)


@dataclass(frozen=True, kw_only=True)
class Stability(Audit):
    """Do runs of other seeds, options or programs find the same differences among particles?

    The statistic is the share of the variance of one run's latents that a particle's neighbours
    in the other's latent space predict, itself left out, the mean of both directions, so neither
    scale, turn nor bend of a space matters; of several other runs the median. Null: the particles
    of one run permuted. Runs that agree, directly or by way of others, stand together.

    Args:
        members: From `members_of`, the audited run first.
        seed: Fixes particles, permutations and resampling.
    """

    needs: ClassVar[tuple[Need, ...]] = ("latents",)

    members: tuple[Member, ...]
    seed: int = 0

    @property
    def name(self) -> str:
        """Name of the audit."""
        return "stability"

    @property
    def question(self) -> str:
        """What is asked, in a sentence."""
        return "Do other runs of the same particles find the same differences among them?"

    @cached_property
    def labels(self) -> Int[np.ndarray, "runs n"]:
        """Every run's groups by the numbers of the audited run's."""
        first = self.members[0].labels
        others = [matched_labels(first, member.labels) for member in self.members[1:]]
        return np.stack([first, *others])

    @cached_property
    def entropy(self) -> Float[np.ndarray, " n"]:
        """How much the runs differ about the group of each particle, from 0 to 1."""
        return label_entropy(self.labels)

    def answer(self, subject: Subject) -> Finding:
        """Compare every pair of runs."""
        particles = len(self.members[0].ids)
        if not self.members[0].z.shape[1]:
            return self.finding("not applicable", particles=particles, note=SILENT)
        speaking = [n for n, member in enumerate(self.members) if member.z.shape[1]]
        silent = [m.name for m in self.members if not m.z.shape[1]]
        quiet = f" No heterogeneity in {', '.join(silent)}." if silent else ""
        sizes = [f"{m.name} {m.z.shape[1]}" for m in self.members]
        if len({m.z.shape[1] for m in self.members}) > 1:
            quiet += f" Dimensions: {', '.join(sizes)}."
        if len(speaking) == 1:
            return self.finding("inconclusive", particles=particles, note=ALONE)
        rng = np.random.default_rng(self.seed)
        few = np.sort(rng.permutation(particles)[:MOST])
        chosen = [self.members[n].select(few) for n in speaking]
        pairs = {
            (i, j): compared(chosen[i].z, chosen[j].z, self.seed)
            for i, j in combinations(range(len(chosen)), 2)
        }
        own = sorted((pairs[0, j] for j in range(1, len(chosen))), key=lambda p: p.share.value)
        middle = own[len(own) // 2]
        verdict, note = judged([member.name for member in chosen], pairs)
        mean = float(self.entropy.mean())
        return self.finding(
            verdict,
            middle.share,
            particles=particles,
            null=middle.null,
            threshold=middle.threshold,
            note=note + quiet,
            numbers={"label_entropy": Estimate.sure(mean)},
            tables={"runs": self._table(speaking, pairs)},
        )

    def _table(self, speaking: list[int], pairs: dict[tuple[int, int], Pair]) -> Table:
        labels = {pair: (speaking[pair[0]], speaking[pair[1]]) for pair in pairs}
        first, second = zip(*labels.values(), strict=True)
        groups = [(self.members[i].labels, self.members[j].labels) for i, j in labels.values()]
        return Table(
            columns={
                "run": tuple(self.members[i].name for i in first),
                "other": tuple(self.members[j].name for j in second),
                "share": tuple(pair.share.value for pair in pairs.values()),
                "low": tuple(pair.share.low for pair in pairs.values()),
                "high": tuple(pair.share.high for pair in pairs.values()),
                "margin": tuple(pair.threshold for pair in pairs.values()),
                "ari": tuple(adjusted_rand_index(a, b) for a, b in groups),
                "ami": tuple(adjusted_mutual_information(a, b) for a, b in groups),
            }
        )


def compared(x: Float[np.ndarray, "n p"], y: Float[np.ndarray, "n q"], seed: int = 0) -> Pair:
    """How well neighbours in either of two spaces predict the place in the other.

    ``1 - Σ |y_i - mean of y over i's neighbours in x|² / Σ |y_i - mean|²``, the mean of both
    directions.

    Args:
        x: Latents.
        y: Latents of the same particles.
        seed: Fixes permutations and resampling.

    Returns:
        1 if places predict each other without error, about 0 if they have nothing in common.
    """
    both = [(neighbours(a, NEIGHBOURS), b) for a, b in ((x, y), (y, x))]
    total = [np.square(b - b.mean(axis=0)).sum(axis=1) for _, b in both]

    def unexplained(order: Int[np.ndarray, " n"]) -> list[Float[np.ndarray, " n"]]:
        moved = [(near, b[order]) for near, b in both]
        return [unexplained_by(near, b) for near, b in moved]

    rng, sums = np.random.default_rng((seed, PERMUTATIONS)), [part.sum() for part in total]
    permuted = [unexplained(rng.permutation(len(x))) for _ in range(PERMUTATIONS)]
    null = 1 - np.array([[e.sum() / t for e, t in zip(p, sums, strict=True)] for p in permuted])
    left, null = unexplained(np.arange(len(x))), null.mean(axis=1)

    def share(rows: Int[np.ndarray, " m"]) -> float:
        parts = zip(left, total, strict=True)
        return 1 - float(np.mean([a[rows].sum() / b[rows].sum() for a, b in parts]))

    return Pair(bootstrap(share, len(x), seed=seed), Estimate.of_null(null))


def judged(names: Sequence[str], pairs: dict[tuple[int, int], Pair]) -> tuple[Verdict, str]:
    """What pairs of runs say of the first.

    Args:
        names: Of the runs.
        pairs: Each pair's agreement, by positions.

    Returns:
        Pass if the run stands with more than half of all, itself counted; fail if it differs from
        all that it does not stand with, and a larger group, or nobody, stands with it. And the same
        in words.
    """
    count = len(names)
    agrees, differs = np.eye(count, dtype=bool), np.zeros((count, count), dtype=bool)
    for (i, j), pair in pairs.items():
        agrees[i, j] = agrees[j, i] = pair.verdict == "pass"
        differs[i, j] = differs[j, i] = pair.verdict == "fail"
    groups = agreeing(agrees)
    own = next(group for group in groups if 0 in group)
    others = [n for n in range(count) if n not in own]
    verdict: Verdict = "inconclusive"
    if 2 * len(own) > count:
        verdict = "pass"
    elif differs[0, others].all() and (len(own) == 1 or len(groups[0]) > len(own)):
        verdict = "fail"
    sentences = [f"Agree: {', '.join(names[n] for n in g)}." for g in groups if len(g) > 1]
    largest = groups[0] if len(groups[0]) > 1 else []
    odd = [names[n] for n in range(count) if largest and differs[n, largest].all()]
    if odd:
        sentences.append(f"Unlike these: {', '.join(odd)}.")
    if not largest:
        sentences.append("No two runs agree.")
        if count == 2:
            sentences.append("At most one of two is right: a third would tell which.")
    return verdict, " ".join(sentences)
