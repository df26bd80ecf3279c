"""What bounds five seeds of F1 trained at once on a CPU: the products of matrices, which cost as much as in turn.

    python bench/batched_seeds.py [--rounds 40] [--seeds 5]

Processor time of one thread, taken in turns: an update of one seed, its products of matrices alone, and the products
of all seeds in batched calls. If all else cost nothing, training them at once would be faster by the inverse of the
products' share.
"""

import argparse
from statistics import median
from time import thread_time

import torch
import torch.nn.functional as F
from heading import heading

from train.models import NETWORKS

BATCH = 128


def update() -> None:
    """One of F1, as `train` makes it but for the data."""
    loss = F.cross_entropy(model(images), labels)
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
    optimizer.step()


def products(seeds: int) -> list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """Each layer's weights, inputs and gradients, of all seeds."""
    shapes = [p.shape for p in model.parameters() if p.dim() == 2]
    return [(torch.randn(seeds, m, n), torch.randn(seeds, BATCH, n), torch.randn(seeds, BATCH, m)) for m, n in shapes]


def multiply(layers: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]) -> None:
    """Forward, for the weights' gradients, and for the inputs', which the first layer needs not."""
    for k, (w, x, d) in enumerate(layers):
        x @ w.transpose(1, 2)
        d.transpose(1, 2) @ x
        if k:
            d @ w


parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--rounds", type=int, default=40)
parser.add_argument("--seeds", type=int, default=5)
args = parser.parse_args()
torch.set_num_threads(1)
torch.manual_seed(0)
model = NETWORKS["f1"]((1, 28, 28), 10)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, fused=True)
images, labels = torch.randn(BATCH, 1, 28, 28), torch.randint(10, (BATCH,))
one, several = products(1), products(args.seeds)
turns = {"update": update, "one": lambda: multiply(one), "several": lambda: multiply(several)}
times: dict[str, list[float]] = {name: [] for name in turns}
for _ in range(args.rounds):
    for name, turn in turns.items():
        start = thread_time()
        turn()
        times[name].append(thread_time() - start)
share = median(b / a for a, b in zip(times["update"][2:], times["one"][2:], strict=True))
batched = median(c / (args.seeds * b) for b, c in zip(times["one"][2:], times["several"][2:], strict=True))
heading("torch")
print(f"products of matrices in an update of one seed: {share:.2f} of its time")
print(f"the products of {args.seeds} seeds at once, over one after another: {batched:.2f}")
print(f"at once over one after another, if all else cost nothing: {1 / (share * batched):.2f}")
