"""Movies and ChimeraX scripts of volumes."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cryolatent.io import write_volume
from cryolatent.report.movies import one_level, write_chimerax_states, write_movie
from cryolatent.report.surfaces import equal_levels

FAKE = '#!/bin/sh\nfor last; do :; done\ncat > "$last"\n'


def ball(radius: float, box: int = 24, at: float = 0.0) -> np.ndarray:
    z, y, x = np.indices((box, box, box)) - box // 2
    return np.clip(radius - np.sqrt(z**2 + y**2 + (x - at) ** 2), 0, 2).astype(np.float32)


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    made = []
    for number, at in enumerate((-4.0, 0.0, 4.0)):
        made.append(tmp_path / f"frame_{number}.mrc")
        write_volume(made[-1], ball(6.0, at=at), 3.0)
    return made


def centre_of(image: Image.Image) -> float:
    """Mean column of what is drawn in the left view."""
    grey = np.asarray(image.convert("L"), float)[:, : image.size[0] // 2]
    return float((255 - grey).sum(0) @ np.arange(grey.shape[1]) / (255 - grey).sum())


def test_what_moves_in_the_volumes_moves_in_the_movie(files: list[Path], tmp_path: Path) -> None:
    (made,) = write_movie(files, tmp_path / "movie.gif")
    with Image.open(made) as movie:
        assert movie.n_frames == 4
        centres = []
        for number in range(3):
            movie.seek(number)
            centres.append(centre_of(movie))
    assert centres[1] - centres[0] > 15
    assert centres[2] - centres[1] > 15


def test_a_film_is_made_where_ffmpeg_is(
    files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "bin" / "ffmpeg"
    program.parent.mkdir()
    program.write_text(FAKE)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    made = write_movie(files, tmp_path / "movie.gif")
    assert made[1] == tmp_path / "movie.mp4"
    with Image.open(made[0]) as movie:
        width, height = movie.size
    assert made[1].stat().st_size == 4 * 3 * width * height, "every frame's pixels"
    program.write_text("#!/bin/sh\nexit 1\n")
    assert write_movie(files, tmp_path / "other.gif") == [tmp_path / "other.gif"]


def test_states_open_at_contours_of_equal_enclosed_volume(tmp_path: Path) -> None:
    volumes = {f"state {k}": ball(6.0) * scale for k, scale in enumerate((1.0, 2.5))}
    maps = {name: tmp_path / f"{name.replace(' ', '_')}.mrc" for name in volumes}
    for name, file in maps.items():
        write_volume(file, volumes[name], 3.0)
    script = write_chimerax_states(tmp_path, maps, ["#112233", "#445566"], None).read_text()
    first, second = equal_levels(list(volumes.values()))
    assert second == pytest.approx(2.5 * first)
    assert f"volume #1 style surface step 1 level {first:.6g} color #112233\n" in script
    assert (
        f"open state_1.mrc name state_1\nvolume #2 style surface step 1 level {second:.6g}"
        in script
    )
    assert one_level(list(volumes.values())) == pytest.approx((first + second) / 2)
