"""Flags of a training: every option of every registered part, grouped by the part that owns it."""

import inspect
from typing import Annotated, Any, Literal

from cyclopts import Group, Parameter
from pydantic import BaseModel, ConfigDict, Field, create_model
from pydantic.fields import FieldInfo

from cryolatent.config.owners import PLAIN, REGISTRIES
from cryolatent.models.registry import Registry

COMMON = {
    "data": frozenset({"datadir", "particle_radius", "symmetry"}),
    "session": frozenset({"seed", "threads"}),
}
TITLES = {"data": "Data", "session": "Session"}


def train_flags(*, everything: bool = False) -> type[BaseModel]:
    """A flat model of all options, whose fields the command line turns into flags.

    Args:
        everything: Whether help shows all of them, or only those that most people need.

    Returns:
        A class whose instances hold what was given (`given`).
    """
    fields: dict[str, Any] = {}
    for section, options in PLAIN.items():
        for name, info in options.model_fields.items():
            shown = everything or name in COMMON[section]
            fields[name] = _flag(info, TITLES[section], info.description or "", shown)
    for noun, registry in REGISTRIES.items():
        fields[noun] = _choice(noun, registry, everything=everything)
        for name, (infos, kinds) in _by_name(registry).items():
            only = "" if kinds == registry.choices else f" [{noun} {', '.join(kinds)}]"
            title = f"{noun.capitalize()} {kinds[0]}" if len(kinds) == 1 else noun.capitalize()
            common = any(name in registry.options(kind).common for kind in kinds)
            text = (infos[0].description or "") + (only if len(kinds) > 1 else "")
            # of choices that differ the most; each part knows its own
            widest = max(infos, key=lambda info: len(str(info.annotation)))
            fields[name] = _flag(widest, title, text, everything or common)
    return create_model("TrainFlags", __config__=ConfigDict(frozen=True, extra="forbid"), **fields)


def given(flags: BaseModel) -> dict[str, Any]:
    """The options that were given.

    Args:
        flags: An instance of `train_flags`.

    Returns:
        Options by name, for `cryolatent.config.training.TrainConfig.of`.
    """
    known = type(flags).model_fields
    return {name: getattr(flags, name) for name in known if name in flags.model_fields_set}


def _by_name(registry: Registry) -> dict[str, tuple[list[FieldInfo], tuple[str, ...]]]:
    found: dict[str, tuple[list[FieldInfo], tuple[str, ...]]] = {}
    for kind in registry.choices:
        for name, info in registry.options(kind).model_fields.items():
            infos, kinds = found.get(name, ([], ()))
            found[name] = [*infos, info], (*kinds, kind)
    return found


def _choice(noun: str, registry: Registry, *, everything: bool) -> tuple[Any, Any]:
    kinds = "; ".join(f"{kind}: {_summary(registry.options(kind))}" for kind in registry.choices)
    parameter = Parameter(
        help=f"{noun.capitalize()}. {kinds}.",
        group=_group(noun.capitalize()),
        show=everything or noun in ("posterior", "decoder"),
        show_default=False,
    )
    return Annotated[Literal[registry.choices] | None, parameter], None


def _flag(info: FieldInfo, title: str, text: str, shown: bool, kind: Any = None) -> tuple[Any, Any]:
    parameter = Parameter(help=" ".join(text.split()), group=_group(title), show=shown)
    annotation = _annotated(info) if kind is None else kind
    return Annotated[annotation, parameter], Field(default=info.default)


def _annotated(info: FieldInfo) -> Any:
    return Annotated[(info.annotation, *info.metadata)] if info.metadata else info.annotation


def _summary(options: type) -> str:
    first = (inspect.getdoc(options) or "").split("\n\n")[0]
    return " ".join(first.split()).rstrip(".").lower()


def _group(title: str) -> Group:
    order = [*TITLES.values(), *(noun.capitalize() for noun in REGISTRIES)]
    return Group(title, sort_key=(order.index(title.split(maxsplit=1)[0]), title))
