"""How large the experiments are: the report's own size, or one that two processors finish."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryolatent.config.owners import belonging
from cryolatent.config.training import TrainConfig
from cryolatent.simulate.config import SimulateConfig
from cryolatent.studies.reproduce.experiments import Experiment

Options = Mapping[str, Any]


@dataclass(frozen=True)
class Scale:
    """A size of all experiments.

    Args:
        name: As on the command line.
        simulation: The built-in double of the report's data.
        common: Options of every training.
        decoders: Options of the trainings of each decoder.
        tables: Options of trainings with a table.
        seeds: For each decoder, seeds of repeated experiments and of the report's others;
            additions have one.
        hold_out: Share of the particles that no training sees.
        held: How many of these are looked at.
        scored: Particles whose volumes are compared with the truth.
        drawn: Particles of which UMAP makes a map, at most.
    """

    name: str
    simulation: SimulateConfig
    common: Options
    decoders: Mapping[str, Options]
    tables: Options
    seeds: Mapping[str, tuple[int, int]]
    hold_out: float = 0.1
    held: int = 150
    scored: int = 64
    drawn: int = 20_000

    def seeds_of(self, experiment: Experiment, decoder: str) -> range:
        """Seeds of an experiment.

        Args:
            experiment: The experiment.
            decoder: The decoder.

        Returns:
            Counted from zero.
        """
        repeated, others = self.seeds[decoder]
        once = 1 if experiment.is_addition else others
        return range(repeated if experiment.repeated else once)

    def config(
        self,
        experiment: Experiment,
        decoder: str,
        seed: int,
        *,
        parent: Path | None = None,
        reading: Mapping[str, Any] | None = None,
    ) -> TrainConfig:
        """The options of a training.

        Args:
            experiment: What is trained.
            decoder: With which decoder.
            seed: Fixes every random choice.
            parent: Run that a table starts from.
            reading: How the particles are read, where it is not as usual.

        Returns:
            Options that are not resolved yet.
        """
        asked = {"posterior": "encoder", "decoder": decoder, **experiment.options}
        if parent is not None:
            asked["pretrained"] = parent
        tables = self.tables if asked["posterior"] == "table" else {}
        usual = {**self.common, **self.decoders[decoder], **tables}
        kept = {name: v for name, v in belonging(usual | asked).items() if name in usual}
        session = {"seed": seed, "threads": 1}
        return TrainConfig.of(kept | asked | dict(reading or {}) | session)


SMALL = Scale(
    name="small",
    simulation=SimulateConfig(
        particles=3300,
        box=32,
        pixel_size=9.0,
        snr=0.4,
        noise_colour=2.0,
        angle_error=1.0,
        shift_error=0.2,
    ),
    common={"shells": 10, "z_dim": 4},
    decoders={
        "mlp": {"decoder_width": 128, "epochs": 22, "batch_size": 8, "beta_warmup": 16},
        "subspace": {"epochs": 30, "batch_size": 32, "learning_rate": 5e-3},
    },
    tables={},
    seeds={"mlp": (3, 1), "subspace": (3, 3)},
)
PAPER = Scale(
    name="paper",
    simulation=SimulateConfig(
        particles=131_899,
        box=128,
        pixel_size=3.275,
        snr=0.1,
        noise_colour=2.0,
        angle_error=1.0,
        shift_error=0.2,
    ),
    common={
        "z_dim": 8,
        "encoder_width": 256,
        "encoder_layers": 3,
        "batch_size": 8,
        "learning_rate": 1e-4,
        "objective": "report",
    },
    decoders={
        "mlp": {"decoder_width": 256, "decoder_layers": 3, "epochs": 50},
        "subspace": {"epochs": 50, "batch_size": 64, "learning_rate": 5e-3, "objective": "elbo"},
    },
    tables={"epochs": 100, "table_learning_rate": 0.01, "table_optimiser": "sparse-adam"},
    seeds={"mlp": (3, 1), "subspace": (3, 3)},
)
SCALES = {scale.name: scale for scale in (SMALL, PAPER)}
