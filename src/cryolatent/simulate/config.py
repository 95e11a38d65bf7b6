"""The options of a simulation."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from pydantic import BaseModel, ConfigDict, Field, model_validator


class SimulateConfig(BaseModel):
    """What to simulate."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str = "6zu5"
    """Molecule: the built-in 6zu5, a PDB or mmCIF file, or an .npz of blocks."""

    states: Path | None = None
    """JSON file that defines the states of the model, and what turns as it moves."""

    only: Annotated[tuple[str, ...], Parameter(negative="")] = ()
    """Simulate only these states; all if left out."""

    populations: Annotated[tuple[Annotated[float, Field(gt=0)], ...], Parameter(negative="")] = ()
    """Relative frequencies of the states; equal if left out."""

    motion: Annotated[float, Field(ge=0, le=180)] = 0.0
    """Range of the angle, in degrees, by which a part of the molecule turns, another in each
    particle; 0 leaves it at rest. Of 6zu5 the central protuberance turns."""

    metadata: Path | None = None
    """Take poses and CTFs from this .npz of real ones instead of drawing them."""

    particles: Annotated[int, Field(ge=2)] = 2000
    """Number of particles."""

    observations: Annotated[int, Field(ge=1)] = 1
    """Number of images of each particle, each from a direction and with a defocus of its own."""

    box: Annotated[int, Field(ge=8, multiple_of=2)] = 64
    """Side of the images, in pixels."""

    pixel_size: Annotated[float, Field(gt=0)] = 4.5
    """Pixel size, in Å."""

    snr: Annotated[float, Field(gt=0)] = 0.1
    """Variance of the CTF-filtered clean image over the box / noise variance per pixel."""

    noise_colour: Annotated[float, Field(ge=0)] = 0.0
    """Excess of noise power at low over high frequency: 0 is white, 3 is fourfold at DC."""

    micrographs: Annotated[int, Field(ge=0)] = 0
    """Number of micrographs that images come from, named in the STAR file; 0 names none."""

    noise_spread: Annotated[float, Field(ge=0, lt=2)] = 0.0
    """Standard deviation of the logarithm of the noise's power from micrograph to micrograph."""

    gradient: Annotated[float, Field(ge=0)] = 0.0
    """Background that rises across each image, in a direction of its own, by so many standard
    deviations of the noise on average."""

    neighbours: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Share of images into which another particle reaches from the edge."""

    b_factor: Annotated[float, Field(ge=0)] = 0.0
    """Mean of B-factors of envelopes that nothing records, 0 to twice as much, in Å²."""

    defocus_error: Annotated[float, Field(ge=0)] = 0.0
    """Standard deviation of the error of the recorded defocus, in Å."""

    angle_error: Annotated[float, Field(ge=0)] = 0.0
    """Standard deviation of the error of the recorded orientations about each axis, in degrees."""

    spin_error: Annotated[float, Field(ge=0)] | None = None
    """The same about the view, in the image's plane; as `angle_error` if left out."""

    error_growth: Annotated[float, Field(ge=0)] = 0.0
    """How errors of recorded poses grow with defocus: 0 not at all, 1 in proportion to it."""

    error_tails: Annotated[float, Field(ge=0)] = 0.0
    """Degrees of freedom, more than 2, of Student's t that errors of recorded poses follow, at the
    same standard deviation; 0 makes them normal."""

    random_poses: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of particles whose recorded orientation has nothing to do with the true one."""

    shift_spread: Annotated[float, Field(ge=0)] = 1.0
    """Standard deviation of the particles' displacement, in pixels (without metadata)."""

    shift_error: Annotated[float, Field(ge=0)] = 0.0
    """Standard deviation of the error of the recorded displacements, in pixels."""

    contrast_spread: Annotated[float, Field(ge=0, lt=0.5)] = 0.0
    """Standard deviation of the particles' contrast about 1."""

    junk: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of particles that show no molecule but a structureless blob of the same spectrum."""

    defocus_min: Annotated[float, Field(gt=0)] = 10_000.0
    """Smallest underfocus drawn, in Å (without metadata)."""

    defocus_max: Annotated[float, Field(gt=0)] = 25_000.0
    """Largest underfocus drawn, in Å (without metadata)."""

    seed: Annotated[int, Field(ge=0)] = 0
    """Fixes every random choice."""

    @property
    def images(self) -> int:
        """Number of images of all particles."""
        return self.particles * self.observations

    @model_validator(mode="after")
    def _ordered(self) -> "SimulateConfig":
        if self.defocus_min > self.defocus_max:
            raise ValueError(f"a defocus_max of at least {self.defocus_min:g}, the defocus_min")
        if self.noise_spread and not self.micrographs:
            raise ValueError("`micrographs`, between which `noise_spread` is")
        if 0 < self.error_tails <= 2:
            raise ValueError(f"error_tails of 0 or more than 2, not {self.error_tails:g}")
        return self
