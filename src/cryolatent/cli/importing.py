"""The commands that import finished runs of other programs."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from cryolatent.config.reading import ReadingConfig, TablesConfig

if TYPE_CHECKING:
    from cryolatent.runs.run import Run

importing = App(
    name="import",
    help="Make a run of what another program found: analyze, report, export and audits then work "
    "on it.",
)
READING_DEFAULTS, TABLES_DEFAULTS = ReadingConfig(), TablesConfig()
Output = Annotated[Path, Parameter(name=["--output", "-o"])]


@importing.command
def latents(
    table: Path,
    *,
    output: Output,
    particles: Path | None = None,
    columns: Annotated[tuple[str, ...], Parameter(consume_multiple=True)] = (),
    mean: Path | None = None,
    components: Annotated[tuple[Path, ...], Parameter(consume_multiple=True)] = (),
    reading: Annotated[ReadingConfig, Parameter(name="*")] = READING_DEFAULTS,
) -> None:
    """Import latents from any table with one row per particle.

    analyze makes maps and clusters, volumes reconstructs around them from the particles, export
    writes chosen particles. With the volumes of a linear method, analyze draws volumes too.

    ```
    cryolatent import latents z.pkl --particles particles.star -o run/
    cryolatent import latents pcs.npy -o run/ --mean mean.mrc --components pc1.mrc pc2.mrc
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
    mean
        Volume (.mrc) at latent zero, of a method whose volumes are linear in the latent.
    components
        Volumes that the latents weigh, one per dimension in the order of the columns.
    """
    from cryolatent.importers.latents import import_latents

    run = import_latents(
        table,
        output,
        particles,
        columns,
        reading.reading(),
        mean=mean,
        components=components,
    )
    _said(run)


@importing.command
def cryodrgn(
    workdir: Path,
    *,
    output: Output,
    particles: Path | None = None,
    epoch: int | None = None,
    without_particles: Annotated[bool, Parameter(negative="")] = False,
    datadir: Path | None = None,
    tables: Annotated[TablesConfig, Parameter(name="*")] = TABLES_DEFAULTS,
) -> None:
    """Import a run of cryoDRGN: its latents, and decoder and encoder where they can be read.

    Files that are no longer where cryoDRGN read them are asked for by option.

    ```
    cryolatent import cryodrgn 01_vae128 -o run/
    cryolatent import cryodrgn 01_vae128 -o run/ --epoch 24 --particles particles.128.mrcs
    cryolatent import cryodrgn 01_vae128 -o maps/ --without-particles
    ```

    Parameters
    ----------
    workdir
        What cryodrgn train_vae, train_dec or abinit wrote.
    output
        New run directory.
    particles
        The stack that it was trained on, if it is not where it was.
    epoch
        Which of its epochs, as its files are numbered; the last if left out.
    without_particles
        Do without the images: latents and volumes alone.
    datadir
        Folder that image names are relative to, if not the particle file's own.
    """
    from cryolatent.cli.progress import training_watch
    from cryolatent.importers.cryodrgn import import_cryodrgn

    with training_watch() as watch:
        run = import_cryodrgn(
            workdir,
            output,
            particles,
            epoch=epoch,
            tables=tables.tables(),
            datadir=datadir,
            without_particles=without_particles,
            watch=watch,
        )
    _said(run)


@importing.command
def cryosparc(
    *job: Path,
    output: Output,
    particles: Path | None = None,
    without_particles: Annotated[bool, Parameter(negative="")] = False,
    reading: Annotated[ReadingConfig, Parameter(name="*")] = READING_DEFAULTS,
) -> None:
    """Import a 3D Variability job of cryoSPARC: its particles' latents, map and components.

    Latents are found by the particles' uid. Volumes are the map plus every component times its
    value.

    ```
    cryolatent import cryosparc P3/J42 -o run/
    cryolatent import cryosparc J42_particles.cs J42_*.mrc -o run/ --particles J40_particles.cs
    ```

    Parameters
    ----------
    job
        The job's folder, or its files: JN_particles.cs, JN_map.mrc and every JN_component_K.mrc.
    output
        New run directory.
    particles
        Particle file with images, poses and optics, in place of the job's own particles with their
        passthrough file.
    without_particles
        Do without the images: latents and volumes alone.
    """
    from cryolatent.importers.cryosparc import import_cryosparc

    _said(
        import_cryosparc(
            job, output, particles, reading.reading(), without_particles=without_particles
        )
    )


@importing.command
def recovar(
    results: Path,
    *,
    output: Output,
    particles: Path | None = None,
    zdim: int | None = None,
    without_particles: Annotated[bool, Parameter(negative="")] = False,
    reading: Annotated[ReadingConfig, Parameter(name="*")] = READING_DEFAULTS,
) -> None:
    """Import results of RECOVAR: latent coordinates, mean and principal volumes.

    Particles are those of the file that RECOVAR was given, in its order; where it used some of
    them, --ind says which.

    ```
    cryolatent import recovar results/ -o run/ --particles particles.star --zdim 10
    cryolatent import recovar results/ -o run/ --particles particles.star --ind ind.pkl --zdim 4
    cryolatent import recovar results/ -o maps/ --without-particles --zdim 4
    ```

    Parameters
    ----------
    results
        What recovar pipeline wrote.
    output
        New run directory.
    particles
        The particle file that RECOVAR was given. Its box need not be that of the volumes.
    zdim
        Number of dimensions, where RECOVAR was run with several.
    without_particles
        Do without the images: latents and volumes alone.
    """
    from cryolatent.importers.recovar import import_recovar

    _said(
        import_recovar(
            results,
            output,
            particles,
            reading.reading(),
            zdim=zdim,
            without_particles=without_particles,
        )
    )


def _said(run: "Run") -> None:
    size = f"{run.manifest.particles} particles, {run.z_dim} latent dimensions"
    print(f"{run.path}: {size}, imported from {run.manifest.origin}")
    for remark in run.manifest.remarks:
        print(f"note: {remark}")
    print(f"Next: cryolatent analyze {run.path}")
