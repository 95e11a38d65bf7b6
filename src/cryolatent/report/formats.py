"""Numbers as a reader wants to see them."""

import math

from cryolatent.analysis.summary import Estimate

MINUS = "\N{MINUS SIGN}"
THIN = "\N{NARROW NO-BREAK SPACE}"
NONE = "\N{EM DASH}"


def decimal(value: float | None, decimals: int = 2) -> str:
    """Write a number with a fixed number of decimals.

    Args:
        value: The number.
        decimals: Digits after the point.

    Returns:
        Text with a true minus sign and grouped thousands; a dash for a missing value.
    """
    if value is None or not math.isfinite(value):
        return NONE
    text = f"{value:,.{decimals}f}".replace(",", THIN)
    is_zero = float(f"{value:.{decimals}f}") == 0
    return text.replace("-", "" if is_zero else MINUS)


def decimals_of(estimate: Estimate) -> int:
    """How many decimals an estimate deserves: two digits of its interval's half width.

    Args:
        estimate: A number with its interval.

    Returns:
        Digits after the point, 0 to 4.
    """
    width = (estimate.high - estimate.low) / 2
    if not math.isfinite(width) or width <= 0:
        return 3
    return min(4, max(0, 1 - math.floor(math.log10(width))))


def value_of(estimate: Estimate) -> str:
    """Write an estimate's value.

    Args:
        estimate: A number with its interval.

    Returns:
        The value alone, as precise as its interval.
    """
    return decimal(estimate.value, decimals_of(estimate))


def interval_of(estimate: Estimate) -> str:
    """Write an estimate's interval.

    Args:
        estimate: A number with its interval.

    Returns:
        ``[low, high]``.
    """
    decimals = decimals_of(estimate)
    return f"[{decimal(estimate.low, decimals)}, {decimal(estimate.high, decimals)}]"


def integer(value: int) -> str:
    """Write a count.

    Args:
        value: The count.

    Returns:
        Text with grouped thousands.
    """
    return decimal(float(value), 0)


def percent(fraction: float | None) -> str:
    """Write a share.

    Args:
        fraction: Between 0 and 1.

    Returns:
        Whole per cent; one decimal below ten.
    """
    if fraction is None or not math.isfinite(fraction):
        return NONE
    share = 100 * fraction
    return f"{decimal(share, 1 if 0 < share < 9.95 else 0)}{THIN}%"


def duration(seconds: float) -> str:
    """Write a duration in the two largest units that matter.

    Args:
        seconds: Length in seconds.

    Returns:
        Such as ``8.2 s``, ``3 min 20 s`` or ``2 h 5 min``.
    """
    if seconds < 60:
        return f"{decimal(seconds, 1)}{THIN}s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}{THIN}min {rest}{THIN}s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{integer(hours)}{THIN}h {minutes}{THIN}min"


def option_value(value: object) -> str:
    """Write the value of a configuration's option.

    Args:
        value: What the configuration holds.

    Returns:
        The value; a dash for None; at most six digits of a float.
    """
    if value is None:
        return NONE
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def sentence_list(items: list[str]) -> str:
    """Join words as in a sentence.

    Args:
        items: At least one word.

    Returns:
        ``a``, ``a and b`` or ``a, b and c``.
    """
    head, last = items[:-1], items[-1]
    return f"{', '.join(head)} and {last}" if head else last
