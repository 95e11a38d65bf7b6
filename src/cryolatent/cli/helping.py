"""The help of all options, beside that of those which most people need."""

from inspect import unwrap
from types import FunctionType
from typing import Annotated

from cyclopts import App, Parameter

from cryolatent.cli.commands import train
from cryolatent.config.flags import train_flags

HELP_ALL = "--help-all"


def show_all() -> None:
    """Print the help of `train` with the options of every part."""
    flags = train_flags(everything=True)
    plain = unwrap(train)
    everything = FunctionType(plain.__code__, plain.__globals__, "train", plain.__defaults__)
    everything.__doc__ = plain.__doc__
    everything.__kwdefaults__ = (plain.__kwdefaults__ or {}) | {"options": flags()}
    everything.__annotations__ = plain.__annotations__ | {
        "options": Annotated[flags, Parameter(name="*")]
    }
    app = App(name="cryolatent")
    app.command(everything)
    app(["train", "--help"], exit_on_error=False, result_action="return_value")
