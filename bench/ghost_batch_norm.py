"""Ghost batch norm against plain batch norm and against a Python loop over chunks: forward + backward.

    python bench/ghost_batch_norm.py [--device cuda] [--seconds 20] [--threads 1] [--divide 16]

Repetitions are interleaved, so that a busy machine slows all layers alike; shown are medians, of times and of each
repetition's own ratio to plain batch norm, with the ratio's quartiles for the layer.

With the channels last, (ghost batch, channel) is no axis of any view, and a fused batch norm needs one: a GPU copies
to contiguous and back, a CPU has a kernel of our own. Two other ways without a copy stand beside it. A loop of fused
calls is launches by the dozen on a GPU. Group norm with a group for each channel takes consecutive ghost batches as a
view of that memory, (n, C, G·H, W), in one call; but torch takes the variance in one pass there, E[x²] − E[x]², which
the last lines show to be lost where a channel's mean is far from 0.
"""

import argparse
from collections.abc import Callable
from statistics import median, quantiles
from time import perf_counter

import torch
from heading import heading
from torch import Tensor, nn

from ultraslow.large_batch.ghost_batch_norm import GhostBatchNorm1d, GhostBatchNorm2d

# input, ghost batch: F1 at the large batch; stages of ResNet44; a wider network's
CASES = [
    ((4096, 512), 128),
    ((1024, 16, 32, 32), 128),
    ((1024, 64, 8, 8), 128),
    ((256, 128, 16, 16), 32),
]


class ChunkedBatchNorm(nn.Module):
    """The plain twin: one batch norm call for each ghost batch."""

    def __init__(self, plain: nn.Module, ghost: int):
        super().__init__()
        self.plain, self.ghost = plain, ghost

    def forward(self, x: Tensor) -> Tensor:
        """Normalize the chunks one after the other."""
        return torch.cat([self.plain(chunk) for chunk in x.split(self.ghost)])


class GroupedBatchNorm(nn.Module):
    """Consecutive ghost batches of channels-last memory as one group norm's samples, a group for each channel."""

    def __init__(self, plain: nn.Module, ghost: int):
        super().__init__()
        self.plain, self.ghost = plain, ghost

    def forward(self, x: Tensor) -> Tensor:
        """Normalize x (n·G, C, H, W)."""
        last = x.movedim(1, -1)
        blocks = last.reshape(len(x) // self.ghost, -1, *last.shape[2:]).movedim(-1, 1)
        y = nn.functional.group_norm(blocks, x.shape[1], self.plain.weight, self.plain.bias, self.plain.eps)
        return y.movedim(1, -1).reshape(last.shape).movedim(-1, 1)


def times(layers: dict[str, nn.Module], x: Tensor, seconds: float) -> dict[str, list[float]]:
    """Seconds of forward + backward for each layer, repetitions interleaved for about `seconds`, ten at least."""
    upstream = torch.randn_like(x)
    wait: Callable[[], None] = torch.cuda.synchronize if x.is_cuda else lambda: None
    found: dict[str, list[float]] = {name: [] for name in layers}
    until = perf_counter() + seconds
    while perf_counter() < until or len(found["plain"]) < 12:
        for name, layer in layers.items():
            x.grad = None
            wait()
            start = perf_counter()
            layer(x).backward(upstream)
            wait()
            found[name].append(perf_counter() - start)
    return {name: values[2:] for name, values in found.items()}  # two to warm up


def show(shape: tuple[int, ...], ghost: int, layout: torch.memory_format, device: str, seconds: float) -> None:
    """Prints a row."""
    x = torch.randn(shape, device=device).to(memory_format=layout).requires_grad_()
    last = layout == torch.channels_last
    plain_class, ghost_class = (
        (nn.BatchNorm2d, GhostBatchNorm2d) if len(shape) == 4 else (nn.BatchNorm1d, GhostBatchNorm1d)
    )
    layers = {
        "plain": plain_class(shape[1]),
        "ghost": ghost_class(shape[1], ghost),
        "loop": ChunkedBatchNorm(plain_class(shape[1]), ghost),
        **({"group": GroupedBatchNorm(plain_class(shape[1]), ghost)} if last else {}),
    }
    found = times({name: layer.to(device) for name, layer in layers.items()}, x, seconds)
    ratio = {name: [t / p for t, p in zip(ts, found["plain"], strict=True)] for name, ts in found.items()}
    low, middle, high = quantiles(ratio["ghost"], n=4)
    print(
        f"{'×'.join(map(str, shape)):>20} {ghost:>6} {'channels last' if last else 'contiguous':>14}"
        f" {1e3 * median(found['plain']):>7.2f} ms {f'{middle:.2f} [{low:.2f}, {high:.2f}]':>20}"
        f" {median(ratio['loop']):>11.2f} {format(median(ratio['group']), '.2f') if last else '':>12}"
    )


def show_errors(device: str) -> None:
    """Prints how far one batch, normalized in float32, is from float64, by its mean in standard deviations."""
    torch.manual_seed(0)
    x = torch.randn(256, 16, 32, 32, device=device).to(memory_format=torch.channels_last)
    plain = nn.BatchNorm2d(16).to(device)
    grouped, exact = GroupedBatchNorm(plain, len(x)), nn.BatchNorm2d(16).double().to(device)
    print("\nlargest error of a normalized number, channels last")
    for mean in (0, 3, 30):
        errors = [(layer(x + mean) - exact((x + mean).double())).abs().max().item() for layer in (plain, grouped)]
        print(f"mean of {mean:>2} std: batch norm {errors[0]:.0e}, group norm {errors[1]:.0e}")


def main() -> None:
    """Prints one row for each input and memory format."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seconds", type=float, default=20.0, help="for each row")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--divide", type=int, default=1, help="batches and ghost batches by this, to try it out")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    heading("torch")
    print(f"{args.device}, {args.threads} threads")
    print(f"{'input':>20} {'ghost':>6} {'layout':>14} {'plain':>10}", end=" ")
    print(f"{'ghost/plain':>20} {'loop/plain':>11} {'group/plain':>12}")
    for (batch, *rest), ghost in CASES:
        shape = (batch // args.divide, *rest)
        for layout in (torch.contiguous_format, *([torch.channels_last] if len(shape) == 4 else [])):
            show(shape, ghost // args.divide, layout, args.device, args.seconds)
    show_errors(args.device)


if __name__ == "__main__":
    main()
