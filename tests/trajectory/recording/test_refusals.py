"""What a recorder refuses or cannot write: said in one line, and what was written is kept."""

from pathlib import Path

import numpy as np
import pytest
import torch
from small_training import network, train

from trajectory import Recorder, RecordingError, Run, StoreError


class WithoutText:
    def __str__(self):
        raise ZeroDivisionError


def test_the_recorder_refuses_what_it_cannot_file(tmp_path):
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with Recorder(tmp_path / "run.zarr", model, optimizer) as recorder:
        with pytest.raises(StoreError, match="'step'"):
            recorder.log(step=3)
        refused = {
            "got shape \\(2,\\), expected a single number": torch.zeros(2),
            "got a complex number, expected a real one": torch.tensor(1j),
            "got a tensor on the meta device, expected one that has a value": torch.ones((), device="meta"),
            "got a ndarray, expected a number": np.zeros(2),
            "got the text 'x', expected a number": "x",
            "got a NoneType, expected a number": None,
            "got an int beyond all of these, expected a number that float64 can hold": 10**400,
        }
        for sentence, value in refused.items():
            with pytest.raises(RecordingError, match=rf"log\(loss=\.\.\.\): {sentence}"):
                recorder.log(loss=value)
        recorder.log(one=np.ones((1, 1)))
        holds_itself = []
        holds_itself.append(holds_itself)
        nested = 0
        for _ in range(60):  # no reader takes many more
            nested = [nested]
        for value in (holds_itself, nested):
            with pytest.raises(RecordingError, match="holds itself, or is nested too deeply"):
                recorder.event("e", x=value)
        for value in (torch.ones((), device="meta"), {"in": WithoutText()}):
            with pytest.raises(
                RecordingError, match=r"got a \w+ that has no text \(.*\); expected what JSON can hold"
            ):
                recorder.event("e", x=value)
        with pytest.raises(RecordingError, match="got a int, expected the kind of event as a string"):
            recorder.event(5)  # a store with such an event cannot be read
        recorder.event("vector", x=torch.arange(2), y=torch.tensor(1.5))
    with pytest.raises(RecordingError, match="closed"):
        recorder.log(loss=1)


def test_a_scalar_that_cannot_be_filed_is_left_out_where_failures_are_warned_of(tmp_path):
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with Recorder(tmp_path / "run.zarr", model, optimizer, on_error="warn") as recorder:
        for t in range(3):
            train(model, optimizer, 1)
            if t:
                recorder.log(loss=1.0, **{"x" * 300: 1.0})
            else:
                with pytest.warns(RuntimeWarning, match="takes 300 bytes.*it is left out"):
                    recorder.log(loss=1.0, **{"x" * 300: 1.0})
    assert set(Run(tmp_path / "run.zarr").metrics) == {"loss", "learning_rate"}


@pytest.mark.parametrize(
    "option",
    [
        *({"schedule": "all"}, {"schedule": 1.5}, {"snapshots": 0.5}, {"origins": ["x"]}),
        *({"include": 5}, {"exclude": 5}, {"sketch": "4"}, {"sketch": 2.5}, {"seed": "x"}, {"quantities": None}),
    ],
    ids=str,
)
def test_an_argument_of_another_type_is_refused_before_a_store_is_made(tmp_path, option):
    model = network()
    with pytest.raises(RecordingError, match="expected"):
        Recorder(tmp_path / "run.zarr", model, torch.optim.SGD(model.parameters(), lr=0.1), **option)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("model", [None, list(network().parameters())], ids=["None", "list"])
def test_a_model_that_is_no_module_is_refused(tmp_path, model):
    with pytest.raises(RecordingError, match=r"as the model; expected a torch\.nn\.Module"):
        Recorder(tmp_path / "run.zarr", model)


def test_whole_numbers_of_numpy_are_whole_numbers(tmp_path):
    model, two = network(), np.int64(2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with Recorder(tmp_path / "run.zarr", model, optimizer, schedule=two, snapshots=two, origins=two, seed=two):
        train(model, optimizer, 4)
    run = Run(tmp_path / "run.zarr")
    assert (run.seed, run.snapshots, run.origins, list(run.distance.index)) == (2, [0, 2, 4], [0, 2], [2, 4])


@pytest.mark.parametrize("made", [Path.mkdir, Path.touch])
def test_overwriting_is_advised_for_runs_alone(tmp_path, made):
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    made(tmp_path / "other")
    if (tmp_path / "other").is_dir():
        (tmp_path / "other" / "thesis.txt").touch()
    for options in ({}, {"resume": "allow"}, {"overwrite": True}):
        with pytest.raises(StoreError, match=r"other: not a run: .* choose another path") as refusal:
            Recorder(tmp_path / "other", model, optimizer, **options)
        assert "overwrite" not in str(refusal.value)


@pytest.mark.parametrize("name", ["a\0b.zarr", "a\nb.zarr", "a\rb.zarr"])
def test_a_path_that_stands_in_no_line_is_refused(tmp_path, name):
    model = network()
    with pytest.raises(StoreError, match="a path with ") as refusal:
        Recorder(tmp_path / name, model, torch.optim.SGD(model.parameters(), lr=0.1))
    assert str(refusal.value).isprintable()


def test_no_run_is_made_in_the_folder_of_another(tmp_path):
    """`train --seeds 0-2 --out run.zarr` made three runs in it, which --overwrite of that run would have removed."""
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    Recorder(tmp_path / "run.zarr", model, optimizer).close()
    (tmp_path / "zarr.json").write_text("{}")  # of a folder that is something else
    with pytest.raises(StoreError, match=r"lies in the folder of the run .*run.zarr; choose a path outside"):
        Recorder(tmp_path / "run.zarr" / "seeds" / "0.zarr", model, optimizer)
    assert not (tmp_path / "run.zarr" / "seeds").exists()
    Recorder(tmp_path / "beside.zarr", model, optimizer).close()


@pytest.mark.parametrize("config", [["lr", 0.1], "lr=0.1", dict])
def test_a_config_without_names_is_refused(tmp_path, config):
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(RecordingError, match="expected a mapping"):
        Recorder(tmp_path / "run.zarr", model, optimizer, config=config)
    assert not (tmp_path / "run.zarr").exists()


def test_a_taken_path_is_kept_unless_it_is_a_run_to_overwrite(tmp_path):
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    path = tmp_path / "run.zarr"
    Recorder(path, model, optimizer, seed=1).close()
    with pytest.raises(StoreError, match="already exists"):
        Recorder(path, model, optimizer)
    Recorder(path, model, optimizer, seed=2, overwrite=True).close()
    assert Run(path).seed == 2
    foreign = tmp_path / "thesis"
    foreign.mkdir()
    (foreign / "chapter1.txt").write_text("precious")
    with pytest.raises(StoreError, match="not a run"):
        Recorder(foreign, model, optimizer, overwrite=True)
    (foreign / "journal.0").write_text("Monday: no run was ever made here")
    with pytest.raises(StoreError, match="not a run"):
        Recorder(foreign, model, optimizer)
    with pytest.raises(StoreError, match="not a run"):
        Recorder(foreign, model, optimizer, overwrite=True)
    assert (foreign / "chapter1.txt").read_text() == "precious"


def test_an_unwritable_place_is_one_line(tmp_path):
    model = network()
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot write a run there") as caught:
        Recorder(tmp_path / "file" / "run.zarr", model, torch.optim.SGD(model.parameters(), lr=0.1))
    assert "\n" not in str(caught.value)


def test_a_failing_disk_stops_the_run_at_the_next_step_and_keeps_what_was_written(tmp_path):
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    path = tmp_path / "run.zarr"
    recorder = Recorder(path, model, optimizer)
    train(model, optimizer, 64)
    recorder.flush()

    def full(*_):
        raise OSError(28, "No space left on device")

    recorder._session.store._journal.append = full
    train(model, optimizer, 63)
    with pytest.raises(RecordingError, match="No space left on device"):
        train(model, optimizer, 100)
    assert list(Run(path).distance.index) == list(range(1, 65))


def test_training_goes_on_where_a_failing_disk_only_warns(tmp_path):
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    path = tmp_path / "run.zarr"
    recorder = Recorder(path, model, optimizer, on_error="warn")
    train(model, optimizer, 64, recorder)
    recorder.flush()

    def full(*_):
        raise OSError(28, "No space left on device")

    recorder._session.store._journal.append = full
    with pytest.warns(RuntimeWarning, match="No space left on device.*training goes on unrecorded"):
        train(model, optimizer, 400, recorder)
    train(model, optimizer, 10, recorder)
    assert recorder.step == 474
    recorder.close()
    assert Run(path).status == "interrupted (recording failed)"
    assert list(Run(path).distance.index) == list(range(1, 65))
    with pytest.raises(RecordingError, match="expected 'raise' or 'warn'"):
        Recorder(tmp_path / "other.zarr", model, optimizer, on_error="ignore")


def test_an_interrupted_run_says_so(tmp_path):
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def interrupted():
        with Recorder(tmp_path / "run.zarr", model, optimizer):
            train(model, optimizer, 10)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    run = Run(tmp_path / "run.zarr")
    assert run.status == "interrupted (KeyboardInterrupt)"
    assert len(run.distance) == 10
