"""docs/what-the-data-say.md holds the tables that bench/what_the_data_say.py makes of the committed curves."""

import re
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest
from study.curve_files import read_all
from study.tables import TABLES

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs" / "what-the-data-say.md"
NUMBER = r"\d+(?:\.\d+)?|\.\d+"


@pytest.fixture(scope="module")
def study():
    return read_all(ROOT / "docs" / "curves")


def agree(made, committed):
    """Compare numbers to one unit of their last digit: an optimum may be rounded on either side."""
    assert re.sub(NUMBER, "0", made) == re.sub(NUMBER, "0", committed)
    for there, here in zip(re.findall(NUMBER, committed), re.findall(NUMBER, made), strict=True):
        unit = Decimal(1).scaleb(Decimal(there).as_tuple().exponent)
        assert abs(Decimal(there) - Decimal(here)) <= unit, (there, here)


@pytest.mark.parametrize("name", ["runs", "steady", "origins", "exponents", "rates", "equilibrium"])
def test_tables_that_are_made_at_once_are_what_the_curves_give(study, name):
    (committed,) = re.findall(rf"<!-- table: {name} -->\n(.*?)\n<!-- end -->", DOCUMENT.read_text(), re.DOTALL)
    agree("\n".join(TABLES[name](study)), committed)


@pytest.mark.slow
def test_all_tables_are_what_the_curves_give(tmp_path):
    copy = tmp_path / DOCUMENT.name
    copy.write_text(DOCUMENT.read_text())
    (tmp_path / "figures").mkdir()
    command = [sys.executable, "bench/what_the_data_say.py", "--doc", str(copy)]
    subprocess.run(command, cwd=ROOT, check=True)
    agree(copy.read_text(), DOCUMENT.read_text())
