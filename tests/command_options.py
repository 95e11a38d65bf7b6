"""Which options a command has, to see that advice names no others."""

import re

from cryolatent.cli.commands import app

OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]*")


def options_of(command: str) -> set[str]:
    own = app[command]
    parts = [own] if own.default_command else [own[name] for name in own if name[0] != "-"]
    arguments = [a for part in parts for a in part.assemble_argument_collection()]
    found = {name for argument in arguments for name in argument.names}
    return {name for name in found if name.startswith("--")} | {"--help"}


def strange_options(message: str, command: str) -> set[str]:
    """Options that a message names and that neither the command has nor one that it mentions."""
    known = options_of(command)
    for other in re.findall(r"cryolatent ([a-z]+)", message):
        known |= options_of(other) if other in set(app) else set()
    return set(OPTION.findall(message)) - known
