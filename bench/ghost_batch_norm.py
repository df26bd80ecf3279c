"""Ghost batch norm against plain batch norm and against a Python loop over chunks: forward + backward.

    python bench/ghost_batch_norm.py [--device cuda] [--repetitions 30] [--threads 1]

Medians of interleaved repetitions, so that a busy machine slows all of them alike.

Channels last is what ghost batch norm is slow at: with C innermost, (ghost batch, channel) is no axis of any view,
and its fused call needs one; so it copies to contiguous and back. The column "blocks" is the way without loop or
copy: ghost batches as consecutive blocks of that memory, (n, G·H·W, C), with a variance and an affine map of torch's,
each of which passes over memory where the fused call does not. A loop of fused calls does neither, but each turn of
it is launches on a GPU: it is not what the layer does.
"""

import argparse
from collections.abc import Callable
from statistics import median
from time import perf_counter

import torch
from torch import Tensor, nn

from train.ghost_batch_norm import GhostBatchNorm1d, GhostBatchNorm2d

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


class BlockedBatchNorm(nn.Module):
    """Consecutive ghost batches as blocks of channels-last memory: a view, statistics, and one affine map."""

    def __init__(self, plain: nn.Module, ghost: int):
        super().__init__()
        self.plain, self.ghost = plain, ghost

    def forward(self, x: Tensor) -> Tensor:
        """Normalize x (n·G, C, H, W)."""
        last = x.movedim(1, -1)
        blocks = last.reshape(len(x) // self.ghost, -1, x.shape[1])
        variance, mean = torch.var_mean(blocks, 1, correction=0, keepdim=True)
        scale = self.plain.weight * torch.rsqrt(variance + self.plain.eps)
        y = torch.addcmul(self.plain.bias - mean * scale, blocks, scale)
        return y.view(last.shape).movedim(-1, 1)


def seconds(layers: dict[str, nn.Module], x: Tensor, repetitions: int) -> dict[str, float]:
    """Median seconds of forward + backward for each layer, repetitions interleaved."""
    upstream = torch.randn_like(x)
    wait: Callable[[], None] = torch.cuda.synchronize if x.is_cuda else lambda: None
    times: dict[str, list[float]] = {name: [] for name in layers}
    for repetition in range(repetitions + 2):
        for name, layer in layers.items():
            wait()
            start = perf_counter()
            layer(x).backward(upstream)
            wait()
            if repetition >= 2:  # two to warm up
                times[name].append(perf_counter() - start)
    return {name: median(values) for name, values in times.items()}


def main() -> None:
    """Print one row for each input and memory format."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--repetitions", type=int, default=20)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    print(f"torch {torch.__version__}, {args.device}, {args.threads} threads, {args.repetitions} repetitions")
    print(f"{'input':>20} {'ghost':>6} {'layout':>14} {'plain':>10}", end=" ")
    print(f"{'ghost/plain':>12} {'loop/plain':>11} {'blocks/plain':>13}")
    for shape, ghost in CASES:
        two_d = len(shape) == 4
        for layout in (torch.contiguous_format, *([torch.channels_last] if two_d else [])):
            x = torch.randn(shape, device=args.device).to(memory_format=layout).requires_grad_()
            plain_class, ghost_class = (
                (nn.BatchNorm2d, GhostBatchNorm2d) if two_d else (nn.BatchNorm1d, GhostBatchNorm1d)
            )
            layers = {
                "plain": plain_class(shape[1]),
                "ghost": ghost_class(shape[1], ghost),
                "loop": ChunkedBatchNorm(plain_class(shape[1]), ghost),
                "blocks": BlockedBatchNorm(plain_class(shape[1]), ghost),
            }
            layers = {name: layer.to(args.device) for name, layer in layers.items()}
            t = seconds(layers, x, args.repetitions)
            name = "channels last" if layout == torch.channels_last else "contiguous"
            print(
                f"{'×'.join(map(str, shape)):>20} {ghost:>6} {name:>14} {1e3 * t['plain']:>7.2f} ms"
                f" {t['ghost'] / t['plain']:>12.2f} {t['loop'] / t['plain']:>11.2f}"
                f" {t['blocks'] / t['plain']:>13.2f}"
            )


if __name__ == "__main__":
    main()
