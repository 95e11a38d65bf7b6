"""Parts that can be swapped, by name: a typed options class beside each, and an open registry.

Nothing here imports PyTorch, so that a command line or a config file can be read without it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict

Part = TypeVar("Part")


@dataclass(frozen=True)
class Shared:
    """What defaults of one part may depend on in others.

    Args:
        z_dim: Number of latent dimensions.
        epochs: Passes over the particles of a method that has a fixed number, else 0.
        solves_volumes: Whether the method solves for volumes in closed form, voxel by voxel.
    """

    z_dim: int
    epochs: int
    solves_volumes: bool


class Options(BaseModel):
    """The options of a part: frozen, and unknown keys are errors.

    Each field is an option, a flag and a key of the config file; its docstring is its help.
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, use_attribute_docstrings=True, ignored_types=(property,)
    )

    kind: ClassVar[str]
    """Name under which the part is registered."""

    common: ClassVar[frozenset[str]] = frozenset()
    """Options that most people need; the others are shown by ``--help-all``."""

    trains: ClassVar[bool] = True
    """Whether a training can choose the part; False of what only runs of other programs have."""

    def resolved(self, shared: Shared) -> "Options":
        """Replace defaults that depend on other options by their values.

        Args:
            shared: What they may depend on.

        Returns:
            By default the same options.
        """
        return self


class Registry:
    """The known parts of one sort.

    Args:
        noun: What a part is called: ``posterior``, ``decoder`` ...
    """

    def __init__(self, noun: str) -> None:
        self.noun = noun
        self._options: dict[str, type[Options]] = {}
        self._parts: dict[str, Any] = {}

    def declare(self, kind: str, options: type[Options], home: str) -> None:
        """Register a part that is imported when it is first built.

        Args:
            kind: Its name.
            options: Its options.
            home: ``module:Class``.
        """
        options.kind = kind
        self._options[kind], self._parts[kind] = options, home

    def register(self, kind: str, options: type[Options]) -> Callable[[type[Part]], type[Part]]:
        """Register a class: a decorator.

        The class has a class method ``build(options, setting)`` that makes the part from its
        options and from what it is made for (`cryolatent.models.setting.Setting`).

        Args:
            kind: Name in flags and config files.
            options: Its options: a subclass of `Options` with fields of its own.

        Returns:
            A decorator that returns the class as it is.

        Raises:
            ValueError: If another part has the name.
        """

        def decorate(part: type[Part]) -> type[Part]:
            known = self._parts.get(kind)
            if known is not None and f"{part.__module__}:{part.__qualname__}" != _home(known):
                raise ValueError(f"{self.noun} {kind} is registered already: {_home(known)}")
            options.kind = kind
            self._options[kind], self._parts[kind] = options, part
            return part

        return decorate

    @property
    def kinds(self) -> tuple[str, ...]:
        """Names of all parts, in the order of their registration."""
        return tuple(self._options)

    @property
    def choices(self) -> tuple[str, ...]:
        """Names of the parts that a training can choose."""
        return tuple(kind for kind, options in self._options.items() if options.trains)

    def options(self, kind: str) -> type[Options]:
        """The options class of a part.

        Args:
            kind: Its name.

        Returns:
            The class.

        Raises:
            KeyError: If there is no such part.
        """
        return self._options[kind]

    def part(self, kind: str) -> Any:
        """The class of a part.

        Args:
            kind: Its name.

        Returns:
            The class, imported now if it has not been.
        """
        part = self._parts[kind]
        if isinstance(part, str):
            module, name = part.split(":")
            part = self._parts[kind] = getattr(import_module(module), name)
        return part

    def build(self, options: Options, setting: Any) -> Any:
        """Make a part.

        Args:
            options: Its options, resolved.
            setting: What it is made for.

        Returns:
            The part, at its start.
        """
        return self.part(options.kind).build(options, setting)


def _home(part: Any) -> str:
    return part if isinstance(part, str) else f"{part.__module__}:{part.__qualname__}"


POSTERIORS = Registry("posterior")
DECODERS = Registry("decoder")
LIKELIHOODS = Registry("likelihood")
OBJECTIVES = Registry("objective")
METHODS = Registry("method")
REGISTRIES: dict[str, Registry] = {
    registry.noun: registry for registry in (POSTERIORS, DECODERS, LIKELIHOODS, OBJECTIVES, METHODS)
}


def register(noun: str, kind: str, options: type[Options]) -> Callable[[type[Part]], type[Part]]:
    """Register a part of one's own: a decorator.

    The part can be trained, saved, restored, analysed and reported like the built-in ones. The
    module that registers it is imported by whoever uses its runs: a run's files never cause an
    import.

    Args:
        noun: ``posterior``, ``decoder``, ``likelihood``, ``objective`` or ``method``.
        kind: Name of the part in options and config files.
        options: Its options class.

    Returns:
        A decorator, as `Registry.register` returns it.

    Raises:
        KeyError: If there is no such sort of part.
    """
    return REGISTRIES[noun].register(kind, options)
