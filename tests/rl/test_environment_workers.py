"""Environments in processes of their own: the same numbers, the same faults, and nothing left."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from resuming import Push, Shelf, differences, inexact, make_config, run
from worker_environments import EXIT, FAULTS, HANG, NAN, Keeper, Maze, Sticky, Walk

from trpotui import imports
from trpotui.errors import EnvironmentFaultError, RequestError
from trpotui.events import UpdateFinished
from trpotui.rl.checkpoint import as_arrays, as_tensors
from trpotui.rl.environments import BatchedEnvironment, make_environments
from trpotui.rl.observations import mapped
from trpotui.rl.recorded_environment import RecordedEnvironment
from trpotui.rl.replay import RebuildError
from trpotui.rl.trainer import check, train
from trpotui.rl.worker_handle import where_errors_go

ACTIONS = np.random.default_rng(0).integers(0, 3, (60, 3))
SEEDS = [5, 6, 7]


def made(environment_id: str, workers: int, *, n_envs: int = 3, timeout: float = 60.0):
    return RecordedEnvironment.of(
        make_environments(environment_id, {}, n_envs=n_envs, workers=workers, timeout=timeout)
    )


def pids(environments: BatchedEnvironment) -> list[int]:
    form: Any = environments._form
    return [worker._process.pid for worker in form._workers]


def lives(pid: int) -> bool:
    """Whether there is such a process; one that has ended and was waited for is none."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.fixture(scope="module")
def mazes():
    """In this process and in two others: processes are dear, and a reset makes all as new."""
    gymnasium.register("WorkerMaze-v0", entry_point=Maze)
    here, there = made("WorkerMaze-v0", 0), made("WorkerMaze-v0", 2)
    yield here, there
    here.close()
    there.close()
    del gymnasium.registry["WorkerMaze-v0"]


@pytest.fixture
def maze(mazes):
    """Both, with no step taken so far."""
    for it in mazes:
        it.reset(seed=0)
        it.set_counts({**it.counts(), "steps": 0})
    return mazes


def plain(value: Any) -> Any:
    """With types and shapes, so that equal means the same bits."""
    return mapped(lambda leaf: (np.asarray(leaf).tolist(), str(np.asarray(leaf).dtype)), value)


def told(environments: RecordedEnvironment, actions: np.ndarray) -> list[Any]:
    kept: list[Any] = []
    for action in actions:
        step = environments.step(action)
        kept += [*step, np.array(environments.take_finished_episodes())]
        kept += list(environments.counts().values())
    return list(map(plain, kept))  # only now: later steps must not change what was handed out


def stored(environments: RecordedEnvironment) -> dict[str, Any]:
    return as_arrays(as_tensors(environments.position().plain()))


def nothing() -> None:
    """An interrupt that never comes."""


class TestTheSame:
    @pytest.mark.parametrize("seed", [SEEDS, 11])
    def test_all_that_steps_say(self, maze, seed):
        here, there = maze
        assert plain(here.reset(seed=seed)) == plain(there.reset(seed=seed))
        assert told(here, ACTIONS) == told(there, ACTIONS)
        assert there.seeds_each

    def test_where_they_are(self, maze):
        positions = []
        for it in maze:
            it.reset(seed=SEEDS)
            told(it, ACTIONS[:25])
            kept = it.position()
            told(it, ACTIONS[25:])
            it.reset(seed=[1, 2, 3])
            positions.append(json.dumps(kept.plain(), default=np.ndarray.tolist))
        assert positions[0].replace(" ", "") == positions[1].replace(" ", "")

    @pytest.mark.parametrize("steps", [0, 1, 17])
    @pytest.mark.parametrize("back", [0, 1])
    def test_one_goes_on_where_the_other_was(self, maze, back, steps):
        one, other = maze[back], maze[1 - back]
        shown = one.reset(seed=SEEDS)
        for action in ACTIONS[:steps]:
            shown = one.step(action).observations
        one.take_finished_episodes()
        state = stored(one)
        other.reset(seed=[1, 2, 3])
        told(other, ACTIONS[:5])
        other.reset(seed=SEEDS)
        assert plain(other.rebuild(state, nothing)) == plain(shown)
        assert told(other, ACTIONS[steps:]) == told(one, ACTIONS[steps:])

    def test_what_cannot_begin_once_more_is_said(self, maze):
        _, there = maze
        there.reset(seed=SEEDS)
        told(there, ACTIONS[:4])
        state = stored(there)
        state["record"]["actions"][:, 1] = 2  # with which the walk ends soon
        state["record"]["steps"][:] = 4
        state["record"]["starts"] = json.dumps([{"seed": n, "episode": 0} for n in SEEDS])
        with pytest.raises(RebuildError, match="an episode that went on has now ended"):
            there.rebuild(state, nothing)
        # and nothing that was said then is taken for an answer to this
        assert plain(maze[0].reset(seed=SEEDS)) == plain(there.reset(seed=SEEDS))

    @pytest.mark.parametrize("workers", [0, 2])
    def test_unfit_data_in_the_middle_of_it_is_why_it_cannot_be_done(self, register, workers):
        it = made(register(Maze), workers)
        it.reset(seed=SEEDS)
        told(it, np.zeros((7, 3), np.int64))  # so far to one side that no episode ends
        state = stored(it)
        state["record"]["actions"][-1, 1] = NAN
        it.reset(seed=SEEDS)
        with pytest.raises(RebuildError, match="place is not finite"):
            it.rebuild(state, nothing)
        it.reset(seed=SEEDS)  # and new episodes begin
        it.close()

    def test_a_process_that_is_lost_is_why_it_cannot_be_done(self, register):
        there = made(register(Maze), 2)
        there.reset(seed=SEEDS)
        told(there, ACTIONS[:4])
        state = stored(there)
        os.kill(pids(there)[0], signal.SIGKILL)
        with pytest.raises(RebuildError, match="was killed by SIGKILL"):
            there.rebuild(state, nothing)
        with pytest.raises(EnvironmentFaultError, match="was killed by SIGKILL"):
            there.reset(seed=SEEDS)
        there.close()

    def test_waiting_for_it_can_be_interrupted(self, register):
        class EnoughError(Exception):
            pass

        def enough():
            raise EnoughError

        there = made(register(Maze), 2)
        there.reset(seed=SEEDS)
        told(there, ACTIONS[:4])
        state, processes = stored(there), pids(there)
        with pytest.raises(EnoughError):
            there.rebuild(state, enough)
        there.close()
        assert not any(map(lives, processes))

    def test_an_action_that_is_kept_stays_as_it_was_and_torch_is_not_there(self, register):
        here, there = (made(register(Keeper), workers, n_envs=2) for workers in (0, 9))
        assert len(pids(there)) == 2
        actions = np.random.default_rng(1).uniform(-1, 1, (6, 2, 2)).astype(np.float32)
        for it in (here, there):
            it.reset(seed=0)
        for action in actions:
            one, other = here.step(action).observations, there.step(action).observations
            assert one[:, :2].tolist() == other[:, :2].tolist()
            assert other[:, 2].tolist() == [0, 0]
        there.close()


class TestFaults:
    @pytest.mark.parametrize("at", [0, 2])
    @pytest.mark.parametrize("action", FAULTS)
    def test_what_goes_wrong_there_is_said_as_if_it_were_here(self, maze, action, at):
        _, there = maze
        there.reset(seed=1)
        for _ in range(2):
            there.step(np.zeros(3, np.int64))
        actions = np.zeros(3, np.int64)
        actions[at] = action
        with pytest.raises(EnvironmentFaultError) as fault:
            there.step(actions)
        assert str(fault.value) == f"WorkerMaze-v0: {FAULTS[action]}"

    def test_what_goes_wrong_first_is_said_of_several(self, maze):
        _, there = maze
        there.reset(seed=1)
        with pytest.raises(EnvironmentFaultError, match="not finite"):
            there.step(np.array([4, 0, 3]))
        assert plain(maze[0].reset(seed=SEEDS)) == plain(there.reset(seed=SEEDS))

    def test_a_process_that_is_killed_is_named_and_nothing_is_left(self, register):
        there = made(register(Maze), 2)
        there.reset(seed=1)
        there.step(np.zeros(3, np.int64))
        processes = pids(there)
        os.kill(processes[1], signal.SIGKILL)
        with pytest.raises(EnvironmentFaultError) as fault:
            there.step(np.zeros(3, np.int64))
        assert str(fault.value) == (
            f"{there.name}: step 2: worker process 2 of 2 was killed by SIGKILL, as the system "
            "does when memory runs out"
        )
        assert lives(processes[0])
        there.close()
        there.close()
        assert not any(map(lives, processes))

    def test_a_process_that_ends_or_hangs_is_named_and_killed(self, register):
        there = made(register(Maze), 2, timeout=0.3)
        there.reset(seed=1)
        with pytest.raises(EnvironmentFaultError) as fault:
            there.step(np.array([0, 0, HANG]))
        assert str(fault.value) == (
            f"{there.name}: step 1: worker process 2 of 2 has not answered for 0.3 s (env_timeout)"
        )
        with pytest.raises(EnvironmentFaultError) as fault:
            there.step(np.array([EXIT, 0, 0]))
        assert str(fault.value) == (
            f"{there.name}: step 2: worker process 1 of 2 ended with exit code 7"
        )
        processes = pids(there)
        there.close()
        assert not any(map(lives, processes))

    def test_a_process_that_does_not_end_when_it_should_is_killed(self, register, monkeypatch):
        monkeypatch.setattr("trpotui.rl.environment_workers.CLOSE_SECONDS", 0.2)
        there = made(register(Sticky), 1, n_envs=1)
        (pid,) = pids(there)
        there.close()
        assert not lives(pid)

    def test_signals_that_end_the_program_are_not_for_its_processes(self, maze):
        here, there = maze
        for pid in pids(there):
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                os.kill(pid, number)
        assert plain(here.reset(seed=SEEDS)) == plain(there.reset(seed=SEEDS))
        assert told(here, ACTIONS[:5]) == told(there, ACTIONS[:5])


class TestRuns:
    @pytest.mark.parametrize("workers", [(2, 0), (0, 2)])
    def test_a_run_is_the_same_whoever_steps_and_so_is_a_resumed_one(self, register, workers):
        config = make_config(register(Walk), normalize_observations=True)
        whole, _ = run(config, 6)
        first, _ = run(dataclasses.replace(config, env_workers=workers[0]), 3)
        second, events = run(
            dataclasses.replace(config, env_workers=workers[1]), 6, resume_from=first.last
        )
        assert inexact(events) == []
        assert first.rows + second.rows == whole.rows
        assert len(whole.rows) == 6
        assert set(differences(second.last, whole.last)) <= {".config"}

    def test_a_run_whose_process_dies_is_saved_first(self, register, monkeypatch):
        forms = []

        def kept(*arguments, **keywords):
            forms.append(make_environments(*arguments, **keywords))
            return forms[-1]

        monkeypatch.setattr("trpotui.rl.trainer.make_environments", kept)
        shelf, updates = Shelf(), 0
        with pytest.raises(EnvironmentFaultError, match=r"process 1 of 2 was killed"):  # noqa: PT012
            for event in train(make_config(register(Walk), env_workers=2), store=shelf):
                if isinstance(event, UpdateFinished):
                    updates = event.update
                    if updates == 2:
                        os.kill(pids(forms[0])[0], signal.SIGKILL)
        assert shelf.last["update"] == updates == 2
        assert not any(map(lives, pids(forms[0])))


PROGRAM = """
import gymnasium, json, numpy, sys, time
from worker_environments import HANG, Maze, Walk
from trpotui.rl.environments import make_environments
assert "torch" not in sys.modules
gymnasium.register("Maze-v0", entry_point=Maze)
class Own(Walk):  # which no other process can import
    pass
gymnasium.register("Walk-v0", entry_point=Own)
environments = make_environments("Walk-v0", {}, n_envs=2, workers=1)
environments.reset(seed=0)
maze = make_environments("Maze-v0", {}, n_envs=1, workers=1)
maze.reset(seed=0)
maze.step(numpy.array([HANG]))
"""


def test_no_process_outlives_a_program_that_was_killed_and_none_writes_to_its_output():
    """Not one that waits, and not one that hangs; what they say goes to its standard error."""
    here = Path(__file__).parent
    program = subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(here), str(here.parents[1])])},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert program.stderr is not None
    said = [program.stderr.readline() for _ in range(3)]
    program.kill()
    # ends when nobody is left who could write there
    assert program.communicate(timeout=60) == ("", "")
    assert said == ["all is well\n", "all is well\n", "from now on it hangs\n"]


@pytest.mark.parametrize("descriptor", [-1, None])
def test_in_the_app_nothing_is_written_to_the_terminal(monkeypatch, descriptor):
    """Its standard error is no file: what is written to the terminal would spoil the screen."""

    class Captured:
        def fileno(self):
            if descriptor is None:
                raise ValueError("there is no file")
            return descriptor

    monkeypatch.setattr(sys, "stderr", Captured())
    assert where_errors_go() == subprocess.DEVNULL
    monkeypatch.setattr(sys, "stderr", None)
    assert where_errors_go() == subprocess.DEVNULL


class Unsendable(Push):
    """Made with what no other process can have."""

    def __init__(self, lock: Any = None) -> None:
        super().__init__()
        self.lock = lock


class TestRequests:
    def test_what_cannot_be_sent_is_refused_before_anything_is_trained(self, register):
        lock = threading.Lock()
        environment_id = register(lambda: Unsendable(lock))
        config = make_config(environment_id, env_workers=2)
        with pytest.raises(RequestError) as refusal:
            check(config)
        assert str(refusal.value) == (
            f"environment {environment_id} cannot be sent to worker processes (TypeError: cannot "
            "pickle '_thread.lock' object): use --env-workers 0"
        )

    def test_a_vector_form_of_its_own_is_not_given_up(self):
        with pytest.raises(RequestError, match=r"8 copies of CartPole-v1 .*--env-workers 0$"):
            check(make_config("CartPole-v1", n_envs=8, env_workers=2))
        check(make_config("CartPole-v1", n_envs=2, env_workers=2))

    def test_modules_of_a_persons_own_are_imported_there(self, tmp_path, monkeypatch):
        (tmp_path / "labyrinths.py").write_text(
            "import gymnasium\n"
            "from worker_environments import Walk\n"
            "gymnasium.register('Inner-v0', Walk)\n"
            "gymnasium.register('Outer-v0', 'labyrinths:outer')\n"
            "def outer():\n"
            "    return gymnasium.make('Inner-v0')\n"
        )
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.setattr(imports, "_imported", [])
        imports.import_modules(["labyrinths"])
        try:
            environments = make_environments("Outer-v0", {}, n_envs=1, workers=1)
            environments.reset(seed=1)
            environments.close()
            (tmp_path / "labyrinths.py").unlink()
            with pytest.raises(RequestError) as refusal:
                make_environments("Outer-v0", {}, n_envs=1, workers=1)
        finally:
            for name in ("Inner-v0", "Outer-v0"):
                del gymnasium.registry[name]
            del sys.modules["labyrinths"]
        assert str(refusal.value) == (
            "a worker process cannot make the environment (ModuleNotFoundError: No module named "
            "'labyrinths'): name the modules that register it with --import, or use --env-workers 0"
        )

    @pytest.mark.parametrize(
        ("error", "words"),
        [(ImportError("no module named mujoco"), "mujoco"), (AssertionError(), "AssertionError")],
    )
    def test_what_cannot_be_made_there_is_said_as_if_it_were_here(self, register, error, words):
        def broken():
            raise error

        environment_id = register(broken)
        said = []
        for workers in (0, 1):
            with pytest.raises(RequestError) as refusal:
                make_environments(environment_id, {}, n_envs=2, workers=workers)
            said.append(str(refusal.value))
        assert said[0] == said[1]
        assert words in said[0]
