"""What a finished run shows: maps, clusters, volumes, agreement, truth."""

from cryolatent.analysis.agreement import Agreement, compare, knn_overlap, linear_cka
from cryolatent.analysis.analyze import analyze
from cryolatent.analysis.summary import Estimate, Summary, read_summary
from cryolatent.analysis.truth import fsc_area, oracle_states, per_image_fsc, rand_index

__all__ = [
    "Agreement",
    "Estimate",
    "Summary",
    "analyze",
    "compare",
    "fsc_area",
    "knn_overlap",
    "linear_cka",
    "oracle_states",
    "per_image_fsc",
    "rand_index",
    "read_summary",
]
