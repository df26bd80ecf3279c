"""Coverage of the potential's intervals, the cost of each function of the landscape, and eigenvalues beside others'.

    python bench/landscape.py [--repetitions 200] [--only coverage|agreement|cost|eigenvalues]
    python bench/landscape.py --only coverage --repetitions 1000 --rows 1.5,10,1 1.5,20,8

Coverage: exact fractional fields (analysis.synthetic.fractional_potential), whose α is known, and is that of their
odd and even parts and of all local exponents, which are counted together; --rows names the α, the number of origins
and that of directions of some rows alone. Agreement: how often Welch's test rejects
where the curve's α is the potential's, and where it is .3 higher, and how often its interval holds the difference.
Cost: F1 on random images, in units of a plain loop's forward pass, or of its forward and backward pass, in processor
time; medians over rounds in which all take turns, so that a loaded machine slows them alike. Eigenvalues: the five
largest at the end of a short run on the digits, with running statistics, beside curvlinops with eigsh and PyHessian's
power iteration, which take turns, if they are there (`pip install -e ".[bench]"`).
"""

import argparse
import warnings
from collections.abc import Callable
from dataclasses import replace
from statistics import median
from tempfile import mkdtemp
from time import process_time

import numpy as np
import torch
import torch.nn.functional as F
from heading import heading
from torch import Tensor, nn

from analysis import fit
from analysis.agreement import agreement
from analysis.landscape import Objective, eigenvalues, isotropic, probe, sharpness
from analysis.potential import potential
from analysis.synthetic import fractional_potential, synthetic
from train import RECIPES, rebuild, train
from train.models import f1
from train.reproduce.rebuild import fixed_batch

Z = np.geomspace(0.1, 10, 9)
ROWS = [(alpha, n, k) for alpha in (0.5, 1.0, 1.5) for n, k in ((5, 8), (10, 1), (10, 8), (10, 32), (20, 8), (40, 8))]
TIMED = 5  # rounds
STEPS = 10  # of ascent
DISTANCES = np.geomspace(1, 10, 9)


def coverage(repetitions: int, rows: list[tuple[float, int, int]]) -> None:
    """How often the 95 % intervals hold α, and how often a straight line is rejected at 5 %."""
    error = (0.95 * 0.05 / repetitions) ** 0.5
    print(f"\ncoverage of 95 % on {repetitions} exact fields, two decades, 9 distances (standard error {error:.3f})")
    parts = f"{'odd':>7}{'even':>7}{'local':>7}"
    print(
        f"{'alpha':>6}{'n':>4}{'k':>4}{'about L(w0)':>13}{'about mean':>12}{parts}{'width':>8}{'line rejected':>15}"
    )
    lowest = 1.0
    for alpha, n, k in rows:
        rng = np.random.default_rng(int(100 * alpha) + n + k)
        held = np.zeros(6)
        width = 0.0
        for _ in range(repetitions):
            found = potential((Z, fractional_potential(rng, alpha, Z, origins=n, directions=k)))
            intervals = (part.interval for part in (found, found.centred, found.odd, found.even))
            held[:4] += [low <= alpha <= high for low, high in intervals]
            held[4] += found.local.eval("low <= @alpha <= high").mean()
            held[5] += found.curvature_p < 0.05
            width += (found.interval[1] - found.interval[0]) / repetitions
        share = held / repetitions
        lowest = min(lowest, *share[:5])
        parts = "".join(f"{one:>7.3f}" for one in share[2:5])
        print(
            f"{alpha:>6}{n:>4}{k:>4}{share[0]:>13.3f}{share[1]:>12.3f}{parts}{width:>8.2f}{share[5]:>15.3f}",
            flush=True,
        )
    print(f"lowest coverage {lowest:.3f}; expected .92 or more")


def agreements(repetitions: int) -> None:
    """How often the two α's are found different, where the curve has α = 1."""
    print("\nagreement, 10 origins of 8 directions against three curves of Sinai's law")
    z = np.geomspace(1, 100, 9)
    fits = [fit(synthetic("sinai", t0=0.1, seeds=3, seed=3 * i), t_min=10) for i in range(20)]
    for alpha in (1.0, 1.3):
        rng = np.random.default_rng(int(10 * alpha))
        found = [
            agreement(potential((z, fractional_potential(rng, alpha, z))), fits[i % len(fits)])
            for i in range(repetitions)
        ]
        compared = [one for one in found if one.p_value is not None]
        rejected = np.mean([one.p_value < 0.05 for one in compared])
        held = np.mean([one.interval[0] <= alpha - 1 <= one.interval[1] for one in compared])
        print(
            f"potential {alpha}: {rejected:.2f} rejected of {len(compared)} comparable in {repetitions}; the interval"
            f" holds the difference in {held:.2f}",
            flush=True,
        )


def seconds(calls: dict[str, Callable[[], object]]) -> dict[str, float]:
    """The median processor time of each call, all of them once in every round."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(TIMED + 1):
        for name, call in calls.items():
            start = process_time()
            call()
            if turn:  # the first warms up
                times[name].append(process_time() - start)
    return {name: median(all_times) for name, all_times in times.items()}


def cost() -> None:
    """Each function in units of what a plain loop takes."""
    torch.manual_seed(0)
    model = f1(784, 10)
    x, y = torch.randn(2048, 784), torch.randint(10, (2048,))
    print("\ncost on F1 with 2048 random images, in plain passes")
    for statistics in ("running", "batch"):
        objective = Objective(model, [(x, y)], statistics=statistics)
        w = objective.weights
        v, moved = isotropic(objective), torch.empty_like(w)
        product = objective.hessian()
        parts = Objective(model, zip(x.split(512), y.split(512), strict=True), statistics=statistics)
        model.train(statistics == "batch")

        def forward() -> Tensor:
            with torch.no_grad():
                return F.cross_entropy(model(x), y)

        def backward() -> None:
            model.zero_grad()
            F.cross_entropy(model(x), y).backward()

        taken = seconds(
            {
                "forward": forward,
                "backward": backward,
                "loss": lambda at=objective: at.loss(),
                "gradient": lambda at=objective: at.gradient(),
                "product": lambda at=objective, v=v: at.hessian_vector_product(None, v),
                "products": lambda product=product, v=v: product(v),
                "parts": lambda at=parts, v=v: at.hessian_vector_product(None, v),
                "ascent": lambda at=objective: sharpness(at, steps=STEPS),
                "probe": lambda at=objective, w=w: probe(at, [w], DISTANCES, directions=2),
                "move": lambda w=w, v=v, moved=moved: torch.add(w, v, alpha=2.0, out=moved),
                "draw": lambda at=objective: isotropic(at),
            }
        )
        used = sharpness(objective, steps=STEPS).gradients
        made = 4 * len(DISTANCES)
        one, both = taken["forward"], taken["backward"]
        rows = [
            ("loss", taken["loss"] / one, "forward passes", None),
            ("gradient", taken["gradient"] / both, "gradients", None),
            ("Hessian-vector product, one", taken["product"] / both, "gradients", None),
            ("one of many at a point", taken["products"] / both, "gradients", 2.5),
            ("of four batches", taken["parts"] / both, "gradients", None),
            ("ascent step", (taken["ascent"] - taken["loss"]) / used / both, "gradients", 1.2),
            ("probe, a point", (taken["probe"] - taken["gradient"]) / made / one, "forward passes", 1.1),
            ("  moving the weights", taken["move"] / one, "forward passes", None),
            ("  its share of a direction", taken["draw"] / (2 * len(DISTANCES)) / one, "forward passes", None),
        ]
        print(f"{statistics} statistics: forward {one:.3g} s, forward and backward {both:.3g} s")
        for name, value, unit, at_most in rows:
            wanted = f", expected {at_most} or less" if at_most else ""
            print(f"  {name:<28}{value:>6.2f} {unit}{wanted}", flush=True)


def eigenvalue_methods() -> None:
    """Five eigenvalues by each method: time, and the largest error relative to the largest eigenvalue."""
    path = train(replace(RECIPES["f1-digits"](), epochs=2), f"{mkdtemp()}/digits.zarr")
    model, data = rebuild(path)
    model.eval()
    x, y = fixed_batch(data, 1024)
    objective = Objective(model, [(x, y)])
    reference = eigenvalues(objective, tol=1e-10).values
    methods: dict[str, Callable[[], np.ndarray]] = {
        "analysis.landscape": lambda: eigenvalues(objective).values,
        "curvlinops, eigsh": lambda: _curvlinops(model, x, y),
        "PyHessian, power iteration": lambda: _pyhessian(model, x, y),
    }
    print(
        f"\nfive largest eigenvalues of f1-small on 1024 digits, {len(objective.weights)} weights, running statistics"
    )
    found: dict[str, np.ndarray] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, method in list(methods.items()):
            try:
                found[name] = method()
            except ImportError:
                print(f"  {name:<28} not installed")
                del methods[name]
        taken = seconds(methods)
    for name, values in found.items():
        error = np.abs(np.sort(values)[::-1] - reference).max() / reference[0]
        print(f"  {name:<28}{taken[name]:>7.2f} s   error {error:.1e}", flush=True)


def _curvlinops(model: nn.Module, x: Tensor, y: Tensor) -> np.ndarray:
    from curvlinops import HessianLinearOperator
    from scipy.sparse.linalg import eigsh

    parameters = list(model.parameters())
    loss = nn.CrossEntropyLoss()
    operator = HessianLinearOperator(model, loss, parameters, [(x, y)], check_deterministic=False).to_scipy()
    start = np.random.default_rng(0).normal(size=operator.shape[0]).astype("float32")
    return eigsh(operator, k=5, which="LA", tol=1e-3, ncv=15, v0=start, return_eigenvectors=False)


def _pyhessian(model: nn.Module, x: Tensor, y: Tensor) -> np.ndarray:
    from pyhessian import hessian

    values, _ = hessian(model, nn.CrossEntropyLoss(), data=(x, y), cuda=False).eigenvalues(top_n=5, tol=1e-3)
    return np.array(values)


def _row(text: str) -> tuple[float, int, int]:
    alpha, origins, directions = text.split(",")
    return float(alpha), int(origins), int(directions)


def main() -> None:
    """Print the tables asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=200)
    parser.add_argument("--only", choices=("coverage", "agreement", "cost", "eigenvalues"))
    parser.add_argument("--rows", type=_row, nargs="+", default=ROWS, metavar="ALPHA,ORIGINS,DIRECTIONS")
    args = parser.parse_args()
    heading("torch")
    tables = {
        "coverage": lambda: coverage(args.repetitions, args.rows),
        "agreement": lambda: agreements(args.repetitions),
        "cost": cost,
        "eigenvalues": eigenvalue_methods,
    }
    for name, table in tables.items():
        if args.only in (None, name):
            table()


if __name__ == "__main__":
    main()
