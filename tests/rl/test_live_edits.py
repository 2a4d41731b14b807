"""What a person changes while a run goes on: it holds, it is refused, and it is kept."""

from __future__ import annotations

import dataclasses
import json

import pytest
import torch

from trpotui.config import RunConfig
from trpotui.events import (
    EvaluationFinished,
    HyperparametersChanged,
    Notice,
    RunFinished,
    StopReason,
    UpdateFinished,
)
from trpotui.policy_file import policy_bytes
from trpotui.policy_file.archive import load_entries, read_entries
from trpotui.recorded_run import recorded_run
from trpotui.rl.control import Control
from trpotui.rl.trainer import train
from trpotui.run_directory import RunDirectory
from trpotui.run_request import config_from_dict
from trpotui.telemetry import fold_all

STEPS = 32
"""Of one update: 2 environments of 16 steps."""


class Shelf:
    """A store that remembers."""

    def __init__(self) -> None:
        self.policies, self.checkpoints = [], []

    def append_metrics(self, row):
        pass

    def save_policy(self, saved, *, best):  # noqa: ARG002  # noqa: ARG002
        self.policies.append(saved)

    def save_checkpoint(self, state):
        self.checkpoints.append(state)


@pytest.fixture
def config(make_config) -> RunConfig:
    return make_config("Pendulum-v1", total_steps=3 * STEPS)


def run(config, changes, *, store=None, **arguments):
    """The events of a run in which `changes`, update to values, are asked for after that update."""
    control, events = Control(), []
    control.change(changes.get(0, {}))
    for event in train(config, control, store, **arguments):
        events.append(event)
        if isinstance(event, UpdateFinished):
            control.change(changes.get(event.update, {}))
    return events


def of(kind, events):
    return [event for event in events if isinstance(event, kind)]


class TestTotalSteps:
    @pytest.mark.parametrize(
        ("after", "updates", "done"),
        [(0, 5, 5), (1, 5, 5), (3, 5, 5), (1, 1, 1), (2, 1, 2), (0, 1, 1)],
        ids=["longer", "later", "at the last moment", "ends now", "shorter than done", "shorter"],
    )
    def test_run_goes_on_for_as_many_steps_as_asked_for_last(self, config, after, updates, done):
        events = run(config, {after: {"total_steps": updates * STEPS}})
        assert len(of(UpdateFinished, events)) == done
        assert events[-1].reason is StopReason.STEPS_REACHED
        assert events[-1].steps == done * STEPS
        (change,) = of(HyperparametersChanged, events)
        assert (change.update, change.values) == (after, {"total_steps": updates * STEPS})
        assert fold_all(events).total_steps == updates * STEPS

    def test_held_run_that_is_cut_short_makes_no_further_update(self, config):
        class Held(Control):
            """Held before its second update, where a person cuts the run short."""

            waits = 0

            def wait_while_paused(self):
                self.waits += 1
                if self.waits == 2:
                    self.change({"total_steps": STEPS})
                    return False
                return super().wait_while_paused()

        control = Held()
        events = list(train(config, control))
        assert control.waits == 3
        assert len(of(UpdateFinished, events)) == 1
        assert events[-1].reason is StopReason.STEPS_REACHED

    def test_last_policy_is_still_scored(self, config):
        config = dataclasses.replace(config, eval_every=100, eval_episodes=1)
        events = run(config, {1: {"total_steps": STEPS}})
        assert [event.update for event in of(EvaluationFinished, events)] == [1]

    def test_it_is_changed_together_with_hyperparameters(self, config):
        events = run(config, {1: {"total_steps": "160", "max_kl": "0.002"}})
        (change,) = of(HyperparametersChanged, events)
        assert change.values == {"total_steps": 160, "max_kl": 0.002}
        assert [event.max_kl for event in of(UpdateFinished, events)] == [0.01] + [0.002] * 4


class TestRefusal:
    @pytest.mark.parametrize(
        ("wrong", "said"),
        [
            ({"max_kl": -1}, "max_kl=-1 is not valid"),
            ({"total_steps": 0}, "total_steps=0 is not valid"),
            ({"max_lk": 0.1}, "unknown hyperparameter 'max_lk'; did you mean 'max_kl'?"),
            ({"rollout_steps": 8}, "rollout_steps cannot be changed while a run goes on"),
            ({"seed": 3}, "unknown hyperparameter 'seed'"),
            ({"max_kl": 0.5, "total_steps": "many"}, "total_steps=many is not valid"),
            ({"max_kl": "wide", "total_steps": 10**6}, "max_kl=wide is not valid"),
        ],
    )
    def test_it_reaches_the_person_and_the_run_goes_on_as_it_was(self, config, wrong, said):
        events = run(config, {1: wrong})
        (notice,) = of(Notice, events)
        assert notice.message.startswith("nothing was changed: ")
        assert said in notice.message
        assert of(HyperparametersChanged, events) == []
        assert isinstance(events[-1], RunFinished)
        assert [event.max_kl for event in of(UpdateFinished, events)] == [0.01] * 3

    def test_right_change_after_a_wrong_one_is_made(self, config):
        events = run(config, {1: {"max_kl": -1}, 2: {"max_kl": 0.002}})
        assert of(UpdateFinished, events)[-1].max_kl == 0.002


class TestKept:
    def test_config_json_tells_of_every_change(self, config, tmp_path):
        control = Control()
        with RunDirectory.create(tmp_path / "run", config) as directory:
            for event in recorded_run(config, directory, control):
                if isinstance(event, UpdateFinished) and event.update < 3:
                    control.change({1: {"max_kl": 0.002}, 2: {"total_steps": 160}}[event.update])
        stored = json.loads((tmp_path / "run" / "config.json").read_text())
        assert stored["live_edits"] == [
            {"update": 1, "values": {"max_kl": 0.002}},
            {"update": 2, "values": {"total_steps": 160}},
        ]
        # the run as it began, with the length that a resumed run is to have
        expected = dataclasses.replace(config, total_steps=160)
        with RunDirectory.open(tmp_path / "run") as directory:
            assert config_from_dict(directory.config()) == expected
        about = {"trpotui", "command"}
        assert config_from_dict({k: v for k, v in stored.items() if k not in about}) == expected
        assert "after update 1: max_kl = 0.002" in (tmp_path / "run" / "run.log").read_text()

    def test_a_refused_change_is_logged_and_not_in_the_configuration(self, config, tmp_path):
        control = Control()
        control.change({"max_kl": -1})
        with RunDirectory.create(tmp_path / "run", config) as directory:
            list(recorded_run(config, directory, control))
        assert "live_edits" not in json.loads((tmp_path / "run" / "config.json").read_text())
        assert "nothing was changed: " in (tmp_path / "run" / "run.log").read_text()

    def test_full_disk_becomes_a_notice(self, config, tmp_path, monkeypatch):
        def full(*_):
            raise OSError(28, "No space left on device")

        control = Control()
        control.change({"max_kl": 0.002})
        with RunDirectory.create(tmp_path / "run", config) as directory:
            monkeypatch.setattr(directory, "record_edit", full)
            events = list(recorded_run(config, directory, control))
        (notice,) = of(Notice, events)
        assert "could not be added to the configuration: [Errno 28]" in notice.message
        assert of(UpdateFinished, events)[-1].max_kl == 0.002

    def test_policies_carry_the_changes_they_were_made_with(self, config):
        shelf = Shelf()
        config = dataclasses.replace(config, checkpoint_updates=1)
        run(config, {1: {"max_kl": 0.002}}, store=shelf)
        edits = [{"update": 1, "values": {"max_kl": 0.002}}]
        assert "live_edits" not in shelf.policies[0].config
        assert shelf.checkpoints[0]["live_edits"] == [], "what was kept followed the run"
        assert shelf.policies[-1].config["live_edits"] == edits
        assert shelf.policies[-1].config["hyperparameters"]["max_kl"] == 0.01
        content = load_entries(read_entries(policy_bytes(shelf.policies[-1])))
        assert content["config"]["live_edits"] == edits

    def test_the_changes_repeat_the_run(self, config):
        """config.json's configuration and edits hold all that the run was."""
        shelf = Shelf()
        run(config, {1: {"max_kl": 0.002, "gamma": 0.9}, 2: {"total_steps": 160}}, store=shelf)
        saved = shelf.policies[-1]
        edits = {edit["update"]: edit["values"] for edit in saved.config["live_edits"]}
        again = Shelf()
        run(config_from_dict(saved.config), edits, store=again)
        for name in ("actor", "critic"):
            ours = again.checkpoints[-1]["learner"][name]
            assert torch.equal(ours, shelf.checkpoints[-1]["learner"][name]), name


class TestResume:
    def test_a_resumed_run_knows_the_changes_of_its_first_part(self, config):
        first, second = Shelf(), Shelf()
        run(config, {1: {"max_kl": 0.002}}, store=first)
        longer = dataclasses.replace(config, total_steps=5 * STEPS)
        state = first.checkpoints[-1]
        events = run(longer, {4: {"gamma": 0.9}}, store=second, resume_from=state)
        assert [event.max_kl for event in of(UpdateFinished, events)] == [0.002, 0.002]
        assert [edit["update"] for edit in second.checkpoints[-1]["live_edits"]] == [1, 4]
        assert [edit["update"] for edit in state["live_edits"]] == [1]

    def test_a_change_that_was_lost_with_its_updates_is_not_claimed(self, config, tmp_path):
        kept = {"update": 1, "values": {"max_kl": 0.002}}
        with RunDirectory.create(tmp_path / "run", config) as directory:
            directory.record_edit(1, kept["values"])
            directory.record_edit(3, {"gamma": 0.9})
            directory.write_config(config, live_edits=[kept])
        stored = json.loads((tmp_path / "run" / "config.json").read_text())
        assert stored["live_edits"] == [kept]
        with RunDirectory.open(tmp_path / "run") as directory:
            directory.write_config(config)
        assert "live_edits" not in json.loads((tmp_path / "run" / "config.json").read_text())
