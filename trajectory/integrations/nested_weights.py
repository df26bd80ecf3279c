"""Find the dict of weights in what a training loop has saved around it."""

from collections import Counter
from collections.abc import Collection, Mapping
from itertools import islice
from typing import Any

from torch import Tensor

from trajectory.integrations.checkpoint import CheckpointError

# Where training loops put the weights: Lightning, torch's examples, fairseq and others, in order of precedence.
_KEYS = ("state_dict", "model_state_dict", "model", "module", "weights", "net")
_EXTRA = "_extra_state"  # ends the name of what a module keeps beside its weights
_SHOWN = 20  # names in a message
_DEEPEST = 5  # dicts around the weights; a dict that holds itself has no end


def descend(content: Any, name: str, key: str | None) -> Mapping[str, Any]:
    """Return the part of a nested checkpoint that holds the weights.

    Args:
        content: what the checkpoint holds.
        name: the checkpoint's name.
        key: where in it the weights are, as for `checkpoint_files.load`.

    Returns:
        The dict of tensors, and of what else is beside them.

    Raises:
        CheckpointError: there are no weights there, or it cannot be told which are the weights.
    """
    if key is not None:
        for part in key.split("."):
            if not isinstance(content, Mapping) or part not in content:
                held = _names(content) if isinstance(content, Mapping) else type(content).__name__
                raise CheckpointError(f"{name}: no key {key!r}; it holds {held}")
            content = content[part]
    if not isinstance(content, Mapping):
        raise CheckpointError(f"{name}: holds a {type(content).__name__}; expected a state dict")
    found = _weights_in(content)
    if found is None:
        held = _names(content) or "nothing"
        raise CheckpointError(f"{name}: no weights found; it holds {held}; say where with --key")
    others = [str(inner) for inner, value in found.items() if isinstance(value, Mapping) and tensors_in(value)]
    if others := [inner for inner in others if not inner.endswith(_EXTRA)]:
        raise CheckpointError(
            f"{name}: holds tensors ({next(iter(tensors_in(found)))}, ...) beside dicts of tensors"
            f" ({_names(others)}); say which dict holds the weights with --key"
        )
    names = Counter(str(inner) for inner, value in found.items() if isinstance(value, Tensor))
    if twice := [inner for inner, times in names.items() if times > 1]:
        raise CheckpointError(f"{name}: two tensors are called {twice[0]}; give each a name of its own")
    return found


def _names(held: Collection[Any]) -> str:
    more = f" and {len(held) - _SHOWN} more" if len(held) > _SHOWN else ""
    return ", ".join(map(str, islice(held, _SHOWN))) + more


def _weights_in(content: Any, depth: int = 0) -> Mapping[str, Any] | None:
    """Return the dict of tensors in a checkpoint: one under a usual name before the numbers beside it."""
    if not isinstance(content, Mapping) or depth > _DEEPEST:
        return None
    nested = (_weights_in(content.get(inner), depth + 1) for inner in _KEYS)
    return next((found for found in nested if found), content if tensors_in(content) else None)


def tensors_in(content: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return the tensors of a dict.

    Args:
        content: the dict.

    Returns:
        The tensors by name.
    """
    return {str(name): value for name, value in content.items() if isinstance(value, Tensor)}
