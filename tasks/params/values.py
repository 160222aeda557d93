"""Kinds of values that are written in several ways: one name or a list, a rate, a time."""

import re
from functools import partial
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

FIND = "find"
PRETRAINING_RATE = re.compile(r"pretraining\s*(?:/\s*(?P<divisor>\d+(?:\.\d+)?))?")
RATE_TEXT = r"^\s*(pretraining\s*(/\s*\d+(\.\d+)?)?|\d*\.?\d+([eE][+-]?\d+)?)\s*$"
TIME = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([smh])\s*")
LEAST_SIZE, MOST_SIZE = 16, 2048  # pixels
SECONDS = {"s": 1, "m": 60, "h": 3600}  # a unit


def as_list(value: Any) -> Any:
    """Accept one text for a list of one."""
    return [value] if isinstance(value, str) else value


def as_tuple(value: Any) -> Any:
    """Accept one value for a list of one."""
    return value if value is None or isinstance(value, list | tuple) else (value,)


def as_rate(value: Any) -> Any:
    """Accept a number, a number that YAML took for text (``3e-5``), or ``pretraining/10``."""
    relative = PRETRAINING_RATE.fullmatch(value.strip()) if isinstance(value, str) else None
    if relative and float(relative["divisor"] or 1) > 0:
        return relative.group()
    try:
        rate = 0.0 if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        rate = 0.0
    if rate == 0 and value == 0:
        raise ValueError("0 is not a learning rate and freezes nothing: leave out of 'train' what is to stay frozen")
    if not 0 < rate <= 100:
        raise ValueError(f"'{value}' is not a learning rate (a number over 0, pretraining/10, or find)")
    return rate


def as_rates(value: Any) -> Any:
    """Accept a rate, ``find``, or a rate a selector."""
    if value == FIND:
        return value
    if isinstance(value, dict):
        return {selector: as_rate(rate) for selector, rate in value.items()}
    return as_rate(value)


def as_seconds(value: Any) -> Any:
    """Return seconds of a number with a unit, such as ``90s``, ``10m`` or ``1.5h``."""
    if not isinstance(value, str):
        return value
    time = TIME.fullmatch(value)
    if not time:
        raise ValueError(f"'{value}' is no time: write seconds, or a number with s, m or h, such as 10m")
    number, unit = time.groups()
    return float(number) * SECONDS[unit]


def as_budget(value: Any) -> Any:
    """Accept ``auto`` (which nothing stands for, too), ``none``, or a time."""
    if value in {None, "auto", "none"}:
        return value or "auto"
    seconds = as_seconds(value)
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not seconds > 0:
        raise ValueError(f"'{value}' is no budget: write a time over 0 such as 10m, or auto, or none")
    return float(seconds)


def as_size(value: Any, words: tuple[str, ...]) -> Any:
    """Accept a number of pixels from 16, or one of some words."""
    if value in words or (isinstance(value, int) and not isinstance(value, bool) and LEAST_SIZE <= value <= MOST_SIZE):
        return value
    raise ValueError(f"'{value}' is no size: write {' or '.join(words)}, or pixels from {LEAST_SIZE} to {MOST_SIZE}")


# ``json_schema_input_type`` is what may be written, of which the type before it is made.
Share = Annotated[float, Field(gt=0, lt=1)]
Shares = Annotated[tuple[Share, ...], BeforeValidator(as_tuple, json_schema_input_type=Share | list[Share])]
Selectors = Annotated[
    tuple[str, ...],
    BeforeValidator(as_list, json_schema_input_type=str | Annotated[list[str], Field(min_length=1)]),
    Field(min_length=1),
]
WrittenRate = (
    Annotated[float, Field(gt=0, le=100)] | Annotated[str, Field(pattern=RATE_TEXT, examples=["pretraining/10"])]
)
Rates = Annotated[
    float | str | dict[str, float | str],
    BeforeValidator(as_rates, json_schema_input_type=Literal["find"] | WrittenRate | dict[str, WrittenRate]),
]
Pixels = Annotated[int, Field(ge=LEAST_SIZE, le=MOST_SIZE)]
Size = Annotated[
    int | Literal["auto"],
    BeforeValidator(partial(as_size, words=("auto",)), json_schema_input_type=Pixels | Literal["auto"]),
]
TrainSize = Annotated[
    int | Literal["auto", "full"],
    BeforeValidator(partial(as_size, words=("auto", "full")), json_schema_input_type=Pixels | Literal["auto", "full"]),
]
WrittenSeconds = Annotated[float, Field(gt=0)] | Annotated[str, Field(pattern=f"^{TIME.pattern}$", examples=["10m"])]
Budget = Annotated[
    Literal["auto", "none"] | float,
    BeforeValidator(as_budget, json_schema_input_type=Literal["auto", "none"] | WrittenSeconds),
]
Seconds = Annotated[float, Field(gt=0), BeforeValidator(as_seconds, json_schema_input_type=WrittenSeconds)]
