"""The report: what it says, that names stay text, that no extreme is lost, and that a browser draws it."""

import base64
import gzip
import json
import re
import shutil

import numpy as np
import pytest
import torch

from analysis import Curve, runs_in
from analysis.errors import FigureError
from analysis.report import charts, write, write_report
from analysis.report.findings import Findings
from trajectory import Recorder

HOSTILE = '<img src=x onerror="alert(1)"></script><b>$x$ %{y}\x1b[31m'


def record(path, label, batch_size, *, updates=1500, drop=None, seed=0, pace=1.0, more=(), origins=(), **settings):
    """A run whose distance is pace · log(t + 1)², and whose second parameter stays where it is."""
    model = torch.nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    config = {"label": label, "batch_size": batch_size, "lr": 0.1, "train_size": 160, **settings}
    rng, at = np.random.default_rng(seed), 0.0
    quantities = ["distance", "update_norm", *more]
    options = {"config": config, "seed": seed, "quantities": quantities, "origins": origins}
    with Recorder(path, model, optimizer, **options) as recorder:
        for t in range(1, updates + 1):
            d = pace * np.log(t + 1) ** 2 * np.exp(1e-3 * rng.normal())
            model.weight.grad = torch.tensor([[at - d, 0.0, 0.0, 0.0]], dtype=torch.float32)
            optimizer.step()
            at = d
            if t % 100 == 0:
                recorder.log(validation_error=1 / t)
            if t == drop:
                recorder.event("lr_drop", lr_from=1.0, lr_to=0.1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reported")
    for seed in range(3):
        record(folder / f"sb-{seed}.zarr", "SB 16", 16, drop=1000, seed=seed, weight_decay=1e-4)
    record(folder / "lb.zarr", HOSTILE, 256, seed=7, pace=1.1)
    balance = {"weight_decay": 0.01, "momentum": 0.0}
    record(folder / "slow.zarr", "slow", 64, updates=600, pace=0.7, more=["norm"], **balance)
    record(folder / "short.zarr", "short", 32, updates=3)
    record(folder / "empty.zarr", "empty", 32, updates=0)
    return folder


@pytest.fixture(scope="module")
def findings(folder):
    return Findings.of(runs_in(folder))


@pytest.fixture(scope="module")
def made(folder):
    """The page without plotly.js: its text, and its charts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(write, "_plotly", lambda: "")
        write_report(folder, folder / "report.html")
    html = (folder / "report.html").read_text()
    packed = re.search(r'id="charts">([^<]*)<', html)[1]
    return html, json.loads(gzip.decompress(base64.b64decode(packed)))


def unpacked(values):
    return np.frombuffer(base64.b64decode(values["bdata"]), "<f4")


def test_the_sections_come_in_order_and_warnings_before_all_charts(made):
    html, _ = made
    titles = re.findall(r"<h2>(.*?)</h2>", html)
    assert titles == [
        "Summary", "Warnings", "Runs", "Distance", "Validation error", "The ultra-slow law",
        "α against the start of the fit", "Rival laws", "Matching", "Layers", "Motion budget",
        "Equilibrium of weight decay", "Provenance",
    ]  # fmt: skip


def test_what_cannot_be_computed_is_a_warning_and_the_rest_is_there(made):
    html, drawn = made
    warned = html[html.index("<h2>Warnings") : html.index("<h2>Runs")]
    assert "empty: no distance is recorded" in warned
    assert "short: no fit (" in warned
    assert "SB 16: no motion budget (" not in warned  # the momentum that no run notes is read off the optimizers
    assert {"distance", "error", "fit", "scan", "laws0", "layers0"} <= set(drawn)


def test_errors_over_more_than_a_decade_lie_on_a_logarithmic_axis(made, folder):
    _, drawn = made
    assert drawn["error"]["layout"]["yaxis"]["type"] == "log"
    few = charts.errors(Findings.of(runs_in(folder / "slow.zarr")))  # of 100 to 600 updates, at which it is 1/t
    assert "type" not in few["layout"]["yaxis"]


def test_it_says_what_the_analysis_says(findings, made):
    html, drawn = made
    fit = findings.fits["SB 16"]
    assert f": α = {fit.alpha:.2f}, 95 % interval" in html
    assert findings.reference == "SB 16"
    assert [str(one.matches[0].step) in html for one in findings.matchings] == [True, True, True]
    bins = drawn["fit"]["data"][[trace["name"] for trace in drawn["fit"]["data"]].index("SB 16")]
    np.testing.assert_allclose(unpacked(bins["y"]), np.exp(fit.z.mean(axis=0)), rtol=1e-6)


def test_the_law_is_fitted_from_the_origin_that_fit_takes(tmp_path, monkeypatch):
    monkeypatch.setattr(write, "_plotly", lambda: "")
    record(tmp_path / "old.zarr", "old", 16, updates=2500, origins=[20, 400], weight_decay=0.01, momentum=0.0)
    findings = Findings.of(runs_in(tmp_path / "old.zarr"))
    assert (findings.fits["old"].origin, findings.comparisons["old"].origin) == (400, 400)
    write_report(tmp_path / "old.zarr", tmp_path / "report.html")
    assert "from update 400 on" in (tmp_path / "report.html").read_text()
    chart = charts.fits(findings)
    assert chart["layout"]["yaxis"]["title"]["text"] == "distance from the origin"
    assert chart["data"][0]["name"] == "old from update 400"


def test_a_match_that_has_not_come_is_forecast_with_its_interval(findings, made):
    (forecast,) = filter(None, findings.forecasts)
    html, drawn = made
    assert html.count(f"slow: {forecast.sentence}") == 2  # in the summary, and beside the matches
    (marker,) = [trace for trace in drawn["distance"]["data"] if trace["name"] == "forecast, 90 &#37;"]
    assert unpacked(marker["y"])[0] == pytest.approx(forecast.target)
    assert 600 < forecast.interval[0] < forecast.step


def test_the_equilibrium_is_said_or_how_much_of_the_memory_has_passed(made):
    html, _ = made
    said = "0.1 memory times of 10,000 updates have passed; the equilibrium of weight decay takes 5. "
    assert f'<h3>SB 16</h3><p class="note">{said}' in html
    assert "slow: the equilibrium of weight decay is reached in 0 of 2 parameters, after 0.6 memory times" in html


def test_runs_are_told_apart_by_the_settings_in_which_they_differ(made):
    html, _ = made
    rows = html[html.index("<h2>Runs") : html.index("<h2>Distance")]
    assert "<th>batch_size</th>" in rows
    assert "<th>train_size</th>" not in rows
    assert "The same in all: lr 0.1, train_size 160." in rows


def test_names_are_text(made):
    html, drawn = made
    assert "<img" not in html
    assert html.count("</script>") == 3
    assert "\x1b" not in html
    words = json.dumps(drawn, ensure_ascii=False)
    assert "<img" not in words
    assert "%{y}\\" not in words


def test_a_parameter_that_never_moves_has_no_logarithm(made):
    _, drawn = made
    (heat,) = drawn["layers0"]["data"]
    values = unpacked(heat["z"]).reshape(len(heat["y"]), -1)
    assert np.isnan(values[heat["y"].index("bias")]).all()
    assert np.isfinite(values[heat["y"].index("weight")]).all()


def test_a_long_line_is_thinned_and_keeps_its_extremes():
    t = np.arange(1.0, 1_000_001)
    d = np.random.default_rng(0).normal(10, 1, len(t))
    d[271_828], d[3] = 99, 0.5
    run = Findings((), {"one": [Curve(t, d, "one")]}, {}, {}, {}, {}, {}, "", (), (), (), ())
    chart = charts.distances(run)
    (line,) = chart["data"]
    shown = unpacked(line["y"])
    assert (shown.max(), shown.min()) == (99, 0.5)
    assert (
        len(gzip.compress(json.dumps(chart).encode())) * 4 / 3 < 140_000
    )  # twenty: under 2.8 MB beside plotly's 1.95


def test_landscape_results_are_shown_as_tables(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(write, "_plotly", lambda: "")
    document = {"alpha": 1.9, "note": "<b>", "none": None, "distances": [{"z": 0.1, "S": 2.5}]}
    document["lines"] = [{"from": "a", "train": {"barrier": 0.123456789, "points": [{"x": 0.5}]}}]
    (tmp_path / "potential.json").write_text(json.dumps(document))
    write_report(folder / "lb.zarr", tmp_path / "made" / "report.html", [tmp_path / "potential.json"])
    html = (tmp_path / "made" / "report.html").read_text()
    shown = html[html.index("<h2>Landscape: potential.json") : html.index("<h2>Provenance")]
    assert "<td>1.9</td>" in shown
    assert "<td>2.5</td>" in shown
    assert "&lt;b&gt;" in shown
    assert "<th>from</th><th>train barrier</th></tr>" in shown
    assert "<td>0.123457</td>" in shown
    assert "points" not in shown
    assert "none" not in shown


def test_a_file_that_cannot_be_read_or_written_is_named(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(write, "_plotly", lambda: "")
    (tmp_path / "notes.txt").write_text("α")
    with pytest.raises(FigureError, match=r"notes\.txt: cannot be read as JSON; expected"):
        write_report(folder / "lb.zarr", tmp_path / "report.html", [tmp_path / "notes.txt"])
    with pytest.raises(FigureError, match="cannot be written"):
        write_report(folder / "lb.zarr", tmp_path)


def test_without_plotly_the_extra_is_named(folder, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "plotly.offline", None)
    with pytest.raises(FigureError, match=r"pip install 'ultraslow\[report\]'"):
        write_report(folder / "lb.zarr", tmp_path / "report.html")


@pytest.fixture(scope="module")
def browser():
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("there is no Chromium on this machine (apt-get install chromium)")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.mark.parametrize("width", [1200, 390])
def test_a_browser_draws_it_without_an_error_or_a_request(folder, browser, tmp_path, width):
    pytest.importorskip("plotly", reason="plotly is not installed")
    write_report(folder, tmp_path / "report.html")
    assert (tmp_path / "report.html").stat().st_size < 2_500_000
    said, asked = [], []
    page = browser.new_page(viewport={"width": width, "height": 900})
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("dialog", lambda dialog: said.append(dialog.message))
    page.on("request", lambda request: asked.append(request.url))
    page.goto((tmp_path / "report.html").as_uri())
    page.wait_for_selector("body[data-drawn]", timeout=60_000)
    assert said == []
    assert asked == [(tmp_path / "report.html").as_uri()]
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    charts = page.locator(".chart")
    assert charts.count() == int(page.get_attribute("body", "data-drawn"))
    assert all(charts.nth(k).locator(".main-svg").count() for k in range(charts.count()))
    legend = page.locator("#distance .legendtext").all_text_contents()
    assert any(label.startswith('<img src=x onerror="alert(1)"></script><b>$x$ %{y}') for label in legend)
    page.evaluate("Plotly.Fx.hover('distance', [{curveNumber: 0, pointNumber: 999}])")
    assert re.search(r"1,000 updates.*47\.\d+|52\.\d+", page.locator("#distance .hovertext").first.text_content())
    page.get_by_text("log t", exact=True).first.click()
    assert page.evaluate("document.getElementById('distance').layout.xaxis.type") == "log"
    page.close()
