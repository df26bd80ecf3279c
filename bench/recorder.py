"""What recording costs a training step, a snapshot and a pass over the weights, and how the costs grow.

    python bench/recorder.py [--only step|snapshot|kernel|growth] [--rounds 1.0] [--results bench/results]

Everything is timed against what one would write instead, in turns: each round runs every variant once, in random
order, and a variant's ratio is its time over the first one's of the same round. Tables hold medians over rounds and
the quartiles of the ratio. With a GPU everything is measured there as well; without one, the results say so where
its figures would stand. `--rounds 0.1` is a tenth of the rounds, to try it out.

step: F1 and ResNet44 at batch 128 and a transformer of GPT-2's smallest shape (124 M weights), SGD with momentum.
snapshot: the weights of the transformer and of a network of 25 M weights, to a local file system, without fsync. The
thread that writes begins when the weights are copied, which is what the step stands still for.
kernel: the pass over the weights and a whole recorded update, whose optimizer has nothing to do, against reading w
and w_0 once.
growth: such an update against the number of weights; time, store and memory against the number of updates.
"""

import argparse
import gc
import os
import platform
import random
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from math import prod
from pathlib import Path
from statistics import median, quantiles
from time import perf_counter
from typing import TypeVar

import psutil
import torch
import torch.distributed.checkpoint as checkpoint
import torch.nn.functional as F
import zarr
from torch import Tensor, nn

from train.models import NETWORKS
from trajectory import At, LogSpaced, Recorder
from trajectory.observables import Observables

NOT_RUN = "not run on a GPU"
FIGURE = Path("docs/figures/recording-cost.png")
Turn = Callable[[], object]
T = TypeVar("T")


@dataclass
class Report:
    """What a section prints and writes."""

    lines: list[str] = field(default_factory=list)
    targets: list[str] = field(default_factory=list)

    def table(self, title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Adds a Markdown table."""
        rule = "|".join(["---", *["---:"] * (len(head) - 1)])
        self.lines += [f"\n### {title}\n", f"| {' | '.join(head)} |", f"|{rule}|"]
        self.lines += [f"| {' | '.join(row)} |" for row in rows]

    def target(self, what: str, value: float | None, *, at_most: float = 0.0, at_least: float = 0.0) -> None:
        """Adds whether a figure is where it should be; None: it was not measured."""
        bound = f"≤ {at_most:g}" if at_most else f"≥ {at_least:g}"
        met = value is not None and (value <= at_most if at_most else value >= at_least)
        verdict = f"{value:.3f} | {'met' if met else 'missed'}" if value is not None else f"{NOT_RUN} | "
        self.targets.append(f"| {what} | {bound} | {verdict} |")

    def text(self) -> str:
        """The whole, targets first."""
        head = ["\n### Targets\n", "| what | target | measured | |", "|---|---:|---:|---|"] if self.targets else []
        return "\n".join([*head, *self.targets, *self.lines]) + "\n"


def devices() -> list[str]:
    """Where to measure."""
    return ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]


def seconds(turn: Turn, device: str = "cpu") -> float:
    """How long a turn takes, the device's work included."""
    if device == "cuda":
        torch.cuda.synchronize()
    started = perf_counter()
    turn()
    if device == "cuda":
        torch.cuda.synchronize()
    return perf_counter() - started


def in_turns(variants: Mapping[str, Callable[[], T]], rounds: int) -> dict[str, list[T]]:
    """What each variant returns in each round."""
    order, results = list(variants), {name: [] for name in variants}
    for _ in range(rounds):
        for name in random.sample(order, len(order)):
            results[name].append(variants[name]())
    return results


def ratios(results: Mapping[str, Sequence[float]], name: str, to: str) -> list[float]:
    """Round by round."""
    return [a / b for a, b in zip(results[name], results[to], strict=True)]


def comparison(results: Mapping[str, Sequence[float]], scale: float, digits: int) -> list[list[str]]:
    """Rows of variant, median time, and ratio to the first variant with its quartiles."""
    first, rows = next(iter(results)), []
    for name, times in results.items():
        low, middle, high = quantiles(ratios(results, name, first), n=4)
        rows.append([name, f"{scale * median(times):.{digits}f}", f"{middle:.3f}", f"{low:.3f} to {high:.3f}"])
    return rows


class Transformer(nn.Module):
    """GPT-2's smallest shape: 12 blocks of width 768, 50,257 tokens, 1,024 positions; 124 M weights."""

    def __init__(self, width: int = 768, depth: int = 12, tokens: int = 50_257, positions: int = 1024):
        super().__init__()
        self.token, self.position = nn.Embedding(tokens, width), nn.Embedding(positions, width)
        block = nn.TransformerEncoderLayer(
            width, width // 64, 4 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.blocks = nn.TransformerEncoder(block, depth, nn.LayerNorm(width), enable_nested_tensor=False)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (batch, position, token) of the next token; the output layer is the token embedding."""
        length = x.shape[1]
        mask = nn.Transformer.generate_square_subsequent_mask(length, device=x.device)
        hidden = self.blocks(self.token(x) + self.position.weight[:length], mask=mask, is_causal=True)
        return hidden @ self.token.weight.T


@dataclass(frozen=True)
class Task:
    """A network to train on random data of its shape, and how long to measure it."""

    network: Callable[[], nn.Module]
    image: tuple[int, ...] | None  # None: a language model
    steps: int  # updates a turn
    rounds: int

    def begin(self, device: str) -> tuple[nn.Module, torch.optim.Optimizer, Turn]:
        """The network, its optimizer, and one update."""
        torch.manual_seed(0)
        model = self.network().to(device)
        optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)
        if self.image:
            x, y = torch.randn(128, *self.image, device=device), torch.randint(10, (128,), device=device)
        else:
            x = torch.randint(50_257, (1, 32) if device == "cpu" else (8, 1024), device=device)
            y = x.roll(-1, 1).flatten()

        def update() -> None:
            loss = F.cross_entropy(model(x).flatten(0, -2), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

        return model, optimizer, update


TASKS = {
    "F1": Task(lambda: NETWORKS["f1"]((1, 28, 28), 10), (1, 28, 28), steps=20, rounds=60),
    "ResNet44": Task(lambda: NETWORKS["resnet44"]((3, 32, 32), 10), (3, 32, 32), steps=2, rounds=7),
    "transformer, 124 M": Task(Transformer, None, steps=2, rounds=5),
}


def nothing(model: nn.Module, optimizer: torch.optim.Optimizer, path: Path) -> Turn:
    """Recorded: nothing."""
    return lambda: None


def recorded(model: nn.Module, optimizer: torch.optim.Optimizer, path: Path, schedule: LogSpaced | int = 1) -> Turn:
    """`Recorder`: distances in total and by parameter, by its hook on the optimizer."""
    Recorder(path, model, optimizer, schedule=schedule).flush()
    return lambda: None


def reading(model: nn.Module, optimizer: torch.optim.Optimizer, path: Path) -> Turn:
    """w and w_0 read once by an inner product, and nothing else done: the floor for any exact distance."""
    parameters = [p.detach().flatten() for p in model.parameters()]
    origin = [p.clone() for p in parameters]
    return lambda: [torch.dot(p, w) for p, w in zip(parameters, origin, strict=True)]


def foreach(model: nn.Module, optimizer: torch.optim.Optimizer, path: Path) -> Turn:
    """`torch._foreach_sub` and `_foreach_norm`, read at every update."""
    parameters, kept = [p.detach() for p in model.parameters()], []
    origin = [p.clone() for p in parameters]
    return lambda: kept.append(torch.stack(torch._foreach_norm(torch._foreach_sub(parameters, origin))).tolist())


def item_loop(model: nn.Module, optimizer: torch.optim.Optimizer, path: Path) -> Turn:
    """`(w - w0).norm().item()` for every parameter, kept in a list."""
    origin, kept = [p.detach().clone() for p in model.parameters()], []
    pairs = list(zip((p.detach() for p in model.parameters()), origin, strict=True))
    return lambda: kept.append([(p - w).norm().item() for p, w in pairs])


def measure_steps(report: Report, scale: float) -> None:
    """Training steps, recorded in several ways."""
    variants = {
        "not recorded": nothing,
        "Recorder, every update": recorded,
        "Recorder, 12 a decade": partial(recorded, schedule=LogSpaced(12)),
        "w and w_0 read once": reading,
        "torch._foreach_*": foreach,
        "(w - w0).norm().item()": item_loop,
    }
    found: dict[tuple[str, str, str], float] = {}
    for device in devices():
        for name, task in TASKS.items():
            chosen = {v: attach for v, attach in variants.items() if task.image or "decade" not in v}
            with scratch() as folder:
                turns = {}
                for k, (variant, attach) in enumerate(chosen.items()):
                    model, optimizer, update = task.begin(device)
                    turns[variant] = partial(
                        repeated, update, attach(model, optimizer, folder / f"{k}.zarr"), task.steps, device
                    )
                    turns[variant]()
                results = in_turns(turns, rounds_of(task.rounds, scale))
            report.table(
                f"{name}, {where(device)}", ["", "ms/update", "ratio", "quartiles"], comparison(results, 1e3, 2)
            )
            for variant in list(chosen)[1:3]:
                found[name, device, variant] = median(ratios(results, variant, "not recorded"))
            del turns, model, optimizer, update
            gc.collect()
    every, spaced = list(variants)[1:3]
    report.target("CPU: F1's step at every update, over unrecorded", found["F1", "cpu", every], at_most=1.08)
    report.target("CPU: F1's step, log-spaced, over unrecorded", found["F1", "cpu", spaced], at_most=1.01)
    for name in list(TASKS)[1:]:
        report.target(f"GPU: {name}, over unrecorded", found.get((name, "cuda", every)), at_most=1.01)


def repeated(update: Turn, after: Turn, steps: int, device: str) -> float:
    """Seconds an update takes with what follows it."""

    def turn() -> None:
        for _ in range(steps):
            update()
            after()

    return seconds(turn, device) / steps


def layers(weights: int) -> list[tuple[int, int]]:
    """Eight matrices of about `weights` elements together."""
    return [(8, weights // 64)] * 8


def transformer_shapes() -> list[tuple[int, ...]]:
    """Those of the transformer's weights."""
    with torch.device("meta"):
        return [tuple(p.shape) for p in Transformer().parameters()]


class Weights(nn.Module):
    """Parameters of given shapes, and an optimizer that leaves them as they are: there are no gradients."""

    def __init__(self, shapes: Sequence[tuple[int, ...]], device: str):
        super().__init__()
        torch.manual_seed(0)
        self.list = nn.ParameterList([torch.randn(shape, device=device) for shape in shapes])
        self.optimizer = torch.optim.SGD(self.parameters(), lr=0.0)

    def flat(self) -> Tensor:
        """All of them in one vector, on their device."""
        return torch.cat([p.detach().flatten() for p in self.parameters()])


def measure_snapshots(report: Report, scale: float) -> None:
    """Snapshots: how long the training thread stands still, and when the bytes have reached the file system."""
    throughput: dict[str, float] = {}
    stall = None
    for device in devices():
        for name, shapes, rounds in (("25 M", layers(25_000_000), 61), ("124 M", transformer_shapes(), 15)):
            with scratch() as folder:
                weights = Weights(shapes, device)
                size = 4 * sum(map(prod, shapes))
                variants = snapshot_variants(weights, folder, device)
                in_turns(variants, 1)
                results = in_turns(variants, rounds_of(rounds, scale))
            stalls = {v: [stood for stood, _ in times] for v, times in results.items()}
            totals = {v: [total for _, total in times] for v, times in results.items()}
            rows = [
                [*row, f"{1e-6 * size / median(totals[row[0]]):.0f}", f"{1e3 * median(stalls[row[0]]):.1f}"]
                for row in comparison(totals, 1e3, 0)
            ]
            head = ["", "ms until written", "ratio", "quartiles", "MB/s", "ms the step stands still"]
            report.table(f"A snapshot of {name} weights ({1e-6 * size:.0f} MB), {where(device)}", head, rows)
            if device == "cpu":
                writing = [total - stood for stood, total in results["Recorder"]]
                throughput[name] = median(ratios({**totals, "writing": writing}, "plain file", "writing"))
            elif name == "124 M":
                stall = median(ratios(stalls, "Recorder", "clone on the device"))
    for name, value in throughput.items():
        report.target(f"CPU: throughput of the thread that writes, over a plain file's, {name}", value, at_least=0.8)
    report.target("GPU: the step's stall over a clone on the device, 124 M", stall, at_most=1.2)


def snapshot_variants(weights: Weights, folder: Path, device: str) -> dict[str, Callable[[], tuple[float, float]]]:
    """Ways to keep the weights: each returns the seconds it holds up the training thread, and those until written."""
    state, host = dict(weights.state_dict()), memoryview(weights.flat().cpu().numpy()).cast("B")
    recorder = Recorder(folder / "run.zarr", weights, weights.optimizer, schedule=At(()), snapshots=1)
    recorder.flush()

    def finished(begin: Turn, end: Turn) -> tuple[float, float]:
        for earlier in ("plain", "save.pt"):  # every way writes a new file
            (folder / earlier).unlink(missing_ok=True)
        os.sync()  # earlier turns' bytes are on the disk
        stood = seconds(begin, device)
        return stood, stood + seconds(end, device)

    def plain() -> None:
        with open(folder / "plain", "wb") as file:
            file.write(host)

    def save() -> None:
        torch.save(state, folder / "save.pt")

    def save_async() -> tuple[float, float]:
        shutil.rmtree(folder / "async", ignore_errors=True)
        saving = []
        return finished(
            lambda: saving.append(checkpoint.async_save(state, checkpoint_id=folder / "async", no_dist=True)),
            lambda: saving[0].result(),
        )

    return {
        "plain file": lambda: finished(plain, lambda: None),
        "Recorder": lambda: finished(weights.optimizer.step, recorder.flush),
        "torch.save": lambda: finished(save, lambda: None),
        "checkpoint.async_save": save_async,
        "clone on the device": lambda: finished(lambda: weights.flat(), lambda: None),
    }


def measure_kernel(report: Report, scale: float) -> None:
    """The pass over the weights, and recorded updates that change nothing, against the device's memory bandwidth."""
    f1 = [tuple(p.shape) for p in NETWORKS["f1"]((1, 28, 28), 10).parameters()]
    sizes = {"F1, 1.5 M": f1, "25 M": layers(25_000_000), "transformer, 124 M": transformer_shapes()}
    cpu = {}
    for name, shapes in sizes.items():
        cpu[name] = against_bandwidth(report, name, shapes, "cpu", rounds_of(30, scale))
    for name, value in cpu.items():
        report.target(f"CPU: distance of {name} weights, over reading both buffers", value, at_most=1.3)
    large = {"transformer, 124 M": transformer_shapes(), "1 B": layers(1_000_000_000)}
    for name, shapes in large.items():
        share = None
        if "cuda" in devices():
            share = 1 / against_bandwidth(report, name, shapes, "cuda", rounds_of(30, scale))
        report.target(f"GPU: bandwidth of the kernel over that of a copy, {name}", share, at_least=0.7)


def against_bandwidth(
    report: Report, name: str, shapes: Sequence[tuple[int, ...]], device: str, rounds: int
) -> float:
    """A table; returns the time of a pass over that of moving 8 bytes a weight."""
    with scratch() as folder:
        weights = Weights(shapes, device)
        flat, n, steps = weights.flat(), sum(map(prod, shapes)), max(1, 20_000_000 // sum(map(prod, shapes)))
        other = flat.clone()
        observables = Observables(list(weights.parameters()))
        row = torch.zeros(1, len(shapes), dtype=torch.float64, device=device)
        Recorder(folder / "run.zarr", weights, weights.optimizer).flush()

        def read() -> float:
            """The fastest way found to read two vectors once; on a GPU a copy, which reads one and writes one."""
            if device == "cuda":
                return seconds(lambda: [other.copy_(flat) for _ in range(steps)], device) / steps
            ways = (lambda: torch.dot(flat, other), lambda: (flat.sum(), other.sum()))
            return min(repeated(way, lambda: None, steps, device) for way in ways)

        variants = {
            "copy" if device == "cuda" else "both read once": read,
            "the pass": lambda: repeated(lambda: observables.write(row), lambda: None, steps, device),
            "a recorded update": lambda: repeated(weights.optimizer.step, lambda: None, steps, device),
        }
        in_turns(variants, 2)
        results = in_turns(variants, rounds)
    rows = [[*row, f"{8e-9 * n / median(results[row[0]]):.1f}"] for row in comparison(results, 1e3, 3)]
    report.table(f"{name} weights, {where(device)}", ["", "ms", "ratio", "quartiles", "GB/s"], rows)
    return median(ratios(results, "the pass", next(iter(results))))


def measure_growth(report: Report, scale: float) -> None:
    """Time against weights; time, store and memory against updates; a figure of both."""
    stages = list(updates([10**k for k in range(3, 7 if scale >= 1 else 5)]))  # before large weights take memory
    times = {}
    for device in devices():
        sizes = [10**k for k in range(5, 9 if device == "cpu" else 10)]
        times[device] = {n: recorded_update(n, device, rounds_of(15, scale)) for n in sizes}
        rows = [[f"10^{len(str(n)) - 1}", f"{1e3 * s:.3f}", f"{1e9 * s / n:.3f}"] for n, s in times[device].items()]
        report.table(f"A recorded update, {where(device)}", ["weights", "ms", "ns/weight"], rows)
    if "cuda" not in times:
        report.lines += ["\n### A recorded update, GPU\n", NOT_RUN]
    head = ["updates", "µs/update", "store, MB", "bytes/update", "process, MB"]
    rows = [
        [f"10^{len(str(t)) - 1}", f"{1e6 * s:.1f}", f"{1e-6 * size:.2f}", f"{size / t:.1f}", f"{1e-6 * memory:.0f}"]
        for t, s, size, memory in stages
    ]
    report.table("Ten parameters of one weight each, every update recorded, CPU", head, rows)
    draw(times, stages)
    report.lines += [f"\nDrawn in `{FIGURE}`."]


def recorded_update(weights: int, device: str, rounds: int) -> float:
    """Seconds."""
    with scratch() as folder:
        network = Weights(layers(weights), device)
        Recorder(folder / "run.zarr", network, network.optimizer).flush()
        steps = max(1, 5_000_000 // weights)
        turn = partial(repeated, network.optimizer.step, lambda: None, steps, device)
        turn()
        return median(turn() for _ in range(rounds))


def updates(stages: Sequence[int]) -> Iterator[tuple[int, float, int, int]]:
    """At each number of updates: median seconds an update since the stage before, the store's and process's bytes."""
    with scratch() as folder:
        network = Weights([(1,)] * 10, "cpu")
        network.optimizer.param_groups[0]["lr"] = 1e-6
        for parameter in network.parameters():  # numbers that stay the same would take no room
            parameter.grad = torch.randn_like(parameter)
        network.optimizer.step()  # seconds: torch imports its compiler at the first step
        with Recorder(folder / "run.zarr", network, network.optimizer) as recorder:
            for stage in stages:
                pieces = range(recorder.step, stage, 1000)
                taken = median(repeated(network.optimizer.step, lambda: None, 1000, "cpu") for _ in pieces)
                recorder.flush()
                size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
                yield stage, taken, size, psutil.Process().memory_info().rss


def draw(times: Mapping[str, Mapping[int, float]], stages: Sequence[tuple[int, float, int, int]]) -> None:
    """Time against weights, and the store's size against updates, on logarithmic axes with lines of slope 1."""
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    for device, measured in times.items():
        n, s = list(measured), [1e3 * value for value in measured.values()]
        left.loglog(n, s, "o-", label=where(device))
        left.loglog(
            n, [s[-1] * k / n[-1] for k in n], ":", color="gray", label="proportional" if device == "cpu" else None
        )
    left.set(xlabel="weights", ylabel="recorded update / ms")
    left.legend(frameon=False)
    t, _, size, memory = zip(*stages, strict=True)
    right.loglog(t, [1e-6 * value for value in size], "o-", label="store")
    right.loglog(t, [1e-6 * value for value in memory], "s-", label="process")
    right.loglog(t, [1e-6 * size[-1] * k / t[-1] for k in t], ":", color="gray", label="proportional")
    right.set(xlabel="updates", ylabel="MB")
    right.legend(frameon=False)
    figure.savefig(FIGURE, dpi=150)


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder for stores, gone afterwards, and with it the recorders' threads."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def rounds_of(rounds: int, scale: float) -> int:
    """Quartiles need two."""
    return max(2, round(rounds * scale))


def where(device: str) -> str:
    """As a title says it."""
    return {"cpu": "CPU", "cuda": "GPU"}[device]


def machine() -> str:
    """What the figures belong to."""
    cpuinfo = Path("/proc/cpuinfo")
    models = [line for line in cpuinfo.read_text().splitlines() if "model name" in line] if cpuinfo.exists() else []
    processor = models[0].split(": ")[1] if models else platform.processor() or platform.machine()
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    return (
        f"{processor}, {os.cpu_count()} cores, {torch.get_num_threads()} threads; {gpu}; {platform.system()}, Python"
        f" {platform.python_version()}, torch {torch.__version__}, zarr {zarr.__version__}."
        f" Load when it began: {os.getloadavg()[0]:.1f}."
    )


SECTIONS: dict[str, tuple[str, Callable[[Report, float], None]]] = {
    "step": ("Training steps", measure_steps),
    "snapshot": ("Snapshots", measure_snapshots),
    "kernel": ("A pass over the weights", measure_kernel),
    "growth": ("How the costs grow", measure_growth),
}


def main() -> None:
    """Measures, prints, and writes one file a section."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", choices=SECTIONS, action="append")
    parser.add_argument("--rounds", type=float, default=1.0, help="times the usual number of rounds")
    parser.add_argument("--results", type=Path, default=Path("bench/results"))
    options = parser.parse_args()
    options.results.mkdir(parents=True, exist_ok=True)
    for name in options.only or SECTIONS:
        title, measure = SECTIONS[name]
        host, report = machine(), Report()
        measure(report, options.rounds)
        command = f"python bench/recorder.py --only {name}" + (
            f" --rounds {options.rounds:g}" if options.rounds != 1 else ""
        )
        text = f"# {title}\n\nWritten by `{command}`.\n{host}\n{report.text()}"
        print(text, flush=True)
        (options.results / f"recorder-{name}.md").write_text(text)


if __name__ == "__main__":
    main()
