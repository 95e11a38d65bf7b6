"""Questions asked of finished runs, each answered with a number, its null and a verdict."""

from cryolatent.audits.base import Audit
from cryolatent.audits.displacement import Displacement, displacement, own_neighbour
from cryolatent.audits.moves import RotationTest, ShiftTest

__all__ = [
    "Audit",
    "Displacement",
    "RotationTest",
    "ShiftTest",
    "displacement",
    "own_neighbour",
]
