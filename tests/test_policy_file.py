from __future__ import annotations

import dataclasses
import io
import os
import sys
import warnings
import zipfile
from pathlib import Path

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from policy_samples import saved_policy

from trpotui.errors import PolicyFileError, RunError
from trpotui.policy_file import (
    check_environment,
    policy_bytes,
    read_policy,
    shown,
    write_policy,
)
from trpotui.policy_file.archive import MAX_FILE_BYTES

GAUSSIAN = {
    "environment_id": "Pendulum-v1",
    "observation_space": spaces.Box(-8, 8, (3,)),
    "action_space": spaces.Box(-2, 2, (1,)),
}
IMAGES = {
    "observation_space": spaces.Box(0, 255, (36, 36, 1), np.uint8),
    "hidden_sizes": (),
    "network": "cnn",
}
SAMPLES = {
    "categorical": {},
    "gaussian": GAUSSIAN | {"normalized": True},
    "no hidden layer": {"hidden_sizes": ()},
    "discrete observations": {
        "observation_space": spaces.Discrete(48, start=-3),
        "action_space": spaces.Discrete(4, start=1),
    },
    "images": {"observation_space": spaces.Box(0, 255, (6, 5, 3), np.uint8), "normalized": True},
    "float64 and bool": {
        "observation_space": spaces.Box(0, 1, (4,), np.bool_),
        "action_space": spaces.Box(-0.1, 1 / 3, (2, 2), np.float64),
    },
    "unbounded integers": {
        "observation_space": spaces.Box(-np.inf, np.inf, (2,), np.int64),
    },
    "clipped relu": {"activation": "relu", "logit_clip": 20.0},
    "state-dependent sigma": GAUSSIAN | {"exploration": "state_dependent"},
    "gsde": GAUSSIAN | {"exploration": "gsde", "sde_interval": 8},
    "convolutional": IMAGES,
    "convolutional, channels first": IMAGES
    | {"observation_space": spaces.Box(0, 255, (1, 36, 36), np.uint8), "hidden_sizes": (4,)},
    "keyword arguments": {"environment_kwargs": {"a": [1, 2.5, None, True], "b": {"c": "d\ne"}}},
}


def arrays_of(policy):
    yield from policy.actor.values()
    yield from policy.critic.values()
    if policy.moments is not None:
        yield policy.moments.mean
        yield policy.moments.variance


def assert_same(saved, other):
    for array, expected in zip(arrays_of(saved.policy), arrays_of(other.policy), strict=True):
        assert array.dtype == expected.dtype
        assert array.shape == expected.shape
        assert array.tobytes() == expected.tobytes()
    assert saved.policy.spec == other.policy.spec
    for name in ("algorithm", "config", "seed", "steps", "updates", "score", "versions", "created"):
        assert getattr(saved, name) == getattr(other, name)
    ours, theirs = saved.policy.moments, other.policy.moments
    assert (ours is None) == (theirs is None)
    if ours is not None:
        assert (ours.count, ours.clip) == (theirs.count, theirs.clip)


def with_actor(saved, **arrays):
    """The same policy with other arrays in its actor."""
    policy = dataclasses.replace(saved.policy, actor={**saved.policy.actor, **arrays})
    return dataclasses.replace(saved, policy=policy)


def refusal(path) -> str:
    """The sentence with which a file is refused; it names the file and shows nothing raw."""
    with pytest.raises(PolicyFileError) as caught:
        read_policy(path)
    message = str(caught.value)
    assert message.startswith(shown(path, most=300))
    assert message.isprintable()
    assert "[" not in message
    return message


@pytest.fixture
def path(tmp_path):
    return tmp_path / "policy.pt"


@pytest.mark.parametrize("sample", SAMPLES.values(), ids=SAMPLES.keys())
def test_what_is_written_is_read_bit_for_bit(path, sample):
    saved = saved_policy(**sample)
    write_policy(path, saved)
    assert_same(read_policy(path), saved)


def test_every_finite_bit_pattern_survives(path):
    saved = saved_policy()
    odd = np.array([-0.0, 1e-45, -1e-45, 3.4028235e38, -3.4028235e38, 1 / 3, 0, 1], np.float32)
    write_policy(path, with_actor(saved, **{"0.bias": odd}))
    assert read_policy(path).policy.actor["0.bias"].tobytes() == odd.tobytes()


def test_a_policy_without_a_score_has_none_when_read(path):
    write_policy(path, dataclasses.replace(saved_policy(), score=None))
    assert read_policy(path).score is None


def test_tuples_of_a_configuration_come_back_as_lists(path):
    config = {"hyperparameters": {"hidden_sizes": (64, 64)}}
    write_policy(path, saved_policy(config=config))
    assert read_policy(path).config == {"hyperparameters": {"hidden_sizes": [64, 64]}}


def test_the_file_holds_only_what_torch_loads_as_plain_data(path):
    write_policy(path, saved_policy(**GAUSSIAN, normalized=True))
    kinds = set()

    def walk(value):
        kinds.add(type(value))
        for part in value.values() if isinstance(value, dict) else value:
            walk(part) if isinstance(part, dict | list) else kinds.add(type(part))

    walk(torch.load(path, weights_only=True))
    assert kinds == {dict, list, str, int, float, torch.Tensor}


def test_reading_needs_no_environment(path):
    write_policy(path, saved_policy(environment_id="NotInstalled/Nowhere-v0"))
    assert read_policy(path).policy.spec.environment_id == "NotInstalled/Nowhere-v0"


def test_views_of_a_large_vector_do_not_take_it_into_the_file(path):
    saved = saved_policy()
    flat = np.zeros(1_000_000, dtype=np.float32)

    def view(array):
        start = flat[: array.size].reshape(array.shape)
        start[:] = array
        return start

    saved = with_actor(saved, **{"0.weight": view(saved.policy.actor["0.weight"])})
    write_policy(path, saved)
    assert path.stat().st_size < 20_000
    assert_same(read_policy(path), saved)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_number_that_is_not_finite_is_never_written(path, value):
    path.write_bytes(b"the policy before it")
    count = len(list(arrays_of(saved_policy(**GAUSSIAN, normalized=True).policy)))
    assert count == 15
    for index in range(count):
        saved = saved_policy(**GAUSSIAN, normalized=True)
        list(arrays_of(saved.policy))[index].flat[-1] = value
        with pytest.raises(RunError, match="not finite"):
            write_policy(path, saved)
    assert path.read_bytes() == b"the policy before it"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize(
    "change",
    [
        {"config": {"x": object()}},
        {"config": {"x": float("nan")}},
        {"config": {"x": "\x1b[31m"}},
        {"seed": -1},
        {"seed": True},
        {"created": "x" * 20_000},
    ],
)
def test_what_could_not_be_read_again_is_not_written(path, change):
    with pytest.raises(RunError, match="not saved"):
        write_policy(path, dataclasses.replace(saved_policy(), **change))
    assert not path.exists()


def test_weights_of_another_precision_are_not_rounded_but_refused():
    saved = saved_policy()
    weight = saved.policy.actor["0.weight"].astype(np.float64)
    with pytest.raises(RunError, match=r"float64 instead of torch\.float32"):
        policy_bytes(with_actor(saved, **{"0.weight": weight}))


def test_a_missing_file(path):
    assert refusal(path).endswith("policy.pt does not exist")


def test_a_directory(tmp_path):
    assert refusal(tmp_path).endswith("is not a policy file: it is a directory")


def test_a_pipe_is_refused_and_not_waited_for(path):
    os.mkfifo(path)
    assert "not a regular file" in refusal(path)


def test_a_device():
    assert "not a regular file" in refusal(Path("/dev/zero"))


def test_a_file_that_has_another_size_than_it_says():
    assert refusal(Path("/proc/version")).endswith("cannot be read: its size changed meanwhile")


def test_a_link_that_leads_to_itself_cannot_be_read(path):
    path.symlink_to(path)
    assert "cannot be read" in refusal(path)


def test_an_empty_file(path):
    path.touch()
    assert "it is empty" in refusal(path)


def test_a_file_that_is_too_large_is_not_read(path):
    with path.open("wb") as file:
        file.truncate(MAX_FILE_BYTES + 1)  # takes no space on the disk
    assert "larger than any policy" in refusal(path)


def legacy(path):
    torch.save({"a": torch.zeros(2)}, path, _use_new_zipfile_serialization=False)


def state_dict(path):
    torch.save(torch.nn.Linear(2, 2).state_dict(), path)


def module(path):
    torch.save(torch.nn.Linear(2, 2), path)


def tensors(path):
    torch.save({"model": {"w": torch.zeros(2)}, "step": 3}, path)


def tensor(path):
    torch.save(torch.zeros(2), path)


def half(path):
    torch.save({"w": torch.zeros(2, dtype=torch.float16)}, path)


def stable_baselines(path):
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("data", "pytorch_variables.pth", "policy.pth", "system_info.txt"):
            archive.writestr(name, b"{}")


def arrays(path):
    buffer = io.BytesIO()
    np.savez(buffer, a=np.zeros(3))
    path.write_bytes(buffer.getvalue())


def text(path):
    path.write_text("import os\n")


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (text, "it is not a zip archive"),
        (legacy, "it is not a zip archive"),
        (arrays, "its archive was not written by PyTorch"),
        (stable_baselines, "its archive was not written by PyTorch"),
        (tensors, "it was saved by another program"),
        (tensor, "it was saved by another program"),
        (state_dict, "its pickle fills something other than a list or a dict"),
        (module, "its pickle names torch.nn.modules.linear.Linear, which no policy needs"),
        (half, "its pickle names torch.HalfStorage, which no policy needs"),
    ],
)
def test_files_of_other_programs(path, make, reason):
    make(path)
    assert refusal(path) == f"{path} is not a policy file: {reason}"


def test_a_file_that_was_cut_off_anywhere_is_refused(path):
    data = policy_bytes(saved_policy())
    for length in [*range(0, len(data), 211), *range(len(data) - 110, len(data))]:
        path.write_bytes(data[:length])
        assert "is" in refusal(path)


def test_a_flipped_bit_of_a_weight_is_noticed_though_torch_does_not(path):
    saved = saved_policy()
    data = bytearray(policy_bytes(saved))
    at = data.find(saved.policy.actor["1.weight"].tobytes())
    data[at] ^= 1
    path.write_bytes(data)
    loaded = torch.load(path, weights_only=True)["actor"]["1.weight"].numpy()
    assert loaded.tobytes() != saved.policy.actor["1.weight"].tobytes()
    assert "is damaged" in refusal(path)
    assert "CRC" in refusal(path)


def test_a_flipped_byte_anywhere_gives_a_refusal_or_the_same_policy(path):
    saved = saved_policy(hidden_sizes=(4,))
    data = policy_bytes(saved)
    rng = np.random.default_rng(0)
    refused = 0
    for position in rng.permutation(len(data))[:600]:
        changed = bytearray(data)
        changed[position] ^= rng.integers(1, 256)
        path.write_bytes(changed)
        try:
            assert_same(read_policy(path), saved)
        except PolicyFileError:
            refused += 1
    assert refused > 100


def test_a_name_with_markup_and_escapes_is_not_shown_as_it_is(tmp_path):
    message = refusal(tmp_path / "[red]\x1b[31m\u202e.pt")
    assert message.endswith("(red)?(31m?.pt does not exist")


def test_what_is_shown_is_short():
    assert shown("x" * 1000) == "x" * 77 + "..."


# the environment


def environment_refusal(saved, path) -> str:
    with pytest.raises(PolicyFileError) as caught:
        check_environment(saved, path)
    message = str(caught.value)
    assert message.startswith(f"{path} ")
    assert message.isprintable()
    return message


@pytest.fixture
def registered():
    """Register environments that are gone after the test."""
    names = []

    def register(name, make):
        names.append(name)
        gymnasium.register(name, make)
        return name

    yield register
    for name in names:
        del gymnasium.registry[name]


class Corridor(gymnasium.Env):
    observation_space = spaces.Box(-1, 1, (2,))
    action_space = spaces.Discrete(2)
    closed = 0

    def __init__(self, length: int = 3) -> None:
        self.length = length

    def close(self):
        Corridor.closed += 1


def for_corridor(**changes):
    return saved_policy(
        **{
            "environment_id": "Corridor-v0",
            "observation_space": Corridor.observation_space,
            "action_space": Corridor.action_space,
        }
        | changes
    )


def test_the_environment_it_was_trained_in_is_accepted_without_a_warning(path):
    with gymnasium.make("CartPole-v1") as environment:
        saved = saved_policy(
            observation_space=environment.observation_space,
            action_space=environment.action_space,
            environment_kwargs={"sutton_barto_reward": True},
        )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_environment(saved, path)


def test_the_environment_is_closed_again(path, registered):
    registered("Corridor-v0", Corridor)
    before = Corridor.closed
    check_environment(for_corridor(environment_kwargs={"length": 5}), path)
    assert Corridor.closed == before + 1


def test_an_unknown_environment_names_the_nearest(path):
    message = environment_refusal(saved_policy(environment_id="CartPol-v1"), path)
    assert "'CartPol-v1' is not registered; did you mean 'CartPole-v1'" in message


def test_an_unknown_namespace_is_a_missing_package(path):
    message = environment_refusal(saved_policy(environment_id="Zzzz/Qqqq-v5"), path)
    assert "the package that provides 'Zzzz/' is not installed; --import MODULE" in message


def test_a_module_that_the_id_names_is_not_imported(path, tmp_path, monkeypatch):
    (tmp_path / "named_by_a_file.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    message = environment_refusal(saved_policy(environment_id="named_by_a_file:CartPole-v1"), path)
    assert "would import other code" in message
    assert "named_by_a_file" not in sys.modules


def test_an_adapter_that_would_make_what_its_arguments_name_is_refused(path):
    saved = saved_policy(
        environment_id="GymV26Environment-v0", environment_kwargs={"env_id": "named_by_a_file:X"}
    )
    assert "would import other code" in environment_refusal(saved, path)


@pytest.mark.parametrize("name", ["render_mode", "id", "disable_env_checker", "not a name"])
def test_arguments_that_are_the_programs_own_are_refused(path, registered, name):
    registered("Corridor-v0", Corridor)
    saved = for_corridor(environment_kwargs={name: "human"})
    assert f"it sets '{name}'" in environment_refusal(saved, path)


def test_an_argument_that_the_environment_does_not_know(path, registered):
    registered("Corridor-v0", Corridor)
    message = environment_refusal(for_corridor(environment_kwargs={"height": 1}), path)
    assert "Corridor-v0 cannot be made" in message
    assert "height" in message


def test_an_environment_that_raises_becomes_a_sentence(path, registered):
    def broken(**_):
        raise ZeroDivisionError("[bold]three\nlines\x1b[0m")

    registered("Broken-v0", broken)
    message = environment_refusal(saved_policy(environment_id="Broken-v0"), path)
    assert message.endswith("Broken-v0 cannot be made: (bold)three lines?(0m")


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"observation_space": spaces.Box(-1, 1, (3,))}, "observations"),
        ({"observation_space": spaces.Box(-1, 2, (2,))}, "observations"),
        ({"observation_space": spaces.Box(-1, 1, (2,), np.float64)}, "observations"),
        ({"observation_space": spaces.Discrete(2)}, "observations"),
        ({"action_space": spaces.Discrete(3)}, "actions"),
        ({"action_space": spaces.Discrete(2, start=1)}, "actions"),
        ({"action_space": spaces.Box(-1, 1, (2,))}, "actions"),
    ],
)
def test_an_environment_with_other_spaces_is_refused(path, registered, changes, kind):
    registered("Corridor-v0", Corridor)
    message = environment_refusal(for_corridor(**changes), path)
    assert f"its {kind} are" in message
    assert "those of Corridor-v0 are" in message


def test_an_environment_with_an_unsupported_space_is_refused(path, registered):
    class Pair(Corridor):
        action_space = spaces.MultiBinary(2)

    registered("Corridor-v0", Pair)
    assert "MultiBinary(2)" in environment_refusal(for_corridor(), path)
