"""How long the command line takes to begin, and how much of that is the import of libraries.

    python bench/startup.py [--rounds 15] [--out bench/results/startup.txt]

`ultraslow --help`, `info` and `fit` of one run of 5000 updates, each a process of its own, in turns with a Python
that does nothing and with ones that only import the libraries that the command cannot do without. Shown are medians
of the seconds by the clock and quartiles. The first round warms the disk's cache, and is left out.
"""

import argparse
import subprocess
import sys
import tempfile
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from statistics import quantiles

import torch
from heading import heading
from recording.report import in_turns, seconds

from trajectory import Recorder

COMMANDS = {
    "python -c pass": ["-c", "pass"],
    "import tyro, rich": ["-c", "import tyro, rich.console"],
    "ultraslow --help": ["-m", "ultraslow", "--help"],
    "import tyro, rich, zarr, pandas": ["-c", "import tyro, rich.console, zarr, pandas"],
    "ultraslow info": ["-m", "ultraslow", "info", "RUN"],
    "the same and scipy.optimize": ["-c", "import tyro, rich.console, zarr, pandas, scipy.optimize"],
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
    with tempfile.TemporaryDirectory() as folder:
        record(Path(folder) / "run.zarr")

        def turn(arguments: list[str]) -> float:
            command = [sys.executable, *(f"{folder}/run.zarr" if each == "RUN" else each for each in arguments)]
            return seconds(lambda: subprocess.run(command, check=True, capture_output=True))

        variants = {name: lambda arguments=arguments: turn(arguments) for name, arguments in COMMANDS.items()}
        in_turns(variants, 1)
        found = in_turns(variants, options.rounds)
    with redirect_stdout(StringIO()) as text:
        heading("zarr", "pandas", "tyro", "rich")
        print(f"{'':>32} {'seconds':>8} {'quartiles':>14} {'target':>8}")
        for name, times in found.items():
            low, middle, high = quantiles(times, n=4)
            target = f"≤ {TARGETS[name]}" if name in TARGETS else ""
            print(f"{name:>32} {middle:>8.2f} {f'{low:.2f} to {high:.2f}':>14} {target:>8}")
    print(text.getvalue(), end="")
    options.out.write_text(text.getvalue())


if __name__ == "__main__":
    main()
