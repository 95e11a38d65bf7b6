"""The commands that import finished runs of other programs."""

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from cryolatent.config.reading import ReadingConfig

importing = App(
    name="import",
    help="Make a run of what another program found: analyze, report, export and audits then work "
    "on it.",
)
READING_DEFAULTS = ReadingConfig()
Output = Annotated[Path, Parameter(name=["--output", "-o"])]


@importing.command
def latents(
    table: Path,
    *,
    output: Output,
    particles: Path | None = None,
    columns: Annotated[tuple[str, ...], Parameter(consume_multiple=True)] = (),
    reading: Annotated[ReadingConfig, Parameter(name="*")] = READING_DEFAULTS,
) -> None:
    """Import latents from any table with one row per particle.

    Without a decoder: analyze makes maps and clusters, volumes reconstructs around them from the
    particles, export writes chosen particles.

    ```
    cryolatent import latents z.pkl --particles particles.star -o run/
    cryolatent import latents J42_particles.cs --particles J40_particles.cs -o run/
    cryolatent import latents t.csv --columns pc1 pc2 pc3 --particles particles.star -o run/
    ```

    Parameters
    ----------
    table
        A .csv, .tsv, .parquet, .star, .cs, .npy or .npz, or cryoDRGN's z.pkl. A column uid, id or
        rlnImageName says whose each row is; else rows are in the order of the particles.
    output
        New run directory.
    particles
        Particle file that the latents belong to: anything that train reads. Without it there are
        maps and clusters, and nothing that needs images or goes back into a particle file.
    columns
        Columns that hold the latents; if left out those called z_0, mean_0, latent_0,
        components_mode_0/value ...
    """
    from cryolatent.importers.latents import import_latents

    run = import_latents(table, output, particles, columns, reading.reading())
    size = f"{run.manifest.particles} particles, {run.z_dim} latent dimensions"
    print(f"{run.path}: {size}, imported from {run.manifest.origin}")
    print(f"Next: cryolatent analyze {run.path}")
