"""A policy that looks at pictures, from training to playing."""

import json

import gymnasium
import pytest

from tests.rl.picture_environments import BrightSide

ENVIRONMENT = "BrightSide-v0"


@pytest.fixture
def _bright_side():
    gymnasium.register(ENVIRONMENT, entry_point=BrightSide)
    yield
    del gymnasium.registry[ENVIRONMENT]


@pytest.mark.usefixtures("_bright_side")
@pytest.mark.slow
def test_a_policy_for_pictures_is_trained_scored_shown_and_played(trpotui):
    settings = ["network=cnn", "hidden_sizes=", "rollout_steps=8", "cg_iterations=2"]
    options = [word for setting in settings for word in ("--set", setting)]
    options += ["--steps", "128", "--n-envs", "8", "-o", "mine.pt"]
    result = trpotui("train", "--no-ui", "--env", ENVIRONMENT, *options)
    assert result.returncode == 0, result.stderr

    scored = json.loads(trpotui("eval", "mine.pt", "--episodes", "20", "--json").stdout)
    assert scored["episodes"] == 20
    assert set(scored["returns"]) <= {-1.0, 1.0}

    facts = json.loads(trpotui("inspect", "mine.pt", "--json").stdout)
    assert (facts["network"], facts["hidden layers"]) == ("cnn", [])
    assert facts["actor parameters"] == 107_168 + 513 * 2
    shown = trpotui("inspect", "mine.pt").stdout
    assert max(map(len, shown.splitlines())) < 3000, "the bounds of every pixel are of no interest"

    played = trpotui("play", "mine.pt", "--view", "none", "--episodes", "3", "--seed", "1000000")
    assert played.returncode == 0, played.stderr
    returns = [
        float(line.split("return ")[1].split(",")[0]) for line in played.stdout.splitlines()[:3]
    ]
    again = json.loads(
        trpotui("eval", "mine.pt", "--episodes", "3", "--seed", "1000000", "--json").stdout
    )
    assert returns == again["returns"]


@pytest.mark.usefixtures("_bright_side")
def test_a_network_for_pictures_is_refused_where_there_are_none(trpotui):
    result = trpotui("train", "--no-ui", "--env", "CartPole-v1", "--set", "network=cnn")
    assert result.returncode == 2
    assert len(result.stderr.splitlines()) == 1, result.stderr
    assert "it takes images, a Box of uint8" in result.stderr
    assert list(trpotui.folder.iterdir()) == []
