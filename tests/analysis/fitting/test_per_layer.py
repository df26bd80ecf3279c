"""α by layer, where there are no layers; with layers: `tests/analysis/test_recorded.py`."""

import numpy as np
import pytest

from analysis import fit_layers
from analysis.errors import CurveError


def test_arrays_have_no_layers():
    t = np.geomspace(1, 1e4, 49)
    with pytest.raises(CurveError, match="need a run"):
        fit_layers((t, t**0.3))
