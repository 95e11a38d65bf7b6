"""Jobs side by side."""

import math
import os
import time

import pytest

from cryolatent.data import open_star
from cryolatent.errors import CryolatentError, InputError
from cryolatent.studies.workers import Job, work_side_by_side


def test_results_come_by_name_and_in_the_order_of_needs() -> None:
    told: list[str] = []
    jobs = [
        Job("child", math.sqrt, (4.0,), needs=("parent",)),
        Job("parent", math.sqrt, (9.0,), needs=("elsewhere",)),
        Job("other", math.sqrt, (16.0,)),
    ]
    results = work_side_by_side(jobs, 2, lambda name, result: told.append(name))
    assert results == {"child": 2.0, "parent": 3.0, "other": 4.0}
    assert told.index("parent") < told.index("child")


def test_no_jobs_are_no_results() -> None:
    assert work_side_by_side([], 2) == {}


def test_jobs_that_need_each_other_are_refused() -> None:
    jobs = [Job(a, math.sqrt, (1.0,), needs=(b,)) for a, b in (("x", "y"), ("y", "x"))]
    with pytest.raises(ValueError, match="need each other"):
        work_side_by_side(jobs, 1)


def test_error_names_its_job_and_keeps_its_exit_code() -> None:
    with pytest.raises(CryolatentError, match=r"missing: .*nowhere\.star") as caught:
        work_side_by_side([Job("missing", open_star, ("/nowhere.star",))], 1)
    assert caught.value.exit_code == InputError.exit_code


def test_killed_process_is_an_error_and_stops_the_others() -> None:
    # the long job is the first process's; the second's death is the one that goes unnoticed
    jobs = [Job("long", time.sleep, (60.0,)), Job("killed", os._exit, (9,))]
    start = time.monotonic()
    with pytest.raises(CryolatentError, match="was killed"):
        work_side_by_side(jobs, 2)
    assert time.monotonic() - start < 50
