"""What a page says of a search for poses that its run began from."""

from collections.abc import Callable

import numpy as np
import roma
import torch

from cryolatent.io import write_volume
from cryolatent.physics import sphere_grid
from cryolatent.report.findings import gather
from cryolatent.report.found import found_cards
from cryolatent.report.page import render
from cryolatent.runs.found import FILE, VIEW_DIVISIONS, PosesFound, views_of
from cryolatent.runs.run import Run


def found_of(views: tuple[int, ...]) -> PosesFound:
    return PosesFound(
        source="particles.star",
        seed=0,
        particles=60,
        lacks=(),
        certain=0.9,
        starts=(-270.5, -264.25),
        chosen=1,
        angstrom=18.0,
        evidence=-250.0,
        views=views,
    )


def test_starts_evidence_views_and_map_are_shown(make_run: Callable[..., Run]) -> None:
    run = make_run("run")
    folder = run.path.parent
    assert found_cards(gather([run])) == []
    page = render([run], folder / "report.html").read_text()
    assert "How the poses were found" not in page
    views = [0] * 300
    views[7], views[8] = 45, 15
    (folder / FILE).write_text(found_of(tuple(views)).model_dump_json())
    write_volume(folder / "map.mrc", np.random.rand(16, 16, 16).astype(np.float32), 4.0)
    (card,) = found_cards(gather([run]))
    starts, seen = card.charts
    assert "1: -270.50; 2: -264.25" in starts.alt
    assert "Start 2 went on" in starts.alt
    assert "225.0 times as frequent" in seen.alt
    assert "99 % have none" in seen.alt
    page = render([run], folder / "report.html").read_text()
    for words in ("How the poses were found", "the hand cannot be known", "map of the search"):
        assert words in page
    # a search of before views were counted, whose map was taken away
    (folder / FILE).write_text(found_of(()).model_dump_json(exclude={"views"}))
    (folder / "map.mrc").unlink()
    (card,) = found_cards(gather([run]))
    assert len(card.charts) == 1
    assert not card.slices


def test_a_run_beside_another_search_has_no_card(
    make_run: Callable[..., Run],
) -> None:
    run = make_run("folder/run")
    (run.path.parent / FILE).write_text(found_of(()).model_dump_json())
    moved = run.manifest.model_copy(update={"input": run.path.parent.parent / "particles.star"})
    (run.path / "manifest.json").write_text(moved.model_dump_json())
    assert found_cards(gather([type(run).open(run.path)])) == []


def test_views_are_counted_where_they_are() -> None:
    rotations = roma.random_rotmat(4000)
    count = views_of(rotations)
    assert int(count.sum()) == 4000
    assert count.max() < 5 * count.float().mean()
    polar, longitude = torch.deg2rad(sphere_grid(VIEW_DIVISIONS)[42])
    flat = polar.sin()
    view = torch.stack([flat * longitude.cos(), flat * longitude.sin(), polar.cos()]).float()
    one = torch.eye(3).repeat(5, 1, 1)
    one[:, 2] = view
    assert int(views_of(one)[42]) == 5
