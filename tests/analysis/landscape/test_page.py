"""The Python blocks of docs/landscape.md run, in order."""

import re
from pathlib import Path

PAGE = (Path(__file__).parents[3] / "docs" / "landscape.md").read_text()


def test_the_python_blocks_run(capsys):
    namespace = {}
    for block in re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL):
        exec(block, namespace)
    assert namespace["found"].n == 5
    shown = capsys.readouterr().out
    assert "largest eigenvalues" in shown
    assert "α = 2 is what Taylor's expansion gives for any smooth loss" in shown
