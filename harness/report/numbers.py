"""Numbers, times and settings in words."""

from __future__ import annotations

import datetime
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from harness.study import few

MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


@dataclass(frozen=True)
class Scale:
    """How a claim's numbers are printed: multiplied, rounded, signed and with which unit."""

    unit: str
    factor: float = 1.0
    signed: bool = False
    log: bool = False
    steps: bool = False

    def digits(self, value: float, places: int | None = None) -> str:
        """The number alone: with so many decimals, or three significant digits."""
        if math.isnan(value):
            return "—"
        if math.isinf(value):
            return "never" if self.steps and value > 0 else "∞" if value > 0 else "−∞"
        value *= self.factor
        text = digits(value) if places is None else f"{value:,.{places}f}".replace("-", "−")
        if not text.strip("−0."):  # rounded to zero: no sign
            return text.lstrip("−")
        return f"+{text}" if self.signed and value > 0 else text

    def places(self, effect: float, low: float, high: float) -> int | None:
        """Decimals that resolve an interval to two digits; None where there is none."""
        width = (high - low) * self.factor
        size = max(abs(effect * self.factor), width)
        if not math.isfinite(size) or not width > 1e-4 or size >= 1e6:
            return None
        return max(0, 1 - math.floor(math.log10(width)))

    def words(self, value: float, places: int | None = None) -> str:
        """The number with its unit, as a sentence has it."""
        text = self.digits(value, places)
        if not self.unit or text in ("never", "—"):
            return text
        if self.unit == "×":
            return text + "×"
        unit = self.unit
        if unit in ("points", "steps", "decades") and text.strip("+−") == "1":
            unit = unit[:-1]
        return f"{text} {unit}"


def digits(value: float) -> str:
    """Three significant digits; whole thousands with a comma, tiny and huge as powers of ten."""
    if value == 0:
        return "0"
    size = abs(value)
    if size >= 1e6 or size < 1e-3:
        lead, exponent = f"{value:.2e}".split("e")
        power = str(int(exponent)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
        text = f"{lead.rstrip('0').rstrip('.')}×10{power}"
    elif size >= 99.95:
        text = f"{value:,.0f}"
    else:
        text = f"{float(f'{value:.3g}'):.{max(0, 2 - math.floor(math.log10(size)))}f}"
        text = text.rstrip("0").rstrip(".") if "." in text else text
    return text.replace("-", "−")


def probability(value: float) -> str:
    """A p value; those under 0.001 are not told apart."""
    return "—" if math.isnan(value) else "<\u00a00.001" if value < 0.001 else f"{value:.2g}"


def duration(seconds: float) -> str:
    """Seconds as "4.2 s", "54 s", "1 min 16 s" or "3 h 5 min"."""
    if seconds < 60:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes_left = divmod(minutes, 60)
    return f"{hours} h {minutes_left} min" if hours else f"{minutes} min {rest} s"


def moment(iso: str) -> str:
    """An ISO time as "20 Nov 2026, 10:06 UTC", or as it came where it is no ISO time."""
    try:
        when = datetime.datetime.fromisoformat(iso)
    except ValueError:
        return iso
    if when.tzinfo is not None:
        when = when.astimezone(datetime.UTC)
    return f"{when.day} {MONTHS[when.month - 1]} {when.year}, {when:%H:%M} UTC"


def setting(value: Any) -> str:
    """A setting as tables print it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return "—" if math.isnan(value) else f"{value:.6g}".replace("-", "−")
    if isinstance(value, (tuple, list)):
        return few(value, setting)
    return "none" if value is None else str(value)


def settings(mapping: Mapping[str, Any]) -> str:
    """Settings in a row: "rule adam, beta2 0.9999"."""
    return ", ".join(f"{plain(name)} {setting(v)}" for name, v in mapping.items())


def level(factor: str, value: Any) -> str:
    """A level of a factor: its own word, or the factor's name and the value."""
    return value if isinstance(value, str) else f"{plain(factor)} {setting(value)}"


def plain(name: str) -> str:
    """A name of the code as words."""
    return name.replace("_", " ")


def cell(value: Any) -> str:
    """A value in the table of trials: four digits, nothing for what is missing."""
    if isinstance(value, float):
        if math.isnan(value):
            return ""
        return "∞" if value == math.inf else "−∞" if value == -math.inf else f"{value:.4g}"
    return str(value)
