"""The options of a training: a union over the kinds of its parts, which own their options."""

import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import tomli_w
from pydantic import ValidationError, model_validator

from cryolatent.config.owners import (
    PLAIN,
    SessionConfig,
    belonging,
    choose_kinds,
    from_first,
    known_part,
    listed,
    option,
    stray,
    wrong_value,
)
from cryolatent.config.reading import DataConfig, Section
from cryolatent.errors import InputError
from cryolatent.models.decoders.options import DecoderOptions
from cryolatent.models.options import LikelihoodOptions, ObjectiveOptions
from cryolatent.models.posteriors.options import PosteriorOptions
from cryolatent.models.registry import POSTERIORS, REGISTRIES, Options, Registry, Shared
from cryolatent.train.options import MethodOptions

SCHEMA = 2


class TrainConfig(Section):
    """All options of a training, by the part that owns them."""

    data: DataConfig
    posterior: PosteriorOptions
    decoder: DecoderOptions
    likelihood: LikelihoodOptions
    objective: ObjectiveOptions | None
    method: MethodOptions
    session: SessionConfig

    @staticmethod
    def of(values: Mapping[str, Any] | None = None, /, **more: Any) -> "TrainConfig":
        """Choose parts and set their options, all by name, as flags do.

        ``TrainConfig.of(posterior="table", z_dim=3, epochs=7)`` leaves everything else at its
        default; parts that are not named follow from the posterior.

        Args:
            values: Options by name; ``posterior``, ``decoder``, ``likelihood``, ``objective`` and
                ``method`` name the parts.
            more: The same as keywords.

        Returns:
            The configuration.

        Raises:
            InputError: If a part is not known, an option is of no chosen part or has a wrong value,
                or the parts do not fit each other.
        """
        values = dict(values or {}) | more
        kinds = choose_kinds(values)
        classes = PLAIN | {noun: REGISTRIES[noun].options(kind) for noun, kind in kinds.items()}
        given: dict[str, dict[str, Any]] = {section: {} for section in classes}
        for name, value in values.items():
            if name in REGISTRIES:
                continue
            section = next((s for s, c in classes.items() if name in c.model_fields), None)
            if section is None:
                raise stray(name, kinds)
            given[section][name] = value
        parts: dict[str, Any] = {"objective": None}
        for section, options in classes.items():
            try:
                parts[section] = options.model_validate(given[section])
            except ValidationError as error:
                raise wrong_value(error) from None
        return TrainConfig(**parts)

    @model_validator(mode="after")
    def _consistent(self) -> "TrainConfig":
        spread = getattr(self.likelihood, "contrast_spread", 0.0)
        if spread and self.objective is not None and not self.objective.averages_contrast:
            raise InputError(
                "`objective`",
                f"{self.objective.kind} with a contrast spread of {spread:g}",
                "elbo, which averages over the particles' contrast",
                "Leave one of them out.",
            )
        search = getattr(self.method, "pose_search", None)
        if search == "global" and self.data.symmetry != "C1":
            raise InputError(
                "`pose_search`",
                f"{search} with symmetry {self.data.symmetry}",
                "C1, for every copy of a particle would be found in the same place",
                "Leave one of them out.",
            )
        wanted, posterior = self.posterior.closed_form_given, self.posterior.kind
        if self.method.solves_volumes and wanted is None:
            raise InputError(
                "`method`",
                f"{self.method.kind} with posterior {posterior}",
                f"a posterior in closed form: {listed(_closed_forms())}",
                "Leave it out, or choose another `posterior`.",
            )
        if wanted is None:
            return self
        decoder = self.decoder
        needed = wanted.get(decoder.kind)
        if needed is None:
            raise InputError(
                "`decoder`",
                f"{decoder.kind} with posterior {posterior}",
                f"{listed(wanted)}, under which that posterior is known in closed form",
                "Leave it out, or choose another `posterior`.",
            )
        if self.method.solves_volumes:
            needed = needed | {"interpolation": "nearest"}
        for name, value in needed.items():
            found = getattr(decoder, name)
            if found not in (None, value):
                raise InputError(
                    option(name),
                    f"{found} with posterior {posterior}",
                    f"{value}, under which that posterior is known in closed form",
                    "Leave it out, or choose another `posterior`.",
                )
        return self

    @property
    def twin(self) -> str | None:
        """What the posterior is shown in place of its particles, if it is a control."""
        shown = self.posterior.shown
        return None if shown is None else shown.twin

    @property
    def parent(self) -> Path | None:
        """The run whose latents a table starts from, if there is one."""
        rows = self.posterior.row_options
        return None if rows is None else rows.pretrained

    def placed(self, where: Callable[[Path], Path], *sections: str) -> "TrainConfig":
        """The same options with files elsewhere.

        Args:
            where: The new path of each.
            sections: The sections whose files are meant.

        Returns:
            A configuration in which every path of these is another.
        """
        parts = {name: part for name, part in self.parts.items() if name in sections}
        for name, part in parts.items():
            values = {option: getattr(part, option) for option in type(part).model_fields}
            files = {option: where(v) for option, v in values.items() if isinstance(v, Path)}
            parts[name] = part.model_copy(update=files)
        return self.model_copy(update=parts)

    @property
    def parts(self) -> dict[str, Section | Options]:
        """The sections that there are, by name."""
        found = {name: getattr(self, name) for name in type(self).model_fields}
        return {name: part for name, part in found.items() if part is not None}

    @property
    def kinds(self) -> dict[str, str]:
        """The kind of each chosen part."""
        return {noun: p.kind for noun, p in self.parts.items() if isinstance(p, Options)}

    def flat(self) -> dict[str, Any]:
        """All options by name, those without a value left out.

        Returns:
            What `of` makes the same configuration of.
        """
        values: dict[str, Any] = dict(self.kinds)
        for part in self.parts.values():
            values |= part.model_dump(exclude_none=True)
        return values

    def resolved(self) -> "TrainConfig":
        """Replace defaults that depend on other options by their values.

        Returns:
            A configuration that says everything.
        """
        shared = Shared(
            z_dim=self.posterior.z_dim,
            epochs=getattr(self.method, "epochs", 0),
            solves_volumes=self.method.solves_volumes,
        )
        chosen = {n: p.resolved(shared) for n, p in self.parts.items() if isinstance(p, Options)}
        return self.model_copy(update=chosen)

    def changed(self, values: Mapping[str, Any] | None = None, /, **more: Any) -> "TrainConfig":
        """Begin anew from this configuration with some options changed.

        Parts that only followed from the posterior follow from the new one; options of parts that
        are gone go with them.

        Args:
            values: Options by name.
            more: The same as keywords.

        Returns:
            The new configuration.

        Raises:
            InputError: As `of`.
        """
        values = dict(values or {}) | more
        mine = self._given(values)
        if values.get("posterior", mine["posterior"]) != mine["posterior"]:
            usual = choose_kinds({"posterior": mine["posterior"]})
            mine = {k: v for k, v in mine.items() if k not in usual or usual[k] != v}
        if "pretrained" in values and "table_start" not in values:
            mine.pop("table_start", None)
        kept = belonging(mine | values)
        return TrainConfig.of({k: v for k, v in mine.items() if k in kept} | values)

    def _given(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """`flat` without the defaults of parts that are replaced."""
        mine = self.flat()
        kinds = choose_kinds({"posterior": mine["posterior"], **values})
        for noun, part in self.parts.items():
            if noun in REGISTRIES and kinds.get(noun) != mine[noun]:
                for name, info in type(part).model_fields.items():
                    if mine.get(name) == info.default:
                        mine.pop(name, None)
        return mine

    def to_toml(self) -> str:
        """Write the configuration as TOML; options without a value are left out.

        Returns:
            The text of a config file.
        """
        kinds = self.kinds
        sections = {
            name: ({"kind": kinds[name]} if name in kinds else {})
            | part.model_dump(mode="json", exclude_none=True)
            for name, part in self.parts.items()
        }
        return tomli_w.dumps({"schema": SCHEMA} | sections)

    @staticmethod
    def from_toml(path: Path) -> "TrainConfig":
        """Read a config file.

        Args:
            path: A TOML file, for instance a run's ``config.toml``; one of the first version's
                is converted.

        Returns:
            The configuration.

        Raises:
            InputError: If the file is missing, is no TOML, or has an unknown or wrong option.
        """
        try:
            content: dict[str, Any] = tomllib.loads(path.read_text())
        except (OSError, ValueError) as error:
            raise InputError(
                path, f"no TOML ({error})", "a config file", "Check `config`."
            ) from None
        schema = content.pop("schema", 1)
        if schema not in (1, SCHEMA):
            raise InputError(
                path,
                f"schema {schema}",
                f"schema {SCHEMA} or older",
                "Use the version of cryolatent that wrote the file.",
            )
        try:
            values = from_first(content) if schema == 1 else _flattened(content)
            return TrainConfig.of(values)
        except InputError as error:
            found = f"{error.file} = {error.found}"
            raise InputError(path, found, error.expected, error.way_out) from None


def _flattened(content: Mapping[str, Any]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for section, options in content.items():
        if section not in TrainConfig.model_fields or not isinstance(options, dict):
            raise InputError(section, "an unknown section", listed(TrainConfig.model_fields), "")
        if section in REGISTRIES and "kind" in options:
            known_part(section, options["kind"])
        for name, value in options.items():
            if name == "kind":
                values[section] = value
                continue
            homes = PLAIN.get(section) or REGISTRIES[section]
            here = (
                {n for k in homes.kinds for n in homes.options(k).model_fields}
                if isinstance(homes, Registry)
                else set(homes.model_fields)
            )
            if name not in here:
                raise InputError(f"{section}.{name}", str(value), f"an option of {section}", "")
            values[name] = value
    return values


def _closed_forms() -> list[str]:
    options = {kind: POSTERIORS.options(kind) for kind in POSTERIORS.kinds}
    return [k for k, o in options.items() if getattr(o, "closed_form_given", None) is not None]
