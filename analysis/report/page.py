"""The HTML of a report: sections, tables, and charts that a script draws. All text is escaped."""

import json
from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from gzip import compress
from html import escape

from analysis.errors import printable
from analysis.report.plotly_parts import Chart
from analysis.serialize import Tabulated, jsonable

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 0 auto; padding: 1rem; color: #222; }
h1 { font-size: 1.5rem } h2 { font-size: 1.2rem; margin-top: 2.5rem } h3 { font-size: 1rem; overflow-wrap: anywhere }
p, li { overflow-wrap: anywhere }
.wide { overflow-x: auto } .warnings { border-left: 4px solid #D55E00; padding-left: 1.5rem }
table { border-collapse: collapse; font-size: .85rem; font-variant-numeric: tabular-nums; margin: .5rem 0 }
th, td { padding: .15rem .6rem .15rem 0; text-align: left; vertical-align: top }
thead th, tr:first-child th { border-bottom: 1px solid #999 }
.rows td { white-space: nowrap }
.note { color: #555; font-size: .85rem } .chart { width: 100% }
"""

# Chrome 80, Firefox 113 and Safari 16.4 unpack gzip; an older browser shows all but the charts.
_SCRIPT = """
async function unpacked(id) {
  const bytes = Uint8Array.from(atob(document.getElementById(id).textContent), c => c.charCodeAt(0));
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).text();
}
async function draw() {
  const code = document.createElement("script");
  code.textContent = await unpacked("plotly");
  document.head.append(code);
  const charts = JSON.parse(await unpacked("charts"));
  for (const [id, chart] of Object.entries(charts)) {
    const export_ = {format: "svg", filename: "ultraslow-" + id};
    const config = {responsive: true, displaylogo: false, toImageButtonOptions: export_};
    await Plotly.newPlot(id, chart.data, chart.layout, config);
  }
  document.body.dataset.drawn = Object.keys(charts).length;
}
draw().catch(error => {
  for (const place of document.querySelectorAll(".chart"))
    place.textContent = "This browser cannot draw the chart (" + error + "); the tables hold its numbers.";
});
"""

_POLICY = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:"


def page(title: str, body: Iterable[str], charts: Mapping[str, Chart], plotly: str) -> str:
    """Return a page that loads nothing: its policy forbids it.

    Args:
        title: of the page.
        body: HTML, in order.
        charts: by the `id` of the place in `body` where each is drawn.
        plotly: the source of plotly.js.

    Returns:
        The HTML document.
    """
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{text(title)}</title>
<style>{_STYLE}</style>
</head>
<body>
{"".join(body)}
<script type="text/plain" id="plotly">{_packed(plotly)}</script>
<script type="text/plain" id="charts">{_packed(json.dumps(jsonable(charts)))}</script>
<script>{_SCRIPT}</script>
</body>
</html>
"""


def section(title: str, *parts: str) -> str:
    """Return a section.

    Args:
        title: its heading.
        *parts: HTML, in order.
    """
    return f"<section><h2>{text(title)}</h2>{''.join(parts)}</section>\n"


def place(name: str) -> str:
    """Return the element that a chart is drawn in.

    Args:
        name: its `id`, of letters and digits.
    """
    return f'<div class="chart" id="{name}"></div>'


def text(value: object) -> str:
    """Return text for HTML, without control characters.

    Args:
        value: anything; its `str` is shown.
    """
    return escape(printable(str(value)))


def sentences(said: Sequence[str], kind: str = "") -> str:
    """Return a list of sentences.

    Args:
        said: the sentences.
        kind: the list's class.
    """
    return f'<ul class="{kind}">{"".join(f"<li>{text(one)}</li>" for one in said)}</ul>'


def note(sentence: str) -> str:
    """Return a remark below a chart.

    Args:
        sentence: the remark.
    """
    return f'<p class="note">{text(sentence)}</p>'


def table(rows: Sequence[Mapping[str, object]]) -> str:
    """Return a table that scrolls by itself where the screen is narrow.

    Args:
        rows: the cells by column; a column that a row lacks is empty there.
    """
    names = list(dict.fromkeys(name for row in rows for name in row))
    head = "".join(f"<th>{text(name)}</th>" for name in names)
    lines = ("".join(f"<td>{text(row.get(name, ''))}</td>" for name in names) for row in rows)
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    return f'<div class="wide rows"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def result(found: Tabulated) -> str:
    """Return a result's own table, as a notebook shows it.

    Args:
        found: the result.
    """
    return f'<div class="wide">{found._repr_html_()}</div>'


def _packed(source: str) -> str:
    return b64encode(compress(source.encode(), mtime=0)).decode()
