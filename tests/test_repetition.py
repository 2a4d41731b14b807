"""A run that is trained again: the same numbers, with what was changed while it went on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.end_to_end.conftest import Command
from trpotui.config import RunConfig
from trpotui.errors import RequestError
from trpotui.events import Event, HyperparametersChanged, Notice, UpdateFinished
from trpotui.recorded_run import recorded_run, resume
from trpotui.repetition import repetition_of
from trpotui.rl.algorithms.trpo import TrpoHyperparameters
from trpotui.rl.control import Control, Edit
from trpotui.run_directory import RunDirectory

STEPS = 32
"""Of one update: 2 environments of 16 steps."""
TIMES = ("seconds", "steps_per_second")
CONFIG = RunConfig(
    environment_id="Pendulum-v1",
    n_envs=2,
    total_steps=6 * STEPS,
    eval_every=4,
    eval_episodes=1,
    stop_when_solved=False,
    torch_threads=1,
    hyperparameters=TrpoHyperparameters(rollout_steps=16, hidden_sizes=(8,)),
)
Changes = Mapping[int, Mapping[str, Any]]


@pytest.fixture(autouse=True)
def _threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def follow(
    directory: RunDirectory,
    config: RunConfig,
    changes: Changes | None = None,
    *,
    stop_after: int | None = None,
    **arguments: Any,
) -> list[Event]:
    """The events of a run in which `changes` are asked for by hand, each after an update."""
    control, events = Control(), []
    control.change((changes or {}).get(0, {}))
    for event in recorded_run(config, directory, control, **arguments):
        events.append(event)
        if isinstance(event, UpdateFinished):
            control.change((changes or {}).get(event.update, {}))
            if event.update == stop_after:
                control.stop()
    return events


def new(path: Path, changes: Changes | None = None, **arguments: Any) -> list[Event]:
    with RunDirectory.create(path, CONFIG) as directory:
        return follow(directory, CONFIG, changes, **arguments)


def repeated(
    path: Path, original: Path, changes: Changes | None = None, **arguments
) -> list[Event]:
    repetition = repetition_of(original)
    with RunDirectory.create(path, repetition.config, repeats=repetition.stored()) as directory:
        return follow(directory, repetition.config, changes, **arguments)


def resumed(path: Path, changes: Changes | None = None) -> list[Event]:
    with RunDirectory.open(path) as directory:
        resumption = resume(directory)
        return follow(directory, resumption.config, changes, resume_from=resumption.state)


def rows(path: Path) -> list[dict[str, Any]]:
    """The metrics of a run, without what depends on the time."""
    lines = (path / "metrics.jsonl").read_text().splitlines()
    return [
        {key: value for key, value in json.loads(line).items() if key not in TIMES}
        for line in lines
    ]


def stored(path: Path) -> dict[str, Any]:
    return json.loads((path / "config.json").read_text())


def edits(events: list[Event]) -> list[tuple[int, Mapping[str, Any]]]:
    return [(e.update, e.values) for e in events if isinstance(e, HyperparametersChanged)]


def notices(events: list[Event]) -> list[str]:
    return [event.message for event in events if isinstance(event, Notice)]


CHANGES = {
    "before the first update": {0: {"max_kl": 0.002}},
    "amid the run": {2: {"max_kl": 0.002, "gamma": 0.9}},
    "one after the other": {1: {"cg_damping": 1.0}, 3: {"cg_damping": 0.05}},
    "longer": {2: {"total_steps": 8 * STEPS}},
    "longer at the last moment": {6: {"total_steps": 8 * STEPS}},
    "shorter": {2: {"total_steps": 4 * STEPS}},
    "longer and shorter": {2: {"total_steps": 9 * STEPS}, 5: {"total_steps": 7 * STEPS}},
}


@pytest.mark.parametrize("changes", CHANGES.values(), ids=CHANGES)
def test_a_run_and_its_repetition_have_the_same_metrics(tmp_path, changes):
    first = new(tmp_path / "first", changes)
    again = repeated(tmp_path / "again", tmp_path / "first")
    assert rows(tmp_path / "again") == rows(tmp_path / "first")
    assert edits(again) == edits(first) == [*changes.items()]
    # what the changes have brought about is no accident of the comparison
    new(tmp_path / "plain")
    assert rows(tmp_path / "plain") != rows(tmp_path / "first")


def test_a_repetition_is_a_run_like_any_other(tmp_path):
    """Its own edits are kept, and it can itself be repeated."""
    new(tmp_path / "first", {2: {"max_kl": 0.002}})
    repeated(tmp_path / "second", tmp_path / "first", {4: {"gamma": 0.9}})
    repeated(tmp_path / "third", tmp_path / "second")
    assert rows(tmp_path / "third") == rows(tmp_path / "second") != rows(tmp_path / "first")
    assert stored(tmp_path / "third")["live_edits"] == [
        {"update": 2, "values": {"max_kl": 0.002}},
        {"update": 4, "values": {"gamma": 0.9}},
    ]


def test_changes_of_the_same_moment_are_made_in_their_order(tmp_path):
    with RunDirectory.create(tmp_path / "first", CONFIG) as directory:
        directory.record_edit(2, {"max_kl": 0.5})
        directory.record_edit(2, {"max_kl": 0.002})
    events = repeated(tmp_path / "again", tmp_path / "first")
    assert edits(events) == [(2, {"max_kl": 0.5}), (2, {"max_kl": 0.002})]
    third = next(e for e in events if isinstance(e, UpdateFinished) and e.update == 3)
    assert third.max_kl == 0.002


def test_it_says_what_it_repeats_and_what_will_happen_by_itself(tmp_path):
    new(tmp_path / "first", {2: {"max_kl": 0.002}, 4: {"gamma": 0.9}})
    (told,) = notices(repeated(tmp_path / "again", tmp_path / "first"))
    assert told == (
        f"this repeats {tmp_path / 'first'}; it will be changed as that was, after updates 2, 4"
    )
    assert told in (tmp_path / "again" / "run.log").read_text()


def test_a_repetition_that_was_stopped_makes_the_rest_when_it_is_resumed(tmp_path):
    changes = {1: {"cg_damping": 1.0}, 4: {"max_kl": 0.002}}
    new(tmp_path / "first", changes)
    early = repeated(tmp_path / "again", tmp_path / "first", stop_after=3)
    assert edits(early) == [(1, changes[1])]
    late = resumed(tmp_path / "again")
    assert edits(late) == [(4, changes[4])]
    assert notices(late)[0].endswith("after update 4"), "what was made already is not announced"
    assert stored(tmp_path / "again")["live_edits"] == stored(tmp_path / "first")["live_edits"]


def test_the_changes_that_a_stopped_repetition_was_still_to_make_are_repeated_too(tmp_path):
    changes = {1: {"cg_damping": 1.0}, 4: {"max_kl": 0.002}}
    new(tmp_path / "first", changes)
    repeated(tmp_path / "second", tmp_path / "first", stop_after=2)
    repeated(tmp_path / "third", tmp_path / "second")
    assert rows(tmp_path / "third") == rows(tmp_path / "first")


def test_a_run_that_was_stopped_is_repeated_to_its_end(tmp_path):
    new(tmp_path / "first", {1: {"max_kl": 0.002}}, stop_after=3)
    repeated(tmp_path / "again", tmp_path / "first")
    ours, theirs = rows(tmp_path / "again"), rows(tmp_path / "first")
    assert len(theirs) == 3
    assert len(ours) == 6
    assert ours[:3] == theirs


def test_a_run_that_was_resumed_is_repeated_in_one(tmp_path):
    new(tmp_path / "first", {1: {"max_kl": 0.002}}, stop_after=3)
    resumed(tmp_path / "first", {4: {"gamma": 0.9}})
    (told,) = notices(repeated(tmp_path / "again", tmp_path / "first"))
    assert told.endswith("after updates 1, 4")
    assert rows(tmp_path / "again") == rows(tmp_path / "first")
    assert len(rows(tmp_path / "again")) == 6


def test_it_says_up_to_where_the_two_can_be_the_same(tmp_path):
    new(tmp_path / "first", stop_after=3)
    with RunDirectory.open(tmp_path / "first") as directory:
        directory.record_discontinuity(3, "the environment is not deterministic")
        directory.record_discontinuity(5, "the environment is not deterministic")
    (told,) = notices(repeated(tmp_path / "again", tmp_path / "first"))
    assert told.endswith(
        "that was resumed after update 3, but not exactly: from there on the two differ"
    )


def test_the_first_length_outlives_a_resumption(tmp_path):
    """What spans the run, as a schedule does, began with it."""
    new(tmp_path / "first", {1: {"total_steps": 8 * STEPS}}, stop_after=3)
    resumed(tmp_path / "first")
    assert stored(tmp_path / "first")["total_steps"] == 8 * STEPS
    assert repetition_of(tmp_path / "first").config.total_steps == 6 * STEPS


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        ({"live_edits": {"update": 1}}, "is damaged in its config.json"),
        ({"live_edits": [{"update": -1, "values": {}}]}, "is damaged in its config.json"),
        ({"live_edits": [{"update": "1", "values": {}}]}, "is damaged in its config.json"),
        ({"live_edits": [[]]}, "is damaged in its config.json"),
        ({"repeats": {"edits": [3]}}, "is damaged in its config.json"),
        ({"live_edits": [{"update": 1, "values": {"max_kl": -1}}]}, "max_kl=-1 is not valid"),
        ({"live_edits": [{"update": 1, "values": {"max_lk": 1}}]}, "unknown changed hyperpar"),
        ({"live_edits": [{"update": 1, "values": {"rollout_steps": 8}}]}, "cannot be changed"),
        ({"live_edits": [{"update": 1, "values": {"total_steps": 0}}]}, "total_steps=0"),
        ({"first_total_steps": "many"}, "total_steps=many"),
        ({"seed": -1}, "seed=-1"),
    ],
)
def test_what_cannot_be_repeated_is_refused_before_it_is_trained(tmp_path, damage, said):
    with RunDirectory.create(tmp_path / "run", CONFIG):
        pass
    (tmp_path / "run" / "config.json").write_text(json.dumps(stored(tmp_path / "run") | damage))
    with pytest.raises(RequestError, match=said) as refusal:
        repetition_of(tmp_path / "run")
    assert str(refusal.value).startswith(f"{tmp_path / 'run'} cannot be repeated: ")


def test_there_must_be_a_run(tmp_path):
    with pytest.raises(RequestError, match=r"nowhere cannot be repeated: config.json is missing"):
        repetition_of(tmp_path / "nowhere")


def test_an_edit_is_made_once_and_at_its_update_alone():
    control = Control()
    control.schedule([Edit(1, {"a": 1}), Edit(3, {"b": 2}), Edit(1, {"c": 3})])
    control.change({"d": 4})
    assert control.take_changes(0) == [{"d": 4}]
    control.change({"d": 5})
    assert control.take_changes(1) == [{"a": 1}, {"c": 3}, {"d": 5}]
    assert control.take_changes(1) == []
    assert control.take_changes(2) == []
    assert control.take_changes(3) == [{"b": 2}]
    assert control.take_changes(3) == []


class TestCommand:
    """`trpotui train --no-ui --repeat RUN_DIR`."""

    def test_it_trains_the_same_into_a_directory_of_its_own(self, tmp_path):
        new(tmp_path / "first", {2: {"max_kl": 0.002}})
        command = Command(tmp_path)
        again = command("train", "--no-ui", "--json", "--repeat", "first", "--run-dir", "again")
        assert again.returncode == 0, again.stderr
        assert rows(tmp_path / "again") == rows(tmp_path / "first")
        assert "this repeats first; it will be changed as that was, after update 2" in again.stderr
        assert len(again.stdout.splitlines()) == 6
        third = command("train", "--no-ui", "--quiet", "--repeat", "first", "-o", "best.pt")
        assert third.returncode == 0, third.stderr
        (made,) = (tmp_path / "runs" / "Pendulum-v1").iterdir()
        assert rows(made) == rows(tmp_path / "first")
        assert (tmp_path / "best.pt").is_file()

    @pytest.mark.parametrize(
        "options",
        [
            ["--algo", "trpo"],
            ["--env", "CartPole-v1"],
            ["--device", "cpu"],
            ["--seed", "0"],
            ["--steps", "100"],
            ["--n-envs", "2"],
            ["--preset", "tuned"],
            ["--set", "max_kl=0.1"],
            ["--env-set", "g=9.81"],
            ["--stop-when-solved"],
            ["--no-stop-when-solved"],
        ],
        ids=lambda options: options[0],
    )
    def test_a_repeated_run_keeps_its_configuration(self, tmp_path, options):
        new(tmp_path / "first")
        before = sorted(tmp_path.rglob("*"))
        result = Command(tmp_path)("train", "--no-ui", "--repeat", "first", *options)
        assert result.returncode == 2
        assert result.stderr == (
            f"trpotui: {options[0]} cannot be used with --repeat: a repeated run keeps its "
            "configuration\n"
        )
        assert sorted(tmp_path.rglob("*")) == before

    @pytest.mark.parametrize(
        ("options", "said"),
        [
            (["--no-ui", "--resume", "first"], "--repeat cannot be used with --resume"),
            (["--resume", "first"], "--repeat cannot be used with --resume"),
            (["--run-dir", "there"], "--run-dir needs --no-ui"),
            (["--json"], "--json needs --no-ui"),
            ([], "add --no-ui"),
        ],
    )
    def test_what_does_not_go_together(self, tmp_path, options, said):
        new(tmp_path / "first")
        result = Command(tmp_path)("train", "--repeat", "first", *options)
        assert result.returncode == 2
        assert said in result.stderr

    def test_a_run_that_is_not_there_is_one_sentence(self, tmp_path):
        result = Command(tmp_path)("train", "--no-ui", "--repeat", "nowhere")
        assert result.returncode == 2
        assert result.stderr == ("trpotui: nowhere cannot be repeated: config.json is missing\n")
        assert list(tmp_path.iterdir()) == []
