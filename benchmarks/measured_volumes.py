r"""How near volumes of a moving molecule come to the truth: measured, decoded, and both.

    cryolatent simulate -o DATA --particles 3000 --box 48 --pixel-size 6 --snr 0.1 \
        --motion 60 --only mature
    cryolatent train DATA/particles.star -o RUN --trust all
    python -m benchmarks.measured_volumes RUN DATA/truth

Of some particles the volume at their latent is made in every way, and correlated with that
particle's true volume: the mean area under the Fourier shell correlation, shells in use alone.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from cryolatent.analysis import fsc_area, mean_estimate, reconstruct
from cryolatent.analysis.against_truth import Matched
from cryolatent.analysis.clusters import clusters_of
from cryolatent.analysis.kernel_regression import (
    Regression,
    choose_windows,
    explained_by_decoder,
    explained_by_volume,
    regressed,
)
from cryolatent.analysis.local_volumes import kernel_weights
from cryolatent.analysis.state_maps import own_members
from cryolatent.physics import fourier_shell_correlation
from cryolatent.physics.volumes import weigh_shells
from cryolatent.runs.run import Run
from cryolatent.sessions.systems import restore
from cryolatent.simulate.truth import Truth

FIXED = (100, 300, 1000)
ANCHORS = 8

Way = Callable[[Tensor], Tensor]


def ways(run: Run) -> dict[str, Way]:
    """Every way to make a volume at a latent."""
    latents = run.latents()
    z, decoder = latents.distribution.mean, restore(run).model.decoder
    members = own_members(run, clusters_of(run, None, 0))
    stack, mask = members.stack, members.mask
    mapped = reconstruct(stack, mask=mask)
    consensus = mapped.volume if mask is None else mapped.volume * mask
    halves = stack.split(members.seed)

    def fixed(count: int) -> Way:
        def volume(place: Tensor) -> Tensor:
            weights, _ = kernel_weights(z, place, count)
            made = reconstruct(stack, weights=weights, mask=mask).volume
            return made if mask is None else made * mask

        return volume

    def decoded(place: Tensor) -> Tensor:
        with torch.no_grad():
            return decoder.volume(place[None])[0]

    anchors = z[torch.randperm(len(z), generator=torch.Generator().manual_seed(1))[:ANCHORS]]

    def per_shell(name: str, base: Way, explained) -> Way:
        regression = Regression(stack, z, latents.is_particle, halves, explained, mask)
        windows = choose_windows(regression, anchors)
        print(f"{name}: particles by shell {windows.particles}")
        return lambda place: base(place) + regressed(regression, windows, place)

    return {
        "consensus": lambda place: consensus,
        **{f"fixed window, {count} effective": fixed(count) for count in FIXED},
        "a window per shell": per_shell("images", lambda place: 0 * consensus, None),
        "consensus and a window per shell": per_shell(
            "less the consensus", lambda place: consensus, explained_by_volume(stack, consensus)
        ),
        "decoded": decoded,
        "decoded and a window per shell": per_shell(
            "less the decoded", decoded, explained_by_decoder(decoder, z)
        ),
    }


def measure(run: Run, truth: Path, particles: int) -> None:
    """Print the mean area of every way with its interval."""
    latents = run.latents()
    loaded = Truth.load(truth)
    matched = Matched(loaded, loaded.match(latents.ids, run.path))
    chosen = torch.randperm(len(latents.ids), generator=torch.Generator().manual_seed(0))[
        :particles
    ]
    used = (torch.arange(run.manifest.box // 2) <= run.manifest.shells).float()
    true = [loaded.volume(int(matched.rows[row])) for row in chosen.tolist()]
    print(f"ceiling {float(fsc_area(used)):.3f}, {particles} particles")
    for name, way in ways(run).items():
        curves = []
        for row, volume in zip(chosen.tolist(), true, strict=True):
            made = weigh_shells(way(latents.distribution.mean[row]), used)
            curves.append(fourier_shell_correlation(made, volume))
        area = mean_estimate(fsc_area(torch.stack(curves)).numpy())
        print(f"| {name} | {area.value:.4f} [{area.low:.4f}, {area.high:.4f}] |", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("truth", type=Path)
    parser.add_argument("--particles", type=int, default=30)
    asked = parser.parse_args()
    measure(Run.open(asked.run), asked.truth, asked.particles)
