"""A posterior from outside the package: train, continue, restore, analyse and report with it.

    python examples/own_posterior.py

Each particle's latent is a linear function of its image's low shells, with one width for all: less
than an encoder, and a dozen lines.
"""

import sys
import tempfile
from pathlib import Path

import torch
from torch import nn

import cryolatent
from cryolatent.simulate.config import SimulateConfig
from cryolatent.simulate.stack import simulate


class LinearOptions(cryolatent.PosteriorOptions):
    """One linear map of the low shells."""

    low_shells: int = 4
    """Last Fourier shell that is read."""


@cryolatent.register("posterior", "linear", LinearOptions)
class Linear(cryolatent.Posterior):
    """A linear map of the evidence's low shells, and one width."""

    reads_images = True
    is_amortised = True

    def __init__(self, disc, z_dim: int, shells: int) -> None:
        super().__init__()
        self.low, self.z_dim = disc.shells <= shells, z_dim
        self.map = nn.Linear(2 * int(self.low.sum()), z_dim)
        self.log_var = nn.Parameter(torch.zeros(z_dim))

    @classmethod
    def build(cls, options: LinearOptions, setting: cryolatent.Setting) -> "Linear":
        """For the images of the setting."""
        return cls(setting.disc, setting.z_dim, options.low_shells)

    def forward(self, batch, model) -> cryolatent.DiagonalNormal:
        """The distribution of each particle's latent, from all of its images."""
        shown = batch.of_evidence()
        images = torch.view_as_real(shown.images[:, self.low]).flatten(1)
        loc = shown.sum_by_particle(self.map(images))
        return cryolatent.DiagonalNormal(loc, self.log_var.expand_as(loc))


def main(folder: Path) -> None:
    """Train with it, and use what comes of that."""
    size = SimulateConfig(particles=200, box=16, pixel_size=18.0, snr=1.0)
    simulate(size, folder / "data")
    star = folder / "data" / "particles.star"
    options = {"posterior": "linear", "low_shells": 5, "decoder": "subspace", "z_dim": 2}
    run = cryolatent.fit(star, folder / "run", **options, epochs=3, threads=1)
    print(run)
    print(run.table()[["z0", "z1", "certainty", "elbo", "rlnDefocusU"]].head())
    again = cryolatent.open_run(folder / "run")
    print(f"a volume of {again.volume([0.5, 0.0]).shape} voxels")
    summary = again.analyze(clusters=3, truth=folder / "data" / "truth")
    print(f"{len(summary.clusters)} clusters; audit: {again.audit('shift-raw').verdict}")
    print(f"exported {len(again.export(folder / 'some.star', 'cluster=0').rows)} particles")
    print(f"page: {again.report()}")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as place:
            main(Path(place))
