"""`trpotui eval` with several policies, and what it writes."""

from __future__ import annotations

import contextlib
import csv
import errno
import json
import os
import statistics
from pathlib import Path

import pytest

from tests.policy_samples import saved_policy
from trpotui import comparison
from trpotui.policy_file import write_policy

SAVED = Path(__file__).parents[2] / "saved_policies"


@pytest.fixture
def policies(tmp_path):
    """Two CartPole policies of random weights in the folder of the command."""
    write_policy(tmp_path / "a.pt", saved_policy())
    write_policy(tmp_path / "b.pt", saved_policy(hidden_sizes=(4,), normalized=True))
    return ["a.pt", "b.pt"]


def test_table_json_and_files_tell_the_same(trpotui, policies, tmp_path):
    options = ["--episodes", "40", "--seed", "5"]
    data = json.loads(trpotui("eval", *policies, *options, "--json").stdout)
    text = trpotui("eval", *policies, *options, "-o", "scores.csv").stdout
    assert trpotui("eval", *policies, *options, "-o", "scores.json").returncode == 0
    written = json.loads((tmp_path / "scores.json").read_text())
    with (tmp_path / "scores.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert data["environment"] == "CartPole-v1"
    for policy, again, line in zip(data["policies"], written["policies"], lines, strict=True):
        assert len(policy["returns"]) == len(policy["lengths"]) == 40
        assert policy["mean"] == pytest.approx(statistics.fmean(policy["returns"]))
        assert policy["median"] == statistics.median(policy["returns"])
        assert f"{policy['mean']:.2f} ± {policy['std']:.2f}" in text
        assert policy["episodes_per_second"] > 0
        for name, value in policy.items():
            if name != "episodes_per_second":
                assert again[name] == value
        assert float(line["mean"]) == policy["mean"]
    assert [policy["policy"] for policy in data["policies"]] == policies
    assert data["policies"][0]["improvement"] is None
    low, high = data["policies"][1]["improvement_interval"]
    assert 0 <= low <= data["policies"][1]["improvement"] <= high <= 1


def test_each_policy_scores_what_it_scores_alone(trpotui, policies):
    options = ["--episodes", "30", "--json"]
    together = json.loads(trpotui("eval", *policies, *options).stdout)["policies"]
    for name, policy in zip(policies, together, strict=True):
        alone = json.loads(trpotui("eval", name, *options).stdout)
        assert list(alone) == ["episodes", "mean", "std", "min", "max", "returns"]
        assert {key: policy[key] for key in alone} == alone


def test_a_single_policy_prints_what_it_always_did_and_can_be_written_too(trpotui, policies):
    line = trpotui("eval", policies[0], "--episodes", "20").stdout
    both = trpotui("eval", policies[0], "--episodes", "20", "-o", "a.json")
    assert both.stdout == line
    assert line.startswith("CartPole-v1, 20 episodes: ")
    assert line.count("\n") == 1


def test_progress_counts_the_episodes_of_all_policies(trpotui, policies, monkeypatch):
    asked, told = [], []

    @contextlib.contextmanager
    def noted(*arguments):
        asked.append(arguments)
        yield told.append

    monkeypatch.setattr("trpotui.progress_bar.progress_bar", noted)
    assert trpotui("eval", *policies, "--episodes", "15").returncode == 0
    assert asked == [("episodes", 30)]
    assert told[-1] == 30


def test_policies_of_different_environments_are_refused_before_they_play(trpotui, monkeypatch):
    monkeypatch.setattr(comparison, "evaluate", None)
    result = trpotui("eval", SAVED / "cartpole.pt", SAVED / "acrobot.pt", "-o", "x.json")
    assert result.returncode == 2
    assert result.stdout == ""
    assert "CartPole-v1" in result.stderr
    assert "Acrobot-v1" in result.stderr
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("output", "sentence"),
    [
        ("scores.txt", "ends in .json or .csv"),
        ("scores", "ends in .json or .csv"),
        ("missing/scores.csv", "does not exist"),
        ("folder.csv", "no regular file"),
        ("a.json", "would replace the policy"),
    ],
)
def test_an_output_that_cannot_be_is_refused_before_the_episodes(
    trpotui, policies, tmp_path, output, sentence
):
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "a.json").symlink_to("a.pt")
    before = (tmp_path / "a.pt").read_bytes()
    result = trpotui("eval", *policies, "--episodes", "1000000000", "--output", output)
    assert result.returncode == 2
    assert result.stdout == ""
    assert sentence in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert (tmp_path / "a.pt").read_bytes() == before


def test_a_full_disk_keeps_the_old_file_and_the_table(trpotui, policies, tmp_path, monkeypatch):
    (tmp_path / "scores.csv").write_text("old")
    names = sorted(path.name for path in tmp_path.iterdir())

    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    result = trpotui("eval", *policies, "--episodes", "5", "-o", "scores.csv")
    assert result.returncode == 1
    assert "IQM" in result.stdout
    assert "scores.csv could not be written" in result.stderr
    assert "No space left" in result.stderr
    assert (tmp_path / "scores.csv").read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == names


@pytest.mark.parametrize("position", [0, 1])
@pytest.mark.parametrize("kind", ["missing", "text"])
def test_one_bad_file_among_good_ones_is_named(trpotui, policies, tmp_path, position, kind):
    if kind == "text":
        (tmp_path / "x.pt").write_text("not a policy")
    policies.insert(position, "x.pt")
    result = trpotui("eval", *policies)
    assert result.returncode == 2
    assert result.stdout == ""
    assert "x.pt" in result.stderr
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.slow
def test_a_reader_that_left_does_not_keep_the_file_from_being_written(trpotui, policies, tmp_path):
    process = trpotui.start("eval", *policies, "--episodes", "5", "-o", "scores.json")
    process.stdout.close()
    assert process.wait(timeout=120) == 0, process.stderr.read()
    assert process.stderr.read() == ""
    process.stderr.close()
    assert len(json.loads((tmp_path / "scores.json").read_text())["policies"]) == 2
