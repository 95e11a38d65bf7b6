"""Is each class a class? Known answers: true states, states cut in two, classes of wrong poses."""

import numpy as np
import pytest
import torch

from cryolatent.audits.classes import Classes, distinctness, indicators
from cryolatent.sessions.claims import claims
from four_states import Four, made
from subjects import Known


@pytest.fixture(scope="module")
def four(tmp_path_factory: pytest.TempPathFactory) -> Four:
    return made(tmp_path_factory.mktemp("classes"), snr=0.6)


def told(four: Four, labels: np.ndarray) -> dict[int, np.ndarray]:
    latents = indicators(labels)
    return distinctness(claims(four.stack, four.halves, latents, 0, latents.shape[1]), labels)


def test_true_states_are_classes_and_a_cut_one_is_not(four: Four) -> None:
    labels = four.truth.state.astype(int)
    found = told(four, labels)
    sizes = np.bincount(labels)
    assert list(found) == [3, 0, 2]
    assert [len(found[k]) for k in found] == [sizes[k] for k in found]
    assert min(gain.mean() for gain in found.values()) > 2
    audit = Classes(distinctness=found, nothing=lambda number: 1.0)
    assert audit.ask(Known(four.z)).verdict == "pass"
    cut = np.where((labels == 2) & (np.arange(len(labels)) % 3 == 0), 4, labels)
    refuted = Classes(distinctness=told(four, cut), nothing=lambda number: 1.0).ask(Known(four.z))
    assert refuted.verdict == "fail"
    verdicts = dict(
        zip(*(refuted.tables["classes"].columns[c] for c in ("class", "verdict")), strict=True)
    )
    assert verdicts == {"3": "pass", "0": "pass", "2": "pass", "4": "fail"}


def test_a_gain_is_that_over_both_classes_together(four: Four) -> None:
    """By hand, against the two classes that are larger."""
    labels = four.truth.state.astype(int)
    latents = indicators(labels)
    pair = claims(four.stack, four.halves, latents, 0, 4)
    sizes = np.bincount(labels)
    by_hand = []
    for other in (1, 3):
        slopes, halves = [], []
        for claim in pair:
            own = labels[claim.rows]
            place = {k: claim.z[own == k][0] for k in (0, other)}
            both = (sizes[0] * place[0] + sizes[other] * place[other]) / (sizes[0] + sizes[other])
            base, step = both.expand(len(own), -1), claim.z - both
            asked = torch.from_numpy((own == 0) | (own == other))
            explained, power = (energy[asked].sum() for energy in claim.energies(step, base))
            slopes.append(float(explained / power))
            halves.append((claim, base, step, own == 0))
        gain = [
            (claim.evidence(base + slope * step) - claim.evidence(base))[torch.from_numpy(mine)]
            for (claim, base, step, mine), slope in zip(halves, reversed(slopes), strict=True)
        ]
        by_hand.append(torch.cat(gain).numpy())
    expected = min(by_hand, key=lambda gain: gain.mean())
    assert np.allclose(distinctness(pair, labels)[0], expected, atol=1e-3)


def test_classes_of_nothing_decide() -> None:
    rng = np.random.default_rng(0)
    gains = {0: rng.normal(0.5, 1, 400), 1: rng.normal(0.6, 1, 400)}

    def verdict(made_of_nothing: float) -> str:
        audit = Classes(distinctness=gains, nothing=lambda number: made_of_nothing * (number == 3))
        return audit.ask(Known(np.zeros((800, 1)))).verdict

    assert [verdict(nothing) for nothing in (0.0, 0.45, 0.9)] == ["pass", "inconclusive", "fail"]
    single = Classes(distinctness=None, nothing=lambda number: 0.0)
    assert single.ask(Known(np.zeros((8, 0)))).verdict == "not applicable"
