"""What a finished run shows: maps, clusters, volumes, agreement, truth."""

from cryolatent.analysis.agreement import Agreement, compare, knn_overlap, linear_cka
from cryolatent.analysis.analyze import analyze
from cryolatent.analysis.motion import explained_variance, predicted_coordinate, rank_correlation
from cryolatent.analysis.oracle import Oracle, oracle
from cryolatent.analysis.summary import Estimate, Summary, read_summary
from cryolatent.analysis.truth import fsc_area, per_image_fsc, rand_index

__all__ = [
    "Agreement",
    "Estimate",
    "Oracle",
    "Summary",
    "analyze",
    "compare",
    "explained_variance",
    "fsc_area",
    "knn_overlap",
    "linear_cka",
    "oracle",
    "per_image_fsc",
    "predicted_coordinate",
    "rand_index",
    "rank_correlation",
    "read_summary",
]
