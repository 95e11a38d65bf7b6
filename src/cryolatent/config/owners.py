"""Which part owns which option, and what is wrong with one that none of those chosen has."""

from collections.abc import Iterable, Mapping
from typing import Annotated, Any

from pydantic import Field, ValidationError

import cryolatent.models.decoders.options
import cryolatent.models.options
import cryolatent.models.posteriors.options
import cryolatent.train.options  # noqa: F401  # each declares its parts
from cryolatent.config.reading import DataConfig, Section
from cryolatent.errors import InputError
from cryolatent.models.posteriors.options import PosteriorOptions
from cryolatent.models.registry import POSTERIORS, REGISTRIES

DEFAULT_POSTERIOR = "exact"


class SessionConfig(Section):
    """Where and how a training runs."""

    seed: Annotated[int, Field(ge=0)] = 0
    """Fixes every random choice."""

    threads: Annotated[int, Field(ge=0)] = 0
    """Processor threads; 0 uses those that are free. Results repeat to the bit at equal threads."""

    device: Annotated[str, Field(pattern=r"^(auto|cpu|cuda|cuda:\d+)$")] = "auto"
    """Where it computes: auto, cpu, cuda or cuda:N; auto is CUDA where there is one."""


PLAIN: dict[str, type[Section]] = {"data": DataConfig, "session": SessionConfig}


def known_part(noun: str, kind: str) -> Any:
    """The options class of a part.

    Args:
        noun: What the part is.
        kind: Its name.

    Returns:
        The class.

    Raises:
        InputError: If there is no such part.
    """
    if kind not in REGISTRIES[noun].kinds:
        own = "If it is one of your own, import its module first."
        raise InputError(option(noun), kind, listed(REGISTRIES[noun].kinds), own)
    return REGISTRIES[noun].options(kind)


def choose_kinds(values: Mapping[str, Any]) -> dict[str, str]:
    """The kinds of all parts: those named, and what follows from them.

    Args:
        values: Options by name.

    Returns:
        A kind by noun; without an objective where the method takes none.

    Raises:
        InputError: If there is no such part, or an objective is named for a method without.
    """
    posterior = values.get("posterior", DEFAULT_POSTERIOR)
    owner = known_part("posterior", posterior)
    decoder = values.get("decoder", owner.default_decoder)
    likelihood = values.get("likelihood", known_part("decoder", decoder).default_likelihood)
    known_part("likelihood", likelihood)
    method = values.get("method", owner.default_method)
    kinds = {"posterior": posterior, "decoder": decoder, "likelihood": likelihood}
    if known_part("method", method).takes_objective:
        kinds["objective"] = values.get("objective", "elbo")
        known_part("objective", kinds["objective"])
    elif "objective" in values:
        raise stray("objective", kinds | {"method": method})
    return kinds | {"method": method}


def belonging(values: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out options that no chosen part has.

    Args:
        values: Options by name, for trainings of several kinds.

    Returns:
        Those that `TrainConfig.of` takes.
    """
    named = {noun: kind for noun, kind in values.items() if noun in REGISTRIES}
    kinds = choose_kinds({k: v for k, v in named.items() if k != "objective"})
    classes = [*PLAIN.values(), *(REGISTRIES[n].options(k) for n, k in kinds.items())]
    known = {name for c in classes for name in c.model_fields} | set(kinds)
    return {name: value for name, value in values.items() if name in known}


def stray(name: str, kinds: Mapping[str, str]) -> InputError:
    """What is wrong with an option that no chosen part has.

    Args:
        name: The option.
        kinds: The chosen parts.

    Returns:
        The error: it names the parts that have the option.
    """
    chosen = ", ".join(f"{noun} {kind}" for noun, kind in kinds.items())
    found = f"an option of {owners(name)}" if owners(name) else "an option of no part"
    if name == "objective":
        found = "an option of method gradient"
    return InputError(
        option(name), found, f"options of {chosen}", "Leave it out, or choose the part that has it."
    )


def owners(name: str) -> str:
    """The parts that have an option.

    Args:
        name: The option.

    Returns:
        Such as ``posteriors table, point-table``; empty if none has it.
    """
    found = []
    for noun, registry in REGISTRIES.items():
        kinds = [k for k in registry.kinds if name in registry.options(k).model_fields]
        if kinds:
            found.append(f"{noun}{'s' * (len(kinds) > 1)} {listed(kinds)}")
    return " and ".join(found)


def wrong_value(error: ValidationError) -> InputError:
    """Say in one line which option has a wrong value.

    Args:
        error: What the options class raised.

    Returns:
        The error.
    """
    first = error.errors()[0]
    if not first["loc"]:
        message = first["msg"].removeprefix("Value error, ")
        return InputError("options", message, "options that fit each other", "See their help.")
    name = str(first["loc"][0])
    return InputError(option(name), str(first["input"]), first["msg"], "See its help.")


def option(name: str) -> str:
    """An option as errors name it; the command line shows it as its flag.

    Args:
        name: Name in the config file.

    Returns:
        Such as ``z_dim`` in backticks.
    """
    return f"`{name}`"


def flag(name: str) -> str:
    """The flag of an option.

    Args:
        name: Name in the config file.

    Returns:
        Such as ``--z-dim``.
    """
    return "--" + name.replace("_", "-")


def from_first(content: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Options of a config file of the first version, which held those of all parts.

    Options of parts that were not in use had no effect, and are left out. The number of latent
    dimensions of an exact run is the chosen one.

    Args:
        content: The file: sections ``data``, ``model``, ``optimisation`` and ``search``.

    Returns:
        Options by name.
    """
    values = {name: value for section in content.values() for name, value in section.items()}
    posterior = POSTERIORS.options(values.setdefault("posterior", "encoder"))
    if issubclass(posterior, PosteriorOptions) and posterior.closed_form_given is not None:
        values["decoder"] = posterior.default_decoder
        values.pop("coefficients", None)
    kept = belonging(values)
    return {k: v for k, v in values.items() if k in kept or not (owners(k) or k in REGISTRIES)}


def listed(names: Iterable[str]) -> str:
    """Names in a row.

    Args:
        names: Any.

    Returns:
        With commas between them.
    """
    return ", ".join(names)
