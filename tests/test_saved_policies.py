"""The policies that come with the program are playable and as good as their README says."""

import re
from pathlib import Path

import pytest

from trpotui.policy_file import check_environment, read_policy
from trpotui.rl.environments import make_environments
from trpotui.rl.evaluation import evaluate

FOLDER = Path(__file__).parent.parent / "saved_policies"
PUBLISHED = {
    "cartpole.pt": 500.0,
    "acrobot.pt": -83.1,
    "pendulum.pt": -174.6,
    "mountaincar.pt": -107.3,
    "mountaincar_continuous.pt": 92.5,
}
README = (FOLDER / "README.md").read_text(encoding="utf-8")


def score_of(name, episodes=100):
    saved = read_policy(FOLDER / name)
    check_environment(saved, FOLDER / name)
    spec = saved.policy.spec
    environments = make_environments(spec.environment_id, spec.environment_kwargs, n_envs=100)
    try:
        return evaluate(saved.policy, environments, episodes=episodes, seed=0).score
    finally:
        environments.close()


def test_every_policy_in_the_folder_is_known_here():
    assert {path.name for path in FOLDER.glob("*.pt")} == set(PUBLISHED)


@pytest.mark.parametrize("name", PUBLISHED)
def test_saved_policy_reaches_the_published_score(name):
    assert score_of(name).mean >= PUBLISHED[name]


@pytest.mark.parametrize("name", PUBLISHED)
def test_readme_tells_the_score_and_the_command(name):
    row = next(line for line in README.splitlines() if line.startswith(f"| `{name}`"))
    saved = read_policy(FOLDER / name)
    environment = saved.policy.spec.environment_id
    assert f"| {environment} |" in row
    assert f"trpotui train --no-ui --env {environment} --seed {saved.seed} -o {name}" in row
    said = float(re.search(r"(-?[\d.]+) ± ", row).group(1))
    assert said == pytest.approx(score_of(name).mean, abs=0.05)
