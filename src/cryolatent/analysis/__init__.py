"""What a finished run shows: maps, clusters, volumes, agreement, truth."""

from cryolatent.analysis.agreement import (
    Agreement,
    adjusted_rand_index,
    compare,
    knn_overlap,
    linear_cka,
    null_agreement,
    procrustes,
)
from cryolatent.analysis.analyze import analyze
from cryolatent.analysis.bootstrap import mean_estimate
from cryolatent.analysis.export import Exported, export, export_split
from cryolatent.analysis.local_volumes import LocalVolumes, local_volumes
from cryolatent.analysis.motion import explained_variance, predicted_coordinate, rank_correlation
from cryolatent.analysis.oracle import Oracle, oracle
from cryolatent.analysis.reconstruction import (
    Reconstruction,
    ReconstructionSummary,
    reconstruct,
    write_reconstruction,
)
from cryolatent.analysis.summary import Cluster, Estimate, Summary, read_summary
from cryolatent.analysis.truth import fsc_area, per_image_fsc, rand_index

__all__ = [
    "Agreement",
    "Cluster",
    "Estimate",
    "Exported",
    "LocalVolumes",
    "Oracle",
    "Reconstruction",
    "ReconstructionSummary",
    "Summary",
    "adjusted_rand_index",
    "analyze",
    "compare",
    "explained_variance",
    "export",
    "export_split",
    "fsc_area",
    "knn_overlap",
    "linear_cka",
    "local_volumes",
    "mean_estimate",
    "null_agreement",
    "oracle",
    "per_image_fsc",
    "predicted_coordinate",
    "procrustes",
    "rand_index",
    "rank_correlation",
    "read_summary",
    "reconstruct",
    "write_reconstruction",
]
