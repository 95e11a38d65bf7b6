"""Maps of states compared: what one lacks is found, in numbers, files and words."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from builders import small_stack
from cryolatent.analysis.map_details import MapDetails
from cryolatent.analysis.state_differences import with_details
from cryolatent.analysis.state_maps import Members, write_state_maps
from cryolatent.analysis.summary import Cluster, Summary
from cryolatent.analysis.words import compared
from cryolatent.errors import InputError
from cryolatent.io import read_volume, write_volume
from cryolatent.simulate.truth import Truth

BOX, PIXEL = 32, 9.0
WHOLE, EARLY = 0, 3


@dataclass(frozen=True)
class Made:
    folder: Path
    truth: Truth
    members: Members
    labels: np.ndarray
    lacking: torch.Tensor
    clusters: list[Cluster]

    def details(self, number: int) -> MapDetails:
        measured = self.clusters[number].measured
        assert measured is not None
        assert measured.details is not None
        return measured.details

    def volume(self, name: str | None) -> np.ndarray:
        assert name is not None
        return read_volume(self.folder / name)[0]


def described(members: Members, labels: np.ndarray, folder: Path, **options) -> list[Cluster]:
    maps = folder / "maps"
    maps.mkdir()
    written = write_state_maps(members, labels, maps, "state", relative_to=folder)
    found = [
        Cluster(number=k, size=int((labels == k).sum()), medoid="", measured=made and made[0])
        for k, made in enumerate(written)
    ]
    return with_details(members, found, maps, root=folder, **options)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """State 0 is whole; state 1 lacks what the mask covers; state 2 is whole too."""
    folder = tmp_path_factory.mktemp("differences")
    stack = small_stack(folder / "data", particles=1600, box=BOX, pixel_size=PIXEL, snr=0.3)
    truth = Truth.load(folder / "data" / "truth")
    rows = np.flatnonzero(np.isin(truth.state, (WHOLE, EARLY)))
    labels = (truth.state[rows] == EARLY).astype(int)
    whole = np.flatnonzero(labels == 0)
    labels[whole[::2]] = 2
    members = Members(
        stack.select(torch.from_numpy(rows)),
        torch.nn.functional.one_hot(torch.from_numpy(labels)).float(),
        independent=True,
        mask=None,
        seed=0,
    )
    missing = truth.volumes[WHOLE] - truth.volumes[EARLY]
    lacking = missing > 0.25 * missing.max()
    write_volume(folder / "part.mrc", lacking.float().numpy(), PIXEL)
    clusters = described(members, labels, folder, masks=[folder / "part.mrc"])
    return Made(folder, truth, members, labels, lacking, clusters)


def test_what_a_state_lacks_is_found_where_it_is(made: Made) -> None:
    row = next(d for d in made.details(1).differences if d.against == 0)
    largest = row.regions[0]
    places = torch.nonzero(made.lacking).float().mean(0).flip(0) * PIXEL
    assert largest.mass < -0.1
    assert np.linalg.norm(np.array(largest.centre_angstrom) - places.numpy()) < 2.5 * PIXEL
    assert row.null_voxels < 0.02 * row.voxels


def test_states_of_equal_particles_do_not_differ(made: Made) -> None:
    row = next(d for d in made.details(2).differences if d.against == 0)
    assert row.share < 0.01


def test_the_consensus_and_the_nearest_state_are_written(made: Made) -> None:
    """The significance is the difference over its noise, of the sign of what there is more."""
    consensus, *others = made.details(0).differences
    assert consensus.against is None
    assert [row.against for row in others if row.file] == [2]
    difference, significance = made.volume(consensus.file), made.volume(consensus.significance)
    assert (np.sign(difference) == np.sign(significance)).all()
    assert difference[made.lacking.numpy()].mean() > 0
    assert consensus.level is not None
    assert (np.abs(significance) >= consensus.level).sum() >= consensus.voxels > 0


def test_occupancy_tells_a_state_that_lacks_what_is_behind_the_mask(made: Made) -> None:
    values = [made.details(k).occupancies[0].value for k in range(3)]
    expected = made.truth.volumes[[WHOLE, EARLY]][:, made.lacking].sum(1)
    assert max(value.value for value in values) == 1
    assert values[1].value == pytest.approx(float(expected[1] / expected[0]), abs=0.1)
    assert values[0].high > 1 > values[1].high


def test_local_resolution_is_of_the_molecule(made: Made) -> None:
    best, middle, worst = made.details(0).local_resolution.quartiles_angstrom
    assert 2 * PIXEL <= best <= middle <= worst < 8 * PIXEL


def test_words_say_which_state_lacks_what(made: Made) -> None:
    summary = Summary(
        run="run",
        posterior="categorical",
        particles=len(made.labels),
        z_dim=3,
        pca_explained=(1.0,),
        clusters=tuple(made.clusters),
        are_states=True,
        clusters_asked=None,
        seed=0,
    )
    lines = compared(summary)
    assert lines[1].startswith("state 1 less the consensus: ")
    assert "-" in lines[1].split("half-maps), ")[1].split("%")[0]
    assert lines[3].startswith("part.mrc, density of each state over the largest of them: 0: ")


def test_one_state_has_no_differences(made: Made, tmp_path: Path) -> None:
    members = Members(made.members.stack, torch.ones(len(made.labels), 1), True, None, 0)
    (alone,) = described(members, 0 * made.labels, tmp_path)
    assert alone.measured is not None
    assert alone.measured.details is not None
    assert alone.measured.details.differences == ()


def test_a_mask_of_another_box_is_refused(made: Made, tmp_path: Path) -> None:
    write_volume(tmp_path / "small.mrc", np.ones((16, 16, 16), np.float32), PIXEL)
    with pytest.raises(InputError, match=r"small\.mrc: found a mask of 16 x 16 x 16 voxels"):
        described(made.members, made.labels, tmp_path, masks=[tmp_path / "small.mrc"])
