"""The study's curves as files: one for each run while it trains, one for each setting in docs/curves."""

import io
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Self

import numpy as np

from study.settings import SETTINGS, Setting

HIDDEN = 3  # the first groups: weights in front of a batch norm, whose length changes nothing the network computes
_DIGITS = 14  # binary digits kept: 6e-5 of a square, a tenth of what differs from update to update
_COMMON = ("t", "origins")

Curve = tuple[np.ndarray, np.ndarray]
"""t (T,), updates from the origin, and the distance (T,)."""


@dataclass(frozen=True, eq=False)
class LongCurves:
    """All seeds of a setting: the arrays that `study.recording.record` returns, with a first axis of seeds."""

    setting: Setting
    arrays: dict[str, np.ndarray]

    @classmethod
    def read(cls, setting: Setting, folder: Path) -> Self:
        """What `pack` wrote."""
        with np.load(packed(setting, folder)) as file:
            return cls(setting, dict(file))

    @cached_property
    def origins(self) -> list[int]:
        """Updates from which distances were measured."""
        return [int(s) for s in self.arrays["origins"]]

    @property
    def seeds(self) -> int:
        """Number of runs."""
        return len(self.arrays["loss"])

    @property
    def loss(self) -> float:
        """The loss after the last origin, mean over its updates and the seeds."""
        late = self.arrays["t"] > self.setting.updates / 10
        return float(self.arrays["loss"][:, late].mean())

    def age(self, origin: int) -> float:
        """The origin in memory times."""
        return origin / self.setting.memory

    def at_age(self, multiple: float) -> int:
        """The origin that lies a multiple of the memory time after the start."""
        return round(multiple * self.setting.memory)

    def distance(self, origin: int, group: int | None = None) -> list[Curve]:
        """‖w_{s+t} − w_s‖ of each seed, of all weights or of one group."""
        squares = self.arrays["distance"][:, self.origins.index(origin)].astype(float)
        return self._curves(np.sqrt(squares.sum(axis=2) if group is None else squares[..., group]))

    def direction(self, origin: int) -> list[Curve]:
        """√Σ 2(1 − cos) of each seed over the hidden layers' weights: what of the distance no norm is in."""
        place = self.origins.index(origin)
        squares, norms = (self.arrays[name][:, place, :, :HIDDEN].astype(float) for name in ("distance", "norm"))
        now, then = np.sqrt(norms), np.sqrt(norms[:, :1])
        return self._curves(np.sqrt(((squares - (now - then) ** 2) / (now * then)).sum(axis=2)))

    def averaged(self, ages: Sequence[float], *, group: int | None = None, direction: bool = False) -> list[Curve]:
        """Each seed's geometric mean over origins of these ages, up to the t that all of them reach."""
        places = map(self.at_age, ages)
        by_origin = [self.direction(s) if direction else self.distance(s, group) for s in places]
        rows = min(len(t) for curves in by_origin for t, _ in curves)
        return [
            (seeds[0][0][:rows], np.exp(np.mean([np.log(d[:rows]) for _, d in seeds], axis=0)))
            for seeds in zip(*by_origin, strict=True)
        ]

    def _curves(self, lengths: np.ndarray) -> list[Curve]:
        t = self.arrays["t"]
        return [(t[kept], one[kept]) for one in lengths for kept in [(t > 0) & np.isfinite(one)]]


def packed(setting: Setting, folder: Path) -> Path:
    """The file of a setting's seeds."""
    return folder / f"long-{setting.name}.npz"


def pack(setting: Setting, runs: Sequence[Path], folder: Path) -> Path:
    """Write the seeds of a setting into one file, rounded, from the origins that the tables need."""
    folder.mkdir(parents=True, exist_ok=True)
    seeds = [np.load(run) for run in runs]
    arrays = {
        name: seeds[0][name] if name in _COMMON else _rounded(np.stack([one[name] for one in seeds]))
        for name in seeds[0].files
    }
    kept = np.isin(arrays["origins"], setting.packed_origins)
    arrays["origins"] = arrays["origins"][kept]
    for name in ("distance", "norm"):
        arrays[name] = arrays[name][:, kept]
    path = packed(setting, folder)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as file:  # np.load reads it; a quarter less than zlib
        for name, values in arrays.items():
            _write(file, f"{name}.npy", values)
    return path


def _write(file: zipfile.ZipFile, name: str, values: np.ndarray) -> None:
    """Write an array without the time of day, so that the same arrays give the same bytes."""
    content = io.BytesIO()
    np.save(content, values)
    file.writestr(zipfile.ZipInfo(name), content.getvalue(), zipfile.ZIP_LZMA)


def read_all(folder: Path) -> dict[str, LongCurves]:
    """Every setting that is packed in a folder, by name."""
    return {one.name: LongCurves.read(one, folder) for one in SETTINGS if packed(one, folder).exists()}


def _rounded(values: np.ndarray) -> np.ndarray:
    mantissa, exponent = np.frexp(values.astype(float))
    return np.ldexp(np.round(np.ldexp(mantissa, _DIGITS)), exponent - _DIGITS).astype(np.float32)
