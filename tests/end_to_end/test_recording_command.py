"""`trpotui play` with several policies, films and recordings."""

from __future__ import annotations

import builtins
import contextlib
import dataclasses
import re
import signal
import sys
from pathlib import Path

import pytest
from PIL import Image

from tests.end_to_end.terminal import Terminal
from tests.faults import children
from tests.faults.disk import Disk
from tests.policy_samples import saved_policy
from tests.recording.recording_samples import (
    FPS,
    HEIGHT,
    WIDTH,
    Telling,
    gif_frames,
    mp4_frames,
    policy_file,
    signal_at,
    step_of,
)
from trpotui import progress_bar
from trpotui.cli.playing import Titled, contenders_of
from trpotui.cli.recording import record_to
from trpotui.config import RunConfig
from trpotui.episodes import PlayOptions
from trpotui.policy_file import read_policy, write_policy
from trpotui.recording.encoder import Picture
from trpotui.recording.options import RecordOptions
from trpotui.rl.policy import SavedPolicy
from trpotui.rl.saving import film_updates
from trpotui.run_directory import RunDirectory

SMALL = ("--episodes", "1", "--no-overlay")


@pytest.fixture(autouse=True)
def _no_fault(monkeypatch):
    monkeypatch.setattr(Telling, "fault", None)
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def policy(tmp_path) -> Path:
    return policy_file(tmp_path)


@pytest.fixture
def run(tmp_path) -> Path:
    """A CartPole run of 20 updates of which update 16 was best."""
    path = tmp_path / "run"
    with RunDirectory.create(path, RunConfig(environment_id="CartPole-v1")) as directory:
        directory.save_policy(at(16), best=True)
        directory.save_film({u: at(u) for u in (1, 8, 16)}, film_updates(20))
        directory.save_policy(at(20), best=False)
    return path


def at(update: int) -> SavedPolicy:
    return dataclasses.replace(
        saved_policy(hidden_sizes=(2,)), updates=update, steps=1000 * update, score=None
    )


def gif(path: Path) -> list[Picture]:
    return [frame for frame, _ in gif_frames(path.read_bytes())]


def refusal(result) -> str:
    """The one sentence with which a request was refused."""
    assert result.returncode == 2, result
    assert result.stdout == ""
    (sentence,) = result.stderr.splitlines()
    return sentence


def left(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


# recordings


def test_recording_needs_no_display_and_says_what_it_wrote(trpotui, policy):
    result = trpotui("play", policy, "--record", "a.gif", "--episodes", "2", "--no-overlay")
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[:2] == [
        "episode 1 of 2: return 21, 6 steps (seed 0)",
        "episode 2 of 2: return 28, 7 steps (seed 1)",
    ]
    assert re.search(r"wrote a\.gif: 39 frames of 60 x 40, 1\.9 s, \d+ kB$", result.stdout, re.M)
    assert result.stdout.splitlines()[-1] == "mean 24.5 over 2 episodes"
    assert [step_of(frame) for frame in gif(policy.parent / "a.gif")] == [*range(7), *range(8)]
    assert left(policy.parent) == {"p.pt", "a.gif"}


def test_mp4_and_sheet_by_their_suffix(trpotui, policy):
    result = trpotui("play", policy, "--record", "a.MP4", *SMALL, "--frames", "3", "--fps", "10")
    assert "wrote a.MP4: 3 frames of 60 x 40, 0.3 s" in result.stdout
    assert "it ends before the episodes do" in result.stdout
    assert "no episode was finished" in result.stdout
    frames, _ = mp4_frames((policy.parent / "a.MP4").read_bytes())
    assert [step_of(frame, tolerance=2) for frame in frames] == [0, 2, 4]
    result = trpotui("play", policy, "--record", "a.png", *SMALL, "--frames", "4")
    assert "a sheet of frames from 7 steps" in result.stdout
    with Image.open(policy.parent / "a.png") as image:
        assert image.width > 2 * WIDTH
        assert image.height > 2 * HEIGHT


def test_old_recording_is_replaced_and_options_reach_it(trpotui, policy):
    target = policy.parent / "a.gif"
    target.write_text("old")
    options = ("--size", "80x50", "--seconds", "0.2", "--stochastic", "--speed", "2", "--seed", "3")
    assert trpotui("play", policy, "--record", target, *SMALL, *options).returncode == 0
    frames = gif(target)
    assert frames[0].shape == (50, 80, 3)
    assert len(frames) == 0.2 * 2 * FPS


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--record", "a.avi"], r"\.gif or \.mp4 or \.png, not a\.avi"),
        (["--record", "a"], r"\.gif or \.mp4 or \.png, not a"),
        (["--record", "absent/a.gif"], "does not exist"),
        (["--record", "folder.gif"], "is no regular file"),
        (["--record", "a.gif", "--size", "big"], "--size takes"),
        (["--record", "a.gif", "--size", "4x4"], "16 to 4096"),
        (["--record", "a.gif", "--size", ""], "--size takes"),
        (["--record", "a.gif", "--fps", "0"], "fps"),
        (["--record", "a.gif", "--fps", "nan"], "fps"),
        (["--record", "a.gif", "--fps", "60"], "no more than 50"),
        (["--record", "a.png", "--fps", "5"], "shows steps"),
        (["--record", "a.gif", "--seconds", "-1"], "seconds"),
        (["--record", "a.gif", "--seconds", "1e9"], "seconds"),
        (["--record", "a.gif", "--frames", "0"], "frames"),
        (["--record", "a.png", "--frames", "1"], "2 at least"),
        (["--record", "a.gif", "--speed", "99"], "speed"),
        (["--record", "a.gif", "--view", "window"], "leave --view out"),
        (["--record", "a.gif", "--screenshots", "."], "--screenshots is for the window"),
        (["--view", "none", "--screenshots", "."], "--screenshots is for the window"),
        (["--size", "100", "--view", "none"], "add --record"),
        (["--overlay", "--view", "none"], "--overlay is for a recording"),
        (["--no-overlay", "--view", "none"], "--no-overlay is for a recording"),
        (["--record", "a.gif", "--film"], "--film takes"),
    ],
)
def test_wrong_requests_are_refused_before_an_episode(trpotui, policy, monkeypatch, options, says):
    (policy.parent / "folder.gif").mkdir()
    before = left(policy.parent)
    monkeypatch.setattr(Telling, "fault", lambda _: pytest.fail("it was played"))
    assert re.search(says, refusal(trpotui("play", policy, *options)))
    assert left(policy.parent) == before


def test_recording_onto_the_policy_is_refused(trpotui, policy):
    renamed = policy.rename(policy.with_suffix(".gif"))
    assert "would replace the policy" in refusal(trpotui("play", renamed, "--record", renamed))


@pytest.mark.parametrize(("suffix", "module"), [(".gif", "PIL"), (".mp4", "av"), (".png", "PIL")])
def test_absent_encoder_names_what_to_install(trpotui, policy, monkeypatch, suffix, module):
    for name in [name for name in sys.modules if name.split(".")[0] == module]:
        monkeypatch.delitem(sys.modules, name)
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name.split(".")[0] == module:
            raise ModuleNotFoundError(f"No module named '{module}'")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    monkeypatch.setitem(sys.modules, module, None)
    sentence = refusal(trpotui("play", policy, "--record", f"a{suffix}"))
    assert "pip install 'trpotui[record]'" in sentence
    assert left(policy.parent) == {"p.pt"}


def test_episodes_are_printed_when_the_bar_is_gone(policy, monkeypatch):
    happened = []

    @contextlib.contextmanager
    def bar(*_):
        yield lambda _: None
        happened.append("bar gone")

    monkeypatch.setattr(progress_bar, "progress_bar", bar)
    contenders = contenders_of([Titled("p", read_policy(policy))])
    options = PlayOptions(episodes=2)
    target = policy.parent / "a.gif"
    record_to(target, contenders, options, RecordOptions(overlay=False), happened.append)
    assert [getattr(what, "episode", what) for what in happened] == ["bar gone", 1, 2]


# whole or not at all


def test_full_disk_leaves_the_old_recording_and_nothing_else(trpotui, policy):
    target = policy.parent / "a.gif"
    target.write_text("old")
    with Disk(policy.parent, 0, "once") as disk:
        assert trpotui("play", policy, "--record", target, *SMALL).returncode == 0
    writes = [number for number, call in enumerate(disk.calls, 1) if call in ("write", "fsync")]
    assert len(writes) >= 2
    for number in writes[:2]:
        target.write_text("old")
        with Disk(policy.parent, number, "for good"):
            result = trpotui("play", policy, "--record", target, *SMALL)
        assert result.returncode == 1
        (sentence,) = result.stderr.splitlines()
        assert "a.gif could not be written" in sentence
        assert target.read_text() == "old"


@pytest.mark.parametrize("file", ["a.gif", "a.mp4"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_ended_in_the_middle_nothing_is_left(trpotui, policy, monkeypatch, number, file):
    monkeypatch.setattr(Telling, "fault", signal_at(4, number))
    code = {signal.SIGKILL: -9}.get(number, 128 + number)

    def action() -> int:
        try:
            return trpotui("play", policy, "--record", file, *SMALL).returncode
        except SystemExit as leaving:
            return leaving.code

    assert children.end(children.start(action)) == code
    assert left(policy.parent) == {"p.pt"}


def test_environment_that_fails_in_the_middle_leaves_nothing(trpotui, policy, monkeypatch):
    def fault(t: int) -> None:
        if t == 4:
            raise ValueError("no luck")

    monkeypatch.setattr(Telling, "fault", fault)
    result = trpotui("play", policy, "--record", "a.mp4", *SMALL)
    assert result.returncode == 1
    assert "Telling-v0 raised ValueError in step 4" in result.stderr
    assert left(policy.parent) == {"p.pt"}


@pytest.mark.slow
def test_progress_is_shown_on_a_terminal(tmp_path, trained):
    arguments = ("play", str(trained / "policy.pt"), "--record", "a.mp4", "--episodes", "200")
    with Terminal(tmp_path, *arguments) as terminal:
        terminal.wait_for("frames ")
        terminal.press("\x03")
        assert terminal.wait_for_end() == 130
        assert terminal.left_behind() == []
    assert not list(tmp_path.glob("*.mp4"))
    assert not list(tmp_path.glob(".writing*"))


# several policies


def test_several_policies_play_the_same_seeds(trpotui, tmp_path):
    for name in ("a", "b"):
        policy_file(tmp_path, f"{name}.pt", length=2)
    result = trpotui("play", "a.pt", "b.pt", "--view", "none", "--episodes", "2", "--seed", "7")
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines() == [
        "a: episode 1 of 2: return 45, 9 steps (seed 7)",
        "a: episode 2 of 2: return 55, 10 steps (seed 8)",
        "b: episode 1 of 2: return 45, 9 steps (seed 7)",
        "b: episode 2 of 2: return 55, 10 steps (seed 8)",
        "a: mean 50 over 2 episodes",
        "b: mean 50 over 2 episodes",
    ]
    result = trpotui("play", "a.pt", "b.pt", "--record", "ab.gif", "--size", "100", *SMALL)
    assert result.returncode == 0, result.stderr
    frames = gif(tmp_path / "ab.gif")
    assert len(frames) == 3
    assert frames[0].shape[0] == 100
    assert frames[0].shape[1] > 200


def test_policies_of_two_environments_are_refused_in_a_sentence(trpotui, policy, tmp_path):
    write_policy(tmp_path / "q.pt", saved_policy())
    sentence = refusal(trpotui("play", policy, "q.pt", "--record", "a.gif"))
    assert "only policies of one environment can be compared" in sentence
    assert "Telling-v0" in sentence
    assert "CartPole-v1" in sentence
    assert "too many" in refusal(trpotui("play", *[policy] * 17, "--view", "none"))
    assert "the terminal shows one policy" in refusal(
        trpotui("play", policy, policy, "--view", "terminal")
    )


def test_titles_tell_policies_of_the_same_name_apart():
    from trpotui.cli.playing import _titles

    assert _titles([Path("x/a.pt"), Path("y/a.pt")]) == ["x/a", "y/a"]
    assert _titles([Path("x/a.pt"), Path("y/b.pt")]) == ["a", "b"]
    assert _titles([Path("a.pt"), Path("a.pt")]) == ["1: a.pt", "2: a.pt"]
    assert _titles([Path("a"), Path("a.pt")]) == ["1: a", "2: a.pt"]  # a run, and its --output


# films


def test_run_is_played_by_its_best_policy(trpotui, run):
    by_name = trpotui("play", run / "best.pt", "--view", "none").stdout
    (run / "policy.pt").write_bytes(b"not this one")
    assert trpotui("play", run, "--view", "none").stdout == by_name
    assert "holds no run" in refusal(trpotui("play", run.parent, "--view", "none"))


def test_film_plays_its_policies_on_the_same_seeds(trpotui, run):
    result = trpotui("play", run, "--film", "--view", "none", "--episodes", "1", "--seed", "4")
    lines = result.stdout.splitlines()
    names = [
        "first, 1,000 steps",
        "middle, 8,000 steps",
        "best, 16,000 steps",
        "last, 20,000 steps",
    ]
    assert [line.split(": ")[0] for line in lines] == names * 2
    assert all("(seed 4)" in line for line in lines[:4])
    assert result.stderr == ""


def test_film_is_recorded_side_by_side(trpotui, run):
    result = trpotui("play", run, "--film", "--record", "f.gif", "--size", "60", *SMALL)
    assert result.returncode == 0, result.stderr
    assert "last, 20,000 steps: mean" in result.stdout
    (frame, *_) = gif(run.parent / "f.gif")
    assert frame.shape[1] > 4 * 75  # three are 4 * 63


def test_film_without_its_first_policy_says_so_and_plays_the_rest(trpotui, run):
    for name in ("film-1.pt", "film-8.pt", "film-16.pt"):
        (run / name).unlink()
    result = trpotui("play", run, "--film", "--view", "none", "--episodes", "1")
    assert result.returncode == 0
    assert "kept no first" in result.stderr
    assert len(result.stdout.splitlines()) == 4
    assert "--film takes the directory of one run" in refusal(trpotui("play", run, run, "--film"))
