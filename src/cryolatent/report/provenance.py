"""How the runs were made: options, differences, command lines."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from cryolatent.config.owners import flag
from cryolatent.config.training import TrainConfig
from cryolatent.report.findings import Findings
from cryolatent.report.formats import option_value

Options = dict[tuple[str, str], Any]


@dataclass(frozen=True)
class Option:
    """An option of the training in all runs of the page.

    Args:
        section: Part of the configuration.
        name: Name in the config file.
        flag: Name on the command line.
        values: Its value in each run.
        differs: Whether runs that have it have different values.
    """

    section: str
    name: str
    flag: str
    values: tuple[str, ...]
    differs: bool


def options(findings: Sequence[Findings]) -> list[Option]:
    """Compare the configurations of runs.

    Args:
        findings: All runs of the page.

    Returns:
        Every option of any run, in the order of the config file; a dash where a run's parts do not
        have it.
    """
    configurations = [flat(f.run.options) for f in findings]
    keys = list(dict.fromkeys(key for c in configurations for key in c))
    order = {section: place for place, section in enumerate(TrainConfig.model_fields)}
    return [
        Option(
            section,
            name,
            flag(name),
            tuple(option_value(shown(c.get((section, name)))) for c in configurations),
            len({str(c[section, name]) for c in configurations if (section, name) in c}) > 1,
        )
        for section, name in sorted(keys, key=lambda key: order[key[0]])
    ]


def flat(config: TrainConfig) -> Options:
    """List a configuration's options.

    Args:
        config: A configuration.

    Returns:
        Values by section and name; the kind of a part under its own name.
    """
    kinds = config.kinds
    return {
        (section, name): value
        for section, part in config.parts.items()
        for name, value in (
            ({section: kinds[section]} if section in kinds else {}) | part.model_dump()
        ).items()
    }


def shown(value: Any) -> Any:
    """Hide where this machine keeps its files.

    Args:
        value: Value of an option.

    Returns:
        The last part of a path; anything else as it is.
    """
    return value.name if isinstance(value, PurePath) else value


def chosen(config: TrainConfig) -> Options:
    """The options that make a configuration what it is.

    Args:
        config: What was asked.

    Returns:
        Those that are not what follows from the others.
    """
    usual = flat(TrainConfig.of(posterior=config.posterior.kind))
    wanted = flat(config)
    return {
        key: value
        for key, value in wanted.items()
        if value is not None and (key[1] == "posterior" or usual.get(key) != value)
    }


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
        if f.run.manifest.origin:
            lines.append(f"# {name}: imported from {f.run.manifest.origin}")
            continue
        words = ["cryolatent train", _quoted(f.run.manifest.input.name), "-o", name]
        # All threads are another number on another machine, and another result.
        picked = chosen(f.run.config) | {("session", "threads"): f.run.manifest.threads}
        for (_, name_), value in picked.items():
            words += _argument(name_, shown(value))
        lines.append(" ".join(words))
    for f, name in zip(findings, names, strict=True):
        words = ["cryolatent analyze", name]
        if f.summary.clusters_asked is not None:
            words += ["--clusters", str(f.summary.clusters_asked)]
        words += ["--seed", str(f.summary.seed)]
        lines.append(" ".join(words + (["--truth TRUTH"] if f.summary.truth else [])))
    return [*lines, " ".join(["cryolatent report", *names, "-o", _quoted(page)])]


def _argument(name: str, value: Any) -> list[str]:
    if isinstance(value, bool):
        return [flag(name) if value else flag("no_" + name)]
    if isinstance(value, (tuple, list)):
        return [word for one in value for word in (flag(name), _quoted(str(one)))]
    # all digits, so that the run is repeated to the last bit
    return [flag(name), _quoted(str(value))]


def _quoted(word: str) -> str:
    # A name that begins with a dash would be read as a flag.
    return shlex.quote(f"./{word}" if word.startswith("-") else word)
