"""How the runs were made: options, differences, command lines."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from cryolatent.report.findings import Findings
from cryolatent.report.formats import option_value
from cryolatent.runs.config import TrainConfig

Options = dict[tuple[str, str], Any]


@dataclass(frozen=True)
class Option:
    """An option of the training in all runs of the page.

    Args:
        section: Part of the configuration.
        name: Name in the config file.
        flag: Name on the command line.
        values: Its value in each run.
    """

    section: str
    name: str
    flag: str
    values: tuple[str, ...]

    @property
    def differs(self) -> bool:
        """Whether the runs have different values."""
        return len(set(self.values)) > 1


def options(findings: Sequence[Findings]) -> list[Option]:
    """Compare the configurations of runs.

    Args:
        findings: All runs of the page.

    Returns:
        Every option, in the order of the config file.
    """
    configurations = [flat(f.run.config) for f in findings]
    return [
        Option(
            section,
            name,
            flag(name),
            tuple(option_value(shown(c[section, name])) for c in configurations),
        )
        for section, name in configurations[0]
    ]


def flat(config: TrainConfig) -> Options:
    """List a configuration's options.

    Args:
        config: A configuration.

    Returns:
        Values by section and name.
    """
    return {
        (section, name): value
        for section, values in config.model_dump().items()
        for name, value in values.items()
    }


def shown(value: Any) -> Any:
    """Hide where this machine keeps its files.

    Args:
        value: Value of an option.

    Returns:
        The last part of a path; anything else as it is.
    """
    return value.name if isinstance(value, PurePath) else value


def flag(name: str) -> str:
    """The flag of an option.

    Args:
        name: Name in the config file.

    Returns:
        Such as ``--z-dim``.
    """
    return "--" + name.replace("_", "-")


def chosen(config: TrainConfig) -> Options:
    """The options that make a configuration what it is.

    Args:
        config: A resolved configuration.

    Returns:
        Those that are neither a default nor follow from the others.
    """
    wanted, default = flat(config), flat(TrainConfig())
    plain = {key: v for key, v in wanted.items() if default[key] is not None and v != default[key]}
    resolved = flat(TrainConfig.model_validate(_nested(plain)).resolved())
    return {key: value for key, value in wanted.items() if value != resolved[key]} | plain


def _nested(options: Options) -> dict[str, dict[str, Any]]:
    sections: dict[str, dict[str, Any]] = {}
    for (section, name), value in options.items():
        sections.setdefault(section, {})[name] = value
    return sections


def commands(findings: Sequence[Findings], page: str) -> list[str]:
    """Command lines that make the runs and this page again.

    Args:
        findings: All runs of the page.
        page: Name of the page's file.

    Returns:
        Lines for a shell, with the files' names and no folders of this machine.
    """
    names = [_quoted(f.run.name) for f in findings]
    lines = []
    for f, name in zip(findings, names, strict=True):
        words = ["cryolatent train", _quoted(f.run.manifest.input.name), "-o", name]
        # All threads are another number on another machine, and another result.
        picked = chosen(f.run.config) | {("optimisation", "threads"): f.run.manifest.threads}
        for key in flat(f.run.config):
            if key in picked:
                words += _argument(key[1], shown(picked[key]))
        lines.append(" ".join(words))
    for f, name in zip(findings, names, strict=True):
        words = ["cryolatent analyze", name, "--clusters", str(f.summary.clusters_asked)]
        words += ["--seed", str(f.summary.seed)]
        lines.append(" ".join(words + (["--truth TRUTH"] if f.summary.truth else [])))
    return [*lines, " ".join(["cryolatent report", *names, "-o", _quoted(page)])]


def _argument(name: str, value: Any) -> list[str]:
    if isinstance(value, bool):
        return [flag(name) if value else flag("no_" + name)]
    return [flag(name), _quoted(option_value(value))]


def _quoted(word: str) -> str:
    # A name that begins with a dash would be read as a flag.
    return shlex.quote(f"./{word}" if word.startswith("-") else word)
