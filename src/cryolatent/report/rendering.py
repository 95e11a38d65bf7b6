"""Templates of the pages."""

from jinja2 import Environment, PackageLoader, StrictUndefined


def environment() -> Environment:
    """Where every page's template is found and rendered.

    Returns:
        It escapes what it is given and refuses names that are not.
    """
    return Environment(
        loader=PackageLoader("cryolatent.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
