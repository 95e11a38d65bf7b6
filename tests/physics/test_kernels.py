"""Compiled loops where there is no place to keep them."""

import numba
import pytest

from cryolatent.physics.kernels import kernel


def test_a_function_that_cannot_be_kept_on_disk_is_compiled_all_the_same():
    """Code without a file has no place for a cache, as an installation that no one may write to."""
    scope = {}
    exec("def add(x):\n    return x + 1", scope)
    with pytest.raises(RuntimeError, match="no locator available"):
        numba.njit(cache=True)(scope["add"])
    assert kernel(scope["add"])(2) == 3
