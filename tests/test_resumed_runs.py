"""A run directory that is gone on with, by the functions and by the command."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.end_to_end.conftest import Command
from tests.rl.resuming import TIMES, Stop, differences
from trpotui.config import RunConfig
from trpotui.errors import RequestError
from trpotui.events import Event, Notice, UpdateFinished
from trpotui.past_runs.files import read_config
from trpotui.recorded_run import Resumption, recorded_run, resume
from trpotui.repetition import repetition_of
from trpotui.rl.algorithms.trpo import TrpoHyperparameters
from trpotui.rl.control import Control
from trpotui.run_directory import RunDirectory
from trpotui.run_request import config_from_dict

STEPS = 32
"""Of one update: 2 environments of 16 steps."""
CONFIG = RunConfig(
    environment_id="Pendulum-v1",
    n_envs=2,
    total_steps=6 * STEPS,
    eval_every=2,
    eval_episodes=1,
    stop_when_solved=False,
    torch_threads=1,
    hyperparameters=TrpoHyperparameters(rollout_steps=16, hidden_sizes=(8,)),
)
NATIVE = dataclasses.replace(CONFIG, environment_id="CartPole-v1", environment_kwargs={})


@pytest.fixture(autouse=True)
def _threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


class Stopping(Control):
    """Stops at the n-th moment at which a run looks whether it is to stop."""

    def __init__(self, moment: int = 10**9) -> None:
        super().__init__()
        self.left = moment

    def raise_if_stopping(self):
        self.left -= 1
        if self.left <= 0:
            self.stop()
        super().raise_if_stopping()


def begin(path: Path, config: RunConfig = CONFIG, control: Control | None = None) -> list[Event]:
    with RunDirectory.create(path, config) as directory:
        return list(recorded_run(config, directory, control or Control()))


def go_on(path: Path, control: Control | None = None, **asked: Any) -> list[Event]:
    with RunDirectory.open(path) as directory:
        resumption = resume(directory, **asked)
        state = resumption.state
        return list(
            recorded_run(resumption.config, directory, control or Control(), resume_from=state)
        )


def rows(path: Path) -> list[dict[str, Any]]:
    """The metrics of a run, without what depends on the time."""
    lines = (path / "metrics.jsonl").read_text().splitlines()
    return [
        {key: value for key, value in json.loads(line).items() if key not in TIMES}
        for line in lines
    ]


def checkpoint(path: Path) -> dict[str, Any]:
    with RunDirectory.open(path) as directory:
        return directory.load_checkpoint()[0]


def contents(path: Path) -> dict[str, bytes]:
    """Of all files but the writer's lock."""
    return {one.name: one.read_bytes() for one in path.iterdir() if one.name[0] != "."}


def notices(events: list[Event]) -> list[str]:
    return [event.message for event in events if isinstance(event, Notice)]


class TestExactly:
    @pytest.mark.parametrize("config", [CONFIG, NATIVE], ids=["Pendulum", "CartPole"])
    def test_silent_bug_14_a_run_stopped_again_and_again_leaves_the_same(self, tmp_path, config):
        begin(tmp_path / "whole", config)
        parts = tmp_path / "parts"
        begin(parts, config, Stopping(40))
        stops = 0
        for moment in (*range(5, 400, 37), 10**9):
            last = go_on(parts, Stopping(moment))[-1]
            stops += last.reason == "stopped"
        assert stops > 3
        assert last.reason == "steps_reached"
        assert rows(parts) == rows(tmp_path / "whole")
        assert sum("eval_return" in row for row in rows(parts)) == 3
        assert differences(checkpoint(parts), checkpoint(tmp_path / "whole")) == []
        assert "not_exact" not in read_config(parts)

    def test_silent_bug_14_a_run_that_was_killed_leaves_the_same(self, tmp_path):
        begin(tmp_path / "whole")
        killed = tmp_path / "killed"
        config = dataclasses.replace(CONFIG, checkpoint_updates=2)
        with RunDirectory.create(killed, config) as directory:
            for event in recorded_run(config, directory, Control()):
                if isinstance(event, UpdateFinished) and event.update == 4:
                    break  # before its metrics, its evaluation and its checkpoint
        assert [row["update"] for row in rows(killed)] == [1, 2, 3]
        go_on(killed, settings={"checkpoint_updates": "0"})
        assert rows(killed) == rows(tmp_path / "whole")
        ours, whole = checkpoint(killed), checkpoint(tmp_path / "whole")
        assert differences(ours["learner"], whole["learner"]) == []

    @pytest.mark.parametrize("times", [1, 2])
    def test_an_evaluation_that_was_interrupted_is_made_again(self, tmp_path, times):
        begin(tmp_path / "whole")
        control = Stopping()
        path = tmp_path / "run"
        with RunDirectory.create(path, CONFIG) as directory:
            for event in recorded_run(CONFIG, directory, control):
                if isinstance(event, UpdateFinished) and event.update == 2:
                    control.left = 50
        assert "eval_return" not in rows(path)[-1], "the metrics of the update are not lost"
        assert len(rows(path)) == 2
        if times == 2:
            events = go_on(path, Stopping(50 + 2 * 32))
            assert events[-1].update == 2
            assert len(rows(path)) == 2
        go_on(path)
        assert rows(path) == rows(tmp_path / "whole")
        assert differences(checkpoint(path), checkpoint(tmp_path / "whole")) == []


class TestGrowing:
    def test_a_run_can_grow_and_is_then_repeated_as_it_was(self, tmp_path):
        path = tmp_path / "run"
        begin(path, CONFIG, Stop(2))
        go_on(path, total_steps=9 * STEPS)
        assert len(rows(path)) == 9
        stored = read_config(path)
        assert (stored["first_total_steps"], stored["total_steps"]) == (6 * STEPS, 9 * STEPS)
        edits = [{"update": 2, "values": {"total_steps": 9 * STEPS}}]
        assert stored["live_edits"] == edits
        repetition = repetition_of(path)
        assert repetition.config.total_steps == 6 * STEPS
        again = tmp_path / "again"
        with RunDirectory.create(
            again, repetition.config, repeats=repetition.stored()
        ) as directory:
            list(recorded_run(repetition.config, directory, Control()))
        assert rows(again) == rows(path)

    def test_by_as_much_as_before_is_no_growth(self, tmp_path):
        begin(tmp_path / "run", CONFIG, Stop(2))
        go_on(tmp_path / "run", total_steps=6 * STEPS)
        assert "live_edits" not in read_config(tmp_path / "run")

    def test_the_last_wish_counts_though_its_update_was_lost(self, tmp_path):
        path = tmp_path / "run"
        begin(path, CONFIG, Stop(2))
        with RunDirectory.open(path) as directory:
            directory.record_edit(5, {"total_steps": 8 * STEPS})
        go_on(path)
        assert len(rows(path)) == 8
        (edit,) = read_config(path)["live_edits"]
        assert edit == {"update": 2, "values": {"total_steps": 8 * STEPS}}

    def test_episodes_may_become_more(self, tmp_path):
        path = tmp_path / "run"
        config = dataclasses.replace(NATIVE, total_episodes=5, total_steps=10**6)
        first = begin(path, config)[-1]
        assert (first.reason, first.episodes >= 5) == ("episodes_reached", True)
        last = go_on(path, settings={"total_episodes": "12"})[-1]
        assert (last.reason, last.episodes >= 12) == ("episodes_reached", True)
        assert read_config(path)["total_episodes"] == 12

    @pytest.mark.parametrize(
        ("asked", "said"),
        [
            ({"total_steps": 10}, "--steps 10 is less than the 192 of "),
            ({"settings": {"total_episodes": "4"}}, "total_episodes 4 is less than the 5 of "),
            ({"settings": {"total_steps": "x"}}, "total_steps=x is not valid"),
        ],
    )
    def test_and_not_less(self, tmp_path, asked, said):
        path = tmp_path / "run"
        begin(path, dataclasses.replace(CONFIG, total_episodes=5), Stop(2))
        before = contents(path)
        with pytest.raises(RequestError, match=said):
            go_on(path, **asked)
        assert contents(path) == before

    def test_a_bound_can_be_lifted_and_none_can_be_set(self, tmp_path):
        path = tmp_path / "run"
        begin(path, dataclasses.replace(CONFIG, total_episodes=5), Stop(2))
        go_on(path, Stopping(20), settings={"total_episodes": "0"})
        with pytest.raises(RequestError, match="total_episodes 7 is less than the boundless"):
            go_on(path, settings={"total_episodes": "7"})


class TestAnotherRun:
    @pytest.mark.parametrize(
        ("name", "said"),
        [
            ("max_kl", "max_kl cannot be changed when a run is resumed: that would be another run"),
            ("seed", "seed cannot be changed"),
            ("eval_every", "eval_every cannot be changed"),
            ("torch_threads", "torch_threads cannot be changed"),
            ("total_step", "unknown setting 'total_step'; did you mean 'total_steps' or"),
        ],
    )
    def test_is_refused_by_the_key_and_nothing_is_changed(self, tmp_path, name, said):
        path = tmp_path / "run"
        begin(path, CONFIG, Stop(2))
        before = contents(path)
        with pytest.raises(RequestError) as refusal:
            go_on(path, settings={name: "1"})
        assert str(refusal.value).startswith(said)
        assert contents(path) == before

    @pytest.mark.parametrize(
        ("key", "value"), [("seed", 5), ("n_envs", 3), ("environment_id", "CartPole-v1")]
    )
    def test_a_configuration_that_was_changed_by_hand_is_seen(self, tmp_path, key, value):
        path = tmp_path / "run"
        begin(path, CONFIG, Stop(2))
        stored = json.loads((path / "config.json").read_text()) | {key: value}
        (path / "config.json").write_text(json.dumps(stored))
        before = contents(path)
        with pytest.raises(RequestError, match=f"^{key} is .* that would be another run"):
            go_on(path)
        assert contents(path) == before

    def test_so_is_a_hyperparameter(self, tmp_path):
        path = tmp_path / "run"
        begin(path, CONFIG, Stop(2))
        stored = json.loads((path / "config.json").read_text())
        stored["hyperparameters"]["max_kl"] = 0.5
        (path / "config.json").write_text(json.dumps(stored))
        with pytest.raises(RequestError, match=r"^max_kl is 0\.5, but 0\.01 where"):
            go_on(path)


class TestNotExactly:
    def damaged(self, path: Path) -> None:
        """A run whose open episodes cannot be gone on with, after its second update."""
        begin(path, CONFIG, Stop(2))
        with RunDirectory.open(path) as directory:
            state, _ = directory.load_checkpoint()
            state["learner"]["experience"]["lost"] = "of a test"
            directory.save_checkpoint(state)

    def test_is_told_logged_and_kept_for_good(self, tmp_path):
        path = tmp_path / "run"
        self.damaged(path)
        events = go_on(path, Stop(4))
        told = "continued, not exact: new episodes were begun, because of a test"
        assert notices(events) == [told]
        assert told in (path / "run.log").read_text()
        mark = {"update": 2, "reason": told.removeprefix("continued, not exact: ")}
        assert read_config(path)["not_exact"] == [mark]
        assert notices(go_on(path)) == []
        assert read_config(path)["not_exact"] == [mark]
        assert [row.get("exact_until") for row in rows(path)] == [None, None, 2, 2, 2, 2]
        # the configuration is read as before
        assert config_from_dict(read_config(path)) == CONFIG

    def test_a_mark_that_was_lost_with_its_updates_is_not_claimed(self, tmp_path):
        path = tmp_path / "run"
        begin(path, CONFIG, Stop(2))
        with RunDirectory.open(path) as directory:
            directory.record_discontinuity(1, "so")
        go_on(path)
        assert "not_exact" not in read_config(path)

    def test_a_disk_without_room_for_the_mark_is_a_notice(self, tmp_path, monkeypatch):
        path = tmp_path / "run"
        self.damaged(path)

        def full(*_):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(RunDirectory, "record_discontinuity", full)
        told = notices(go_on(path))
        assert any("could not be added to the configuration" in notice for notice in told)

    def test_metrics_that_are_missing_are_told(self, tmp_path):
        path = tmp_path / "run"
        begin(path, CONFIG, Stop(2))
        lines = (path / "metrics.jsonl").read_bytes().splitlines(keepends=True)
        (path / "metrics.jsonl").write_bytes(b"".join(lines[:-1]))
        with RunDirectory.open(path) as directory:
            resumption = resume(directory)
        assert isinstance(resumption, Resumption)
        assert resumption.notice is not None
        assert "metrics.jsonl lacks update" in resumption.notice


class TestCommand:
    """`trpotui train --no-ui --resume RUN_DIR`."""

    def test_what_would_make_it_another_run_is_one_sentence(self, tmp_path):
        begin(tmp_path / "run", CONFIG, Stop(2))
        command = Command(tmp_path)
        wrong = command("train", "--no-ui", "--resume", "run", "--set", "max_kl=0.5")
        assert wrong.returncode == 2
        assert wrong.stderr == (
            "trpotui: max_kl cannot be changed when a run is resumed: that would be another run\n"
        )
        seeded = command("train", "--no-ui", "--resume", "run", "--seed", "3")
        assert seeded.returncode == 2
        assert seeded.stderr.startswith("trpotui: --seed cannot be used with --resume")

    def test_settings_that_may_change_can_be_set(self, tmp_path):
        begin(tmp_path / "run", CONFIG, Stop(2))
        command = Command(tmp_path)
        settings = ["--set", "checkpoint_updates=1", "--set", "total_episodes=9", "--steps", "300"]
        done = command("train", "--no-ui", "--quiet", "--resume", "run", *settings)
        assert done.returncode == 2
        assert "total_episodes 9 is less than the boundless number" in done.stderr
        done = command("train", "--no-ui", "--quiet", "--resume", "run", *settings[:2])
        assert done.returncode == 0, done.stderr
        assert read_config(tmp_path / "run")["checkpoint_updates"] == 1
