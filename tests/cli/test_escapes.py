"""Names that come from a store are shown by a terminal, not obeyed."""

import pytest

from trajectory.errors import printable


@pytest.fixture
def named(tmp_path, record, law):
    return record(
        tmp_path / "run [red]\x1b[2J$\\frac{$.zarr", law(300), label="[link=http://a]b[/link]\x1b]0;title\x07"
    )


@pytest.mark.parametrize(
    "command", [("info",), ("verify",), ("fit",), ("scan",), ("compare",), ("info", "--json"), ("fit", "--json")]
)
def test_no_command_prints_an_escape(run, named, command):
    name, *options = command
    done = run(name, named, *options)
    assert done.returncode == 0, done
    assert not {"\x1b", "\x07"} & set(done.stdout + done.stderr)
    if name == "info" and not options:
        assert "[link=http://a]b[/link]" in done.stdout


def test_an_error_is_one_line_without_escapes(refused, tmp_path):
    assert "\\x1b[2J\\n" in refused("info", str(tmp_path / "none \x1b[2J\n"))


def test_the_figure_of_such_a_run_is_drawn(run, named, tmp_path):
    done = run("plot", "distance", named, "--out", tmp_path / "distance.svg")
    assert done.returncode == 0, done


def test_text_stays_as_it_is():
    assert printable("α ‖w_t‖ 损\tb\n") == "α ‖w_t‖ 损\tb\n"
    assert printable("a\u202eb\ud800") == "a\\u202eb\\ud800"
