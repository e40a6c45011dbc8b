"""Numbers, times and foreign text, in words fit for a terminal."""

import unicodedata

_UNITS = ((86_400.0, "d"), (3600.0, "h"), (60.0, "min"), (1.0, "s"))


def span(seconds: float) -> str:
    """A duration with two units at most: ``2 h 5 min``, ``12 s``, ``3.1 ms``."""
    if seconds < 0:
        return f"-{span(-seconds)}"
    if seconds < 0.001:
        return f"{seconds * 1e6:.0f} µs"
    if seconds < 1:
        return f"{seconds * 1000:.3g} ms"
    if seconds < 10:
        return f"{seconds:.3g} s"
    parts: list[str] = []
    for size, unit in _UNITS:
        if (whole := int(seconds // size)) or parts:
            parts.append(f"{whole} {unit}")
            seconds -= whole * size
        if len(parts) == 2:
            break
    return " ".join(part for part in parts if not part.startswith("0 "))


def ago(instant: float, now: float) -> str:
    """How long ago an instant was; empty for none."""
    if not instant:
        return ""
    return f"{span(now - instant)} ago" if now >= instant else f"in {span(instant - now)}"


def count(number: int, noun: str, plural: str = "") -> str:
    """``1 task``, ``2,000 tasks``."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def size(octets: float) -> str:
    """A number of bytes in binary units: ``1.5 MiB``."""
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if octets < 1024:
            return f"{octets:.0f} {unit}" if unit == "bytes" else f"{octets:.1f} {unit}"
        octets /= 1024
    return f"{octets:.1f} TiB"


def safe(text: str) -> str:
    """``text`` without power over the terminal: control characters, which may hide or forge lines, shown as escapes."""
    return "".join(_shown(character) for character in str(text))


def _shown(character: str) -> str:
    if character in "\n\t" or unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Co", "Cn"):
        return character
    return repr(character)[1:-1] if not character.isprintable() else character


def shortened(text: str, width: int) -> str:
    """The first line of ``text``, at most ``width`` characters, with an ellipsis where something is missing."""
    line, _, rest = text.strip().partition("\n")
    if len(line) > width:
        return line[: width - 1] + "…"
    return line + " …" if rest else line
