"""The tables and figures of docs/landscape.md, from the committed results.

    python bench/landscape_tables.py [--results docs/results] [--doc docs/landscape.md]

Reads basin.json (bench/basin.py --export) and minima.json (bench/minima.py --export). Rewrites what stands between
`<!-- table: NAME -->` and `<!-- end -->` in the document, and docs/figures/landscape-*.png. It measures nothing.
"""

import argparse
import json
from pathlib import Path

from study.basin_figures import steady_basin
from study.basin_tables import BASIN_TABLES
from study.minima_figures import lines
from study.minima_tables import MINIMA_TABLES
from what_the_data_say import rewrite

from analysis.figures.palette import png


def main() -> None:
    """Rewrites the document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=Path("docs/results"))
    parser.add_argument("--doc", type=Path, default=Path("docs/landscape.md"))
    options = parser.parse_args()
    walks = json.loads((options.results / "basin.json").read_text())
    minima = json.loads((options.results / "minima.json").read_text())
    rewrite(options.doc, [(name, make(walks)) for name, make in BASIN_TABLES.items()])
    rewrite(options.doc, [(name, make(minima)) for name, make in MINIMA_TABLES.items()])
    for name, figure in (("basin", steady_basin(walks)), ("lines", lines(minima))):
        (options.doc.parent / "figures" / f"landscape-{name}.png").write_bytes(png(figure, dpi=150))


if __name__ == "__main__":
    main()
