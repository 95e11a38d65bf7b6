"""Records of maps place by place, and of the latents' density; part of ``summary.json``."""

from cryolatent.runs.finding import Estimate, Record


class LocalResolution(Record):
    """How far half-maps agree from place to place."""

    file: str
    """Resolution of every voxel in Å, relative to the run directory."""

    quartiles_angstrom: tuple[float, float, float]
    """Of the molecule's voxels, in Å: the best quarter, the middle, the worst."""


class Region(Record):
    """Connected voxels in which two maps differ by more than noise."""

    voxels: int
    """Their number."""

    mass: float
    """Sum of the difference over them, as a share of the density of the map that is subtracted;
    negative where that one has more."""

    centre_angstrom: tuple[float, float, float]
    """Their centre x, y, z in Å, counted from the first voxel, as viewers show it."""


class DifferenceMap(Record):
    """A state's map less another."""

    against: int | None
    """Number of the state that is subtracted; None for the consensus."""

    file: str | None
    """The difference, relative to the run directory; written of the consensus and the nearest."""

    significance: str | None
    """The difference over its noise in standard deviations, relative to the run directory."""

    level: float | None
    """Standard deviations from which a voxel counts; None where none does."""

    voxels: int
    """Voxels that differ by more than noise, one false among a hundred of them."""

    share: float
    """Their share of the voxels looked at."""

    null_voxels: int
    """How many there are where one map's halves are swapped, so that noise alone is left."""

    regions: tuple[Region, ...]
    """The largest connected ones by mass."""

    @property
    def mass(self) -> float:
        """Density that moved, of all: the regions' masses without their signs."""
        return sum((abs(region.mass) for region in self.regions), 0.0)


class Occupancy(Record):
    """How much density a state has behind a mask."""

    mask: str
    """Name of the mask's file."""

    value: Estimate
    """Its density there over that of the state which has the most; the interval is noise's."""


class MapDetails(Record):
    """What the map of a state's own particles shows place by place."""

    local_resolution: LocalResolution
    """How far its half-maps agree."""

    differences: tuple[DifferenceMap, ...] = ()
    """From the consensus and from every other state; none where there is one state alone."""

    occupancies: tuple[Occupancy, ...] = ()
    """Behind each mask that was given."""


class LatentDensity(Record):
    """The density of latents, deconvolved from the particles' likelihoods."""

    file: str
    """Table of places with density and 95 % interval, relative to the run directory; per unit of
    the latent, whose unit is the standard deviation of the prior and no distance of volumes."""

    width: float
    """Standard deviation of its kernels, in standard deviations of the prior."""

    gain: float
    """Log likelihood of particles kept aside over that of a normal density fitted to the same
    others, in nats per particle."""

    modes: int | None
    """Number of maxima along the one dimension; None of more dimensions."""

    modes_share: float | None
    """Share of the resamples of the particles that have as many."""
