"""The names of a model's parameters and buffers without the prefixes of wrappers around it or its parts."""

from collections.abc import Callable, Iterable

from torch import nn

_PREFIXES = ("module.", "_orig_mod.")  # DistributedDataParallel's and torch.compile's
_FABRIC = ("_forward_module", "_original_module")  # the one may be a wrapper around the other
# Modules that hold the model, or a part of it, under names that are none of the model's. They are compared by name,
# so that nothing has to be imported that the model does not use.
_WRAPPERS = {
    "torch.nn.parallel.distributed.DistributedDataParallel": ("module",),
    "torch.nn.parallel.data_parallel.DataParallel": ("module",),
    "torch.optim.swa_utils.AveragedModel": ("module",),
    "torch._dynamo.eval_frame.OptimizedModule": ("_orig_mod",),
    "torch.distributed.algorithms._checkpoint.checkpoint_wrapper.ActivationWrapper": ("_checkpoint_wrapped_module",),
    "timm.utils.model_ema.ModelEmaV2": ("module",),
    "timm.utils.model_ema.ModelEmaV3": ("module",),
    "apex.parallel.distributed.DistributedDataParallel": ("module",),
    "deepspeed.runtime.engine.DeepSpeedEngine": ("module",),
    "lightning.fabric.wrappers._FabricModule": _FABRIC,
    "lightning_fabric.wrappers._FabricModule": _FABRIC,
}


def plain_names(model: nn.Module) -> Callable[[str], str]:
    """Tell the names of a model's parameters and buffers from the prefixes of wrappers around it or its parts.

    Wrappers are known by their type: a submodule that is called `module` keeps its name. Names stay whole where those
    of two tensors would become one.

    Args:
        model: The model, which may be compiled or wrapped.

    Returns:
        A function from a name, as `named_parameters` or `state_dict` give it, to the name without prefixes.
    """
    modules = model.named_modules(remove_duplicate=False)
    inner = {f"{path}.{name}".removeprefix(".") for path, module in modules for name in _held_under(module)}
    if not inner:
        return lambda name: name

    def plain(name: str) -> str:
        parts = name.split(".")
        return ".".join(part for k, part in enumerate(parts) if ".".join(parts[: k + 1]) not in inner)

    members = [*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False)]
    own = {plain(name): tensor for name, tensor in members}
    return plain if all(own[plain(name)] is tensor for name, tensor in members) else lambda name: name


def names_without_prefixes(names: Iterable[str]) -> dict[str, str]:
    """Guess which parts of names are the prefixes of wrappers, where there is no model to ask.

    Args:
        names: The names of a state dict.

    Returns:
        Each name, and the name without prefixes; whole names where two would become one.
    """
    guessed = {name: _without_prefixes(name) for name in names}
    return guessed if len(set(guessed.values())) == len(guessed) else {name: name for name in guessed}


def _held_under(module: nn.Module) -> list[str]:
    kinds = (f"{kind.__module__}.{kind.__qualname__}" for kind in type(module).__mro__)
    return [name for kind in kinds for name in _WRAPPERS.get(kind, ())]


def _without_prefixes(name: str) -> str:
    for prefix in _PREFIXES:
        name = name.removeprefix(prefix).replace(f".{prefix}", ".")
    return name
