"""Everything that a GPU has to say, in order of worth, within a given time; needs one card and no network.

    python bench/gpu.py [--minutes 25] [--wheels DIR] [--data-root data] [--results bench/results]

Each section below is a process of its own, so that one that fails or hangs takes none of the others along. What it
has measured is in `gpu.md` under --results after each section, also when the time is over or the command is stopped.
A section that no time is left for is named there.

correctness: every path that differs on a GPU against the CPU or a float64 twin (`pytest -m cuda`).
kernel: the pass over 10^6 to 10^9 weights, against a copy.
steps: recorded updates of ResNet44 and of a transformer of 124 M weights, against unrecorded ones.
graphs: the same captured in a CUDA graph and replayed.
snapshots: how long the step stands still, against a clone on the device.
fsdp: recorded updates of the transformer under FSDP2 on one card.
ghost: ghost batch norm, against plain batch norm and a loop over chunks.
trainer: the trainer's updates a second, against a DataLoader; its switches.
seeds: 30 seeds of F1 trained as one computation, against one.
cifar: ResNet44 on CIFAR-10 by every method of the paper, as many epochs as the time that is left allows.

What is installed is used, and ultraslow itself is taken from this clone. A machine without a network may lack some of
its dependencies; the command then names them. Bring them as a folder of wheels:

    pip download -d wheels --no-deps --only-binary=:all: --platform manylinux2014_x86_64 --python-version 3.12 NAME
    python bench/gpu.py --wheels wheels

--device cpu tries the command out where there is no GPU, on small sizes; its figures say nothing.
"""

import argparse
import os
import re
import signal
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from time import monotonic

ROOT = Path(__file__).resolve().parents[1]
LEAST = 20.0  # seconds: a section is not begun with less


@dataclass(frozen=True)
class Section:
    """A part of the measurement, and how many seconds of a full run it is meant to take."""

    title: str
    seconds: float


SECTIONS = {
    "correctness": Section("Every path on the GPU against the CPU", 100),
    "kernel": Section("The pass over the weights", 80),
    "steps": Section("Recorded updates", 240),
    "graphs": Section("Recorded updates in a CUDA graph", 80),
    "snapshots": Section("Snapshots", 80),
    "fsdp": Section("FSDP2 on one card", 60),
    "ghost": Section("Ghost batch norm", 60),
    "trainer": Section("The trainer against a DataLoader", 120),
    "seeds": Section("Thirty seeds as one computation", 80),
    "cifar": Section("ResNet44 on CIFAR-10", 600),
}


def main() -> int:
    """Runs the sections; returns the exit status: 1 if one of them failed, 2 for a command that cannot begin."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=25.0, help="for everything, installation included")
    parser.add_argument("--wheels", type=Path, metavar="DIR", help="folder of wheels to install first, for this run")
    parser.add_argument("--data-root", type=Path, default=Path("data"), help="where CIFAR-10 is")
    parser.add_argument("--results", type=Path, default=Path("bench/results"))
    parser.add_argument("--only", choices=SECTIONS, action="append", help="this section; may be repeated")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    options = parser.parse_args()
    end = monotonic() + 60 * options.minutes
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'bench'}", "PYTHONUNBUFFERED": "1"}
        if options.wheels is not None:
            if not list(options.wheels.glob("*.whl")):
                print(f"bench/gpu.py: {options.wheels} holds no wheels (*.whl)", file=sys.stderr)
                return 2
            install(options.wheels, Path(folder) / "site")
            environment["PYTHONPATH"] += f"{os.pathsep}{folder}/site"
            sys.path.insert(0, f"{folder}/site")
        if absent := missing():
            names = " ".join(absent)
            print(f"bench/gpu.py: not installed: {names}; bring them as wheels: --wheels DIR", file=sys.stderr)
            return 2
        fault = unimportable(environment) or unusable(options.device, environment)
        if fault is not None:
            print(f"bench/gpu.py: {fault}", file=sys.stderr)
            return 2
        return measure(options, environment, Path(folder), end)


def install(wheels: Path, target: Path) -> None:
    """All of them, without what they need, into a folder."""
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--no-compile"]
    subprocess.run([*pip, "--target", target, *sorted(wheels.glob("*.whl"))], check=True)


def missing() -> list[str]:
    """The distributions that ultraslow needs and that are not installed."""
    needed = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    names = [re.split(r"[<>=!~;\[ ]", each, maxsplit=1)[0] for each in (*needed, "psutil", "pytest", "hypothesis")]

    def is_installed(name: str) -> bool:
        try:
            return bool(version(name))
        except PackageNotFoundError:
            return False

    return [name for name in names if not is_installed(name)]


def unimportable(environment: Mapping[str, str]) -> str | None:
    """Why ultraslow cannot be imported, in a line: what is installed may need something that is not."""
    probe = "import analysis.landscape, train, trajectory, ultraslow.cli"
    done = subprocess.run([sys.executable, "-c", probe], env=environment, capture_output=True, text=True)
    if done.returncode == 0:
        return None
    return f"{done.stderr.strip().splitlines()[-1]}; bring what is missing as wheels: --wheels DIR"


def unusable(device: str, environment: Mapping[str, str]) -> str | None:
    """Why torch cannot use the device, in a line."""
    probe = f"import torch; torch.zeros(1, device={device!r}).add(1).item()"
    done = subprocess.run([sys.executable, "-c", probe], env=environment, capture_output=True, text=True)
    if done.returncode == 0:
        return None
    reason = done.stderr.strip().splitlines()[-1]
    return f"torch cannot use {device} here ({reason}); --device cpu tries the command out"


def measure(options: argparse.Namespace, environment: Mapping[str, str], folder: Path, end: float) -> int:
    """Runs the sections and keeps what they have written in the result file, after each and while they run."""
    options.results.mkdir(parents=True, exist_ok=True)
    result, parts, failed = options.results / "gpu.md", [head(options, environment)], []
    names = options.only or list(SECTIONS)
    scale = min(1.0, (end - monotonic()) / sum(SECTIONS[name].seconds for name in names))
    for name in names:
        section, left = SECTIONS[name], end - monotonic()
        print(f"{name}: {section.title}, {left / 60:.1f} min left", flush=True)
        parts.append(f"\n## {section.title}\n")
        if left < LEAST:
            parts.append(f"\nNo time was left for it: `python bench/gpu.py --only {name}`.\n")
            continue
        seconds = left if name == "cifar" else min(scale * section.seconds, left)
        part = folder / f"{name}.md"
        status = run(name, seconds, min(left, 2 * seconds + 60), part, options, environment)
        parts.append(part.read_text() if part.exists() else "")
        if status is not None:
            failed.append(name)
            parts.append(f"\n**{status}**\n")
        result.write_text("".join(parts))
    result.write_text("".join(parts))
    print(f"{result}" + (f"; failed: {', '.join(failed)}" if failed else ""))
    return 1 if failed else 0


def head(options: argparse.Namespace, environment: Mapping[str, str]) -> str:
    """What the figures belong to."""
    probe = "from recorder import machine; print(machine())"
    host = subprocess.run([sys.executable, "-c", probe], env=environment, check=True, capture_output=True, text=True)
    command = " ".join(["python bench/gpu.py", *sys.argv[1:]])
    warning = "\nTried out on a CPU: the figures say nothing of a GPU.\n" if options.device == "cpu" else ""
    return f"# On a GPU\n\nWritten by `{command}`.\n{host.stdout.strip()}\n{warning}"


def run(
    name: str,
    seconds: float,
    limit: float,
    part: Path,
    options: argparse.Namespace,
    environment: Mapping[str, str],
) -> str | None:
    """One section, whose lines are shown; returns what went wrong."""
    command = [sys.executable, str(ROOT / "bench" / "on_gpu" / "section.py"), name, "--device", options.device]
    command += ["--seconds", f"{seconds:.0f}", "--out", str(part), "--data-root", str(options.data_root.resolve())]
    started = monotonic()
    process = subprocess.Popen(
        command,
        env=environment,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,  # its own processes are stopped with it
    )
    try:
        output, _ = process.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return f"Stopped after {limit:.0f} s; what is above was measured before."
    for line in indented(output):
        print(line, flush=True)
    if process.returncode != 0:
        lines = output.strip().splitlines()
        return f"Failed after {monotonic() - started:.0f} s: {lines[-1] if lines else f'status {process.returncode}'}"
    return None


def indented(text: str) -> Iterator[str]:
    """The lines of a section's output."""
    return (f"    {line}" for line in text.rstrip().splitlines())


if __name__ == "__main__":
    sys.exit(main())
