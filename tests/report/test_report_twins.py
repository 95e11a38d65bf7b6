"""A control says on its page that it is one."""

from pathlib import Path

import pytest

from builders import small_config, small_stack
from cryolatent.analysis import analyze
from cryolatent.report import render
from cryolatent.runs.run import Run
from cryolatent.sessions.training import begin, train
from cryolatent.train import Watch


@pytest.mark.parametrize(
    ("twin", "says"),
    [
        (None, None),
        ("permuted", "was shown another particle, while"),
        ("noise", "was shown white noise,"),
        ("same-pose", "was shown another particle seen from nearly the same"),
        ("ctf-only", "was shown the transfer function alone"),
    ],
)
def test_page_says_what_the_posterior_was_shown(
    tmp_path: Path, twin: str | None, says: str | None
) -> None:
    stack = small_stack(tmp_path / "data", particles=20)
    config = small_config("encoder", epochs=1, twin=twin)
    run = begin(tmp_path / "run", config, stack, Watch())
    train(run, stack)
    run = Run.open(run.path)
    analyze(run, clusters=2)
    page = render([run], tmp_path / "report.html").read_text()
    assert ("This run is a control" in page) == (twin is not None)
    assert says is None or says in page
