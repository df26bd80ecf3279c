"""How long the command line takes to begin, and how much of that is the import of libraries.

    python bench/startup.py [--rounds 15] [--out bench/results/startup.txt]

`ultraslow --help`, `info` and `fit` of one run of 5000 updates, each a process of its own, in turns with a Python
that does nothing and with ones that only import the libraries that the command cannot do without. Shown are medians
of the seconds by the clock, their quartiles, and medians of the processor's seconds, which other processes change
less. The first round warms the disk's cache, and is left out. Our packages are compiled to bytecode beforehand, as
installing them does: a checkout that may not keep it (PYTHONDONTWRITEBYTECODE) would compile them in every process.
"""

import argparse
import compileall
import resource
import subprocess
import sys
import tempfile
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from statistics import median, quantiles

import torch
from heading import heading
from recording.report import in_turns, seconds

import analysis
import trajectory
import ultraslow
from trajectory import Recorder

COMMANDS = {
    "python -c pass": ["-c", "pass"],
    "import tyro": ["-c", "import tyro"],
    "ultraslow --help": ["-m", "ultraslow", "--help"],
    "import tyro, rich, zarr": ["-c", "import tyro, rich.console, rich.table, zarr"],
    "ultraslow info": ["-m", "ultraslow", "info", "RUN"],
    "import tyro, zarr, pandas, scipy": ["-c", "import tyro, typeguard, zarr, pandas, scipy.special, scipy.linalg"],
    "ultraslow fit": ["-m", "ultraslow", "fit", "RUN"],
}
TARGETS = {"ultraslow --help": 0.3, "ultraslow info": 0.5, "ultraslow fit": 0.8}


def record(path: Path, updates: int = 5000) -> None:
    """A random walk of a thousand weights."""
    torch.manual_seed(0)
    weights = torch.nn.Linear(1000, 1, bias=False)
    optimizer = torch.optim.SGD(weights.parameters(), lr=0.01)
    with Recorder(path, weights, optimizer):
        for _ in range(updates):
            weights.weight.grad = torch.randn(1, 1000)
            optimizer.step()


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--out", type=Path, default=Path("bench/results/startup.txt"))
    options = parser.parse_args()
    for package in (trajectory, analysis, ultraslow):
        compileall.compile_dir(package.__path__[0], quiet=1)
    with tempfile.TemporaryDirectory() as folder:
        record(Path(folder) / "run.zarr")

        def turn(arguments: list[str]) -> tuple[float, float]:
            command = [sys.executable, *(f"{folder}/run.zarr" if each == "RUN" else each for each in arguments)]
            before = processor()
            clock = seconds(lambda: subprocess.run(command, check=True, capture_output=True))
            return clock, processor() - before

        variants = {name: lambda arguments=arguments: turn(arguments) for name, arguments in COMMANDS.items()}
        in_turns(variants, 1)
        found = in_turns(variants, options.rounds)
    with redirect_stdout(StringIO()) as text:
        heading("zarr", "pandas", "tyro", "rich")
        print(f"{'':>32} {'seconds':>8} {'quartiles':>14} {'processor':>10} {'target':>8}")
        for name, times in found.items():
            low, middle, high = quantiles((clock for clock, _ in times), n=4)
            busy = median(processor for _, processor in times)
            target = f"≤ {TARGETS[name]}" if name in TARGETS else ""
            print(f"{name:>32} {middle:>8.2f} {f'{low:.2f} to {high:.2f}':>14} {busy:>10.2f} {target:>8}")
    print(text.getvalue(), end="")
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(text.getvalue())


def processor() -> float:
    """The processor's seconds of all processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
