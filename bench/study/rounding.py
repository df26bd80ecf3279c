"""Numbers as committed results hold them."""

from typing import Any


def rounded(value: Any) -> Any:
    """Floats to four significant digits, in lists and dictionaries too."""
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(item) for item in value]
    return float(f"{value:.4g}") if isinstance(value, float) else value
