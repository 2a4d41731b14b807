"""`trpotui eval`, `inspect` and `play` on policy files."""

import json
import os
import statistics
import subprocess

import pytest

from tests.end_to_end.conftest import TRPOTUI


def test_eval_reports_the_same_numbers_as_json_and_as_text(trpotui, trained):
    policy = trained / "policy.pt"
    scored = json.loads(trpotui("eval", policy, "--episodes", "30", "--json").stdout)
    assert scored["episodes"] == 30 == len(scored["returns"])
    assert scored["mean"] == pytest.approx(statistics.fmean(scored["returns"]))
    assert scored["std"] == pytest.approx(statistics.pstdev(scored["returns"]))
    assert (scored["min"], scored["max"]) == (min(scored["returns"]), max(scored["returns"]))
    text = trpotui("eval", policy, "--episodes", "30").stdout
    assert f"30 episodes: {scored['mean']:.2f}" in text


def test_eval_is_the_same_for_the_same_seed_and_another_for_another(trpotui, trained):
    policy = trained / "policy.pt"

    def returns(*options):
        return json.loads(trpotui("eval", policy, "--json", *options).stdout)["returns"]

    assert returns() == returns()
    assert returns("--seed", "1") != returns()
    assert returns("--stochastic") == returns("--stochastic")
    assert returns("--stochastic") != returns()


def test_inspect_tells_where_a_policy_came_from(trpotui, trained):
    text = trpotui("inspect", trained / "policy.pt").stdout
    for fact in ("CartPole-v1", "trpo", "categorical", "[64, 64]", "max_kl=0.0001"):
        assert fact in text, fact
    printed = trpotui("inspect", trained / "policy.pt", "--json").stdout
    facts = json.loads(printed, parse_constant=pytest.fail)  # JSON knows no infinity
    assert facts["observations"]["low"][1] is None
    assert facts["environment"] == "CartPole-v1"
    assert facts["configuration"]["hyperparameters"]["rollout_steps"] == 64
    assert facts["score when saved"]["episodes"] in (20, 100)


def test_play_without_a_window_prints_each_episode_and_the_mean(trpotui, trained):
    arguments = [trained / "policy.pt", "--view", "none", "--episodes", "2", "--seed", "5"]
    result = trpotui("play", *arguments)
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[0].startswith("episode 1 of 2: return ")
    assert lines[0].endswith("(seed 5)")
    assert lines[1].endswith("(seed 6)")
    assert lines[2].startswith("mean ")
    assert "over 2 episodes" in lines[2]


@pytest.mark.slow
def test_play_without_a_display_says_so_and_does_not_pretend(trained):
    hidden = ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER")
    environment = {key: value for key, value in os.environ.items() if key not in hidden}
    result = subprocess.run(
        [*TRPOTUI, "play", str(trained / "policy.pt")],
        capture_output=True,
        text=True,
        env=environment,
        timeout=120,
        check=False,
    )
    assert result.returncode == 2
    assert result.stdout == ""
    assert "there is no display" in result.stderr
    assert "--view none" in result.stderr


@pytest.mark.parametrize("command", ["play", "eval", "inspect"])
@pytest.mark.parametrize("kind", ["missing", "text", "empty", "folder"])
def test_a_file_that_is_no_policy_is_refused_in_one_sentence(trpotui, tmp_path, command, kind):
    path = tmp_path / "x.pt"
    if kind == "text":
        path.write_text("not a policy")
    elif kind == "empty":
        path.touch()
    elif kind == "folder":
        path.mkdir()
    result = trpotui(command, path)
    assert result.returncode == 2
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 1, result.stderr
    assert "x.pt" in result.stderr
