"""Exported policies against torch's own layers, and what is refused."""

from __future__ import annotations

import io
import json
import sys
from dataclasses import replace

import numpy as np
import onnx
import onnx.reference
import pytest
import torch
from gymnasium import spaces
from torch.nn import functional

from tests.policy_samples import CARTPOLE, saved_policy
from trpotui import cli
from trpotui.errors import RequestError, RunError
from trpotui.export import checking, to_arrays, to_onnx, to_torchscript
from trpotui.export.arrays import npz_runner
from trpotui.export.checking import OBSERVATIONS, check, observations_for
from trpotui.export.onnx_graph import onnx_runner
from trpotui.export.torchscript import torchscript_runner
from trpotui.policy_file import write_policy
from trpotui.rl.normalization import ObservationMoments

FORMS = {
    "onnx": (to_onnx, onnx_runner),
    "torchscript": (to_torchscript, torchscript_runner),
    "numpy": (to_arrays, npz_runner),
}
BOX = spaces.Box(np.array([-2.0, 0.0], np.float32), np.array([2.0, 10.0], np.float32))
UNBOUNDED = spaces.Box(-np.inf, np.inf, (1, 2), np.float64)
UNEVEN = spaces.MultiDiscrete([3, 2, 4], start=[0, -5, 7])
MIXED = spaces.Dict(
    {
        "camera": spaces.Box(0, 255, (2, 2), np.uint8),
        "gear": spaces.Discrete(3, start=-1),
        "lamps": spaces.MultiBinary(2),
    }
)
IMAGES = spaces.Box(0, 255, (40, 44, 3), np.uint8)
PLAIN = {
    "cartpole": {},
    "normalised": {"normalized": True},
    "relu": {"activation": "relu", "normalized": True},
    "no hidden layer": {"hidden_sizes": ()},
    "choices from 3": {"action_space": spaces.Discrete(4, start=3)},
    "choices of int32": {"action_space": spaces.Discrete(4, dtype=np.int32)},
    "uneven choices": {"action_space": UNEVEN, "normalized": True},
    "even choices": {"action_space": spaces.MultiDiscrete([[3, 3], [3, 3]])},
    "bits": {"action_space": spaces.MultiBinary((2, 2))},
    "clipped logits": {"logit_clip": 0.5},
    "box": {"action_space": BOX, "normalized": True},
    "free box of float64": {"action_space": UNBOUNDED},
    "box of float16": {"action_space": spaces.Box(-1, 1, (3,), np.float16)},
    "one number": {"action_space": spaces.Box(-1, 1, (), np.float32)},
    "sigma by state": {"action_space": BOX, "exploration": "state_dependent"},
    "gsde": {"action_space": BOX, "exploration": "gsde"},
    "gsde on the inputs": {"action_space": BOX, "exploration": "gsde", "hidden_sizes": ()},
    "dict of observations": {"observation_space": MIXED, "normalized": True},
}
REMEMBERING = {
    "gru": {"network": "gru", "memory_size": 5, "normalized": True},
    "lstm": {"network": "lstm", "memory_size": 5, "normalized": True},
    "gru, no hidden layer": {"network": "gru", "memory_size": 5, "hidden_sizes": ()},
    "lstm, gsde": {
        "network": "lstm",
        "memory_size": 5,
        "action_space": BOX,
        "exploration": "gsde",
    },
}
LOOKING = {
    "images": {"network": "cnn", "observation_space": IMAGES},
    "stacked frames": {
        "network": "cnn",
        "observation_space": spaces.Box(0, 255, (4, 36, 36), np.uint8),
        "action_space": BOX,
    },
}
CASES = [
    pytest.param(form, what, id=f"{form}, {name}")
    for form in FORMS
    for name, what in (PLAIN if form == "numpy" else PLAIN | REMEMBERING | LOOKING).items()
]


@pytest.fixture(autouse=True)
def _one_torch_thread():
    """Small matrices are slower on several threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def exported(form, saved):
    """What a form of the policy computes."""
    make, runner = FORMS[form]
    return runner(make(saved).data)


@torch.no_grad()
def torch_parameters(policy, rows, state):
    """Distribution parameters [N, K], and the state, by torch's own layers."""
    spec = policy.spec
    arrays = {name: torch.from_numpy(array) for name, array in policy.actor.items()}
    hidden = torch.from_numpy(rows)
    if policy.moments is not None:
        mean, variance, clip = policy.moments.mean, policy.moments.variance, policy.moments.clip
        normalized = (hidden.double() - torch.from_numpy(mean)) / torch.from_numpy(variance).sqrt()
        hidden = normalized.clamp(-clip, clip).float()
    if spec.has_memory:
        cell = {"gru": torch.nn.GRUCell, "lstm": torch.nn.LSTMCell}[spec.network]
        cell = cell(spec.observation_size, spec.memory_size)
        cell.load_state_dict(
            {
                f"{kind}_{end}h": arrays[f"memory.{name}.{kind}"]
                for kind in ("weight", "bias")
                for end, name in (("i", "input"), ("h", "recurrent"))
            }
        )
        state = torch.from_numpy(state)
        after = cell(hidden, state if spec.network == "gru" else state.chunk(2, dim=1))
        hidden, state = (after, after) if spec.network == "gru" else (after[0], torch.cat(after, 1))
        state = state.numpy()
    if spec.network == "cnn":
        hidden = hidden.view(-1, *spec.observation_space.shape)
        if spec.observation_space is IMAGES:  # channels last
            hidden = hidden.permute(0, 3, 1, 2)
        hidden = hidden / 255
        for index, stride in enumerate((4, 2, 1)):
            filters = arrays[f"image.{index}.weight"], arrays[f"image.{index}.bias"]
            hidden = functional.conv2d(hidden, *filters, stride=stride).relu()
        last = arrays["image.3.weight"], arrays["image.3.bias"]
        hidden = functional.linear(hidden.flatten(1), *last).relu()
    for index in range(len(spec.hidden_sizes) + 1):
        if index:
            hidden = hidden.tanh() if spec.activation == "tanh" else hidden.relu()
        latent = hidden
        hidden = functional.linear(hidden, arrays[f"{index}.weight"], arrays[f"{index}.bias"])
    if spec.logit_clip:
        hidden = hidden.clamp(-spec.logit_clip, spec.logit_clip)
    log_std = arrays.get("log_std")
    if spec.exploration == "state_dependent":
        means, log_stds = hidden.chunk(2, dim=1)
        hidden = torch.cat([means, log_stds.clamp(-10, 2)], dim=1)
    elif spec.exploration == "gsde":
        variance = (latent[:, :, None] * log_std.clamp(-10, 2).exp()).square().sum(dim=1)
        hidden = torch.cat([hidden, (variance + 1e-6).sqrt().log()], dim=1)
    elif log_std is not None:
        rows_of_it = log_std.clamp(-10, 2).expand(len(hidden), -1)
        hidden = torch.cat([hidden, rows_of_it], dim=1)
    return hidden.numpy(), state


def torch_actions(space, parameters):
    """The environment's greedy actions for distribution parameters [N, K]."""
    parameters = torch.from_numpy(parameters)
    match space:
        case spaces.Discrete():
            actions = functional.softmax(parameters, dim=1).max(dim=1).indices + int(space.start)
        case spaces.MultiDiscrete():
            parts = parameters.split(space.nvec.reshape(-1).tolist(), dim=1)
            actions = torch.stack([part.max(dim=1).indices for part in parts], dim=1)
            actions = actions + torch.from_numpy(space.start.reshape(-1))
        case spaces.MultiBinary():
            actions = parameters.sigmoid() > 0.5
        case _:
            means = parameters[:, : parameters.shape[1] // 2].double().numpy()
            low, high = (bound.reshape(-1).astype(float) for bound in (space.low, space.high))
            if np.isfinite(low).all():
                means = means * (high - low) / 2 + (high + low) / 2
            actions = torch.from_numpy(np.clip(means, low, high))
    return actions.numpy().astype(space.dtype).reshape(-1, *space.shape)


@pytest.mark.parametrize(("form", "what"), CASES)
def test_export_does_what_torch_does(form, what):
    saved = saved_policy(**what)
    if saved.policy.spec.network == "cnn":  # so many weights need to be small ones
        small = {name: 0.05 * array for name, array in saved.policy.actor.items()}
        saved = replace(saved, policy=replace(saved.policy, actor=small))
    policy, run = saved.policy, exported(form, saved)
    rng = np.random.default_rng(1)
    for n_envs in (1, 64):
        state = theirs = None
        if policy.spec.has_memory:
            state = theirs = np.zeros((n_envs, policy.spec.state_size), np.float32)
        for _ in range(4):
            rows = observations_for(policy, n_envs, rng)
            actions, outputs, *after = run(rows, state)
            parameters, theirs = torch_parameters(policy, rows, theirs)
            np.testing.assert_allclose(
                outputs, parameters[:, : outputs.shape[1]], rtol=1e-5, atol=1e-5
            )
            expected = torch_actions(policy.spec.action_space, parameters)
            assert actions.shape == expected.shape
            assert actions.dtype == expected.dtype
            # choices are the same: random weights leave none so close that rounding decides
            half = 1e-3 if expected.dtype == np.float16 else 1e-5
            np.testing.assert_allclose(actions, expected, rtol=half, atol=half)
            if after:
                state = after[0]
                np.testing.assert_allclose(state, theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", ["choices from 3", "uneven choices", "bits", "box", "one number"])
def test_actions_are_the_environment_s(form, name):
    saved = saved_policy(**PLAIN[name])
    rows = observations_for(saved.policy, 100, np.random.default_rng(0))
    actions = exported(form, saved)(rows, None)[0]
    assert all(saved.policy.spec.action_space.contains(np.asarray(action)) for action in actions)


@pytest.mark.parametrize("form", FORMS)
def test_normalisation_is_as_exact_as_the_policy_s(form):
    # in float32 the mean alone would be off by a sixteenth of a deviation; the second feature
    # never varied, and the third is far beyond the clip
    moments = ObservationMoments(
        mean=np.array([1e6 + 1 / 3, 5.0, 0.0, 0.0]),
        variance=np.array([1.0, 0.0, 1.0, 1.0]),
        count=9.0,
        clip=10.0,
    )
    saved = saved_policy()
    saved = replace(saved, policy=replace(saved.policy, moments=moments))
    rows = np.array([[1e6 + 1, 5.5, 1e9, -1e9], [1e6, 4.0, 0.0, 1.0]], np.float32)
    normalized = np.array([[2 / 3, 0.5, 10, -10], [-1 / 3, -1, 0, 1]], np.float32)
    plain = replace(saved.policy, moments=None)
    expected, _ = torch_parameters(plain, normalized, None)
    outputs = exported(form, saved)(rows, None)[1]
    np.testing.assert_allclose(outputs, expected, rtol=1e-5, atol=1e-5)


def test_arrays_and_scores_of_the_policy_are_left_alone():
    saved = saved_policy(normalized=True)
    before = {name: array.copy() for name, array in saved.policy.actor.items()}
    run = exported("torchscript", saved)
    run(np.zeros((1, 4), np.float32), None)[1][:] = 0
    for name, array in saved.policy.actor.items():
        np.testing.assert_array_equal(array, before[name])


def test_every_form_says_what_it_is():
    saved = saved_policy(network="lstm", memory_size=5)
    onnx_model = onnx.load_from_string(to_onnx(saved).data)
    extra = {"about.json": ""}
    with pytest.warns(DeprecationWarning, match="torch.jit.load"):
        torch.jit.load(io.BytesIO(to_torchscript(saved).data), _extra_files=extra)
    texts = [onnx_model.metadata_props[0].value, extra["about.json"]]
    with np.load(io.BytesIO(to_arrays(saved_policy()).data)) as arrays:
        texts.append(arrays["about"].item())
    for text in texts:
        assert json.loads(text)["environment"] == "CartPole-v1"
        assert json.loads(text)["action_space"] == {"type": "Discrete", "n": 2, "start": 0}
    assert json.loads(texts[0])["state_features"] == 10


def test_onnx_model_has_named_inputs_and_outputs_of_any_number_of_rows():
    model = onnx.load_from_string(to_onnx(saved_policy(network="gru", memory_size=5)).data)

    def described(values):
        return {
            value.name: [
                side.dim_param or side.dim_value for side in value.type.tensor_type.shape.dim
            ]
            for value in values
        }

    assert described(model.graph.input) == {"observations": ["N", 4], "state": ["N", 5]}
    assert described(model.graph.output) == {
        "actions": ["N"],
        "parameters": ["N", 2],
        "next_state": ["N", 5],
    }


@pytest.mark.parametrize("what", [PLAIN["box"], PLAIN["uneven choices"], REMEMBERING["lstm"]])
def test_onnx_model_means_the_same_to_another_interpreter(what):
    saved = saved_policy(**what)
    rows = observations_for(saved.policy, 50, np.random.default_rng(0))
    given = {"observations": rows}
    if saved.policy.spec.has_memory:
        given["state"] = np.random.default_rng(1).standard_normal((50, 10)).astype(np.float32)
    data = to_onnx(saved).data
    theirs = onnx.reference.ReferenceEvaluator(onnx.load_from_string(data)).run(None, given)
    ours = onnx_runner(data)(rows, given.get("state"))
    for their, our in zip(theirs, ours, strict=True):
        np.testing.assert_allclose(their, our, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("form", FORMS)
def test_network_of_an_unknown_kind_is_refused(form):
    saved = saved_policy()
    spec = replace(saved.policy.spec, network="transformer")
    policy = replace(saved.policy, spec=spec)
    with pytest.raises(RequestError, match="transformer network cannot be exported"):
        FORMS[form][0](replace(saved, policy=policy))


@pytest.mark.parametrize("kind", ["gru", "lstm", "cnn"])
def test_arrays_are_for_networks_of_affine_layers(kind):
    with pytest.raises(RequestError, match=f"network is {kind}, with --onnx or --torchscript"):
        to_arrays(saved_policy(network=kind, observation_space=IMAGES))


@pytest.mark.parametrize("missing", ["onnx", "onnxruntime"])
def test_without_the_extra_one_sentence_says_what_to_install(
    monkeypatch, capsys, tmp_path, missing
):
    monkeypatch.setitem(sys.modules, missing, None)  # as if it were not installed
    monkeypatch.delitem(sys.modules, "trpotui.export.onnx_graph")
    write_policy(tmp_path / "p.pt", saved_policy())
    output = tmp_path / "x.onnx"
    assert cli.run(["export", str(tmp_path / "p.pt"), "--onnx", str(output)]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    assert "pip install 'trpotui[onnx]'" in printed.err
    assert not output.exists()


@pytest.mark.parametrize("form", FORMS)
def test_what_does_not_do_what_the_policy_does_is_not_handed_out(monkeypatch, form):
    module = {"numpy": "arrays", "onnx": "onnx_graph"}.get(form, form)
    name = {"numpy": "npz"}.get(form, form)
    make = getattr(sys.modules[f"trpotui.export.{module}"], f"{name}_bytes")
    other = saved_policy(normalized=True)
    monkeypatch.setattr(f"trpotui.export.{module}.{name}_bytes", lambda _: make(other))
    with pytest.raises(RunError, match=f"--{form} was not written, .* outputs differ by"):
        FORMS[form][0](saved_policy())


# the check itself


def policy_of(**what):
    return saved_policy(**what).policy


def faithful(policy):
    return npz_runner(to_arrays(replace(saved_policy(), policy=policy)).data)


def test_check_looks_at_a_thousand_observations_and_finds_nothing_wrong():
    policy = policy_of(normalized=True)
    run, seen = faithful(policy), []

    def noted(rows, state):
        seen.append(rows)
        return run(rows, state)

    assert check(policy, noted) <= 1e-6
    rows = np.concatenate(seen)
    assert len(np.unique(rows, axis=0)) == 1000 == OBSERVATIONS
    assert rows.dtype == np.float32


@pytest.mark.parametrize("name", ["cartpole", "uneven choices", "bits", "box", "normalised"])
@pytest.mark.parametrize("array", ["0.weight", "1.bias", "2.bias"])
def test_check_finds_a_weight_that_is_a_little_off(name, array):
    policy = policy_of(**PLAIN[name])
    changed = {key: values.copy() for key, values in policy.actor.items()}
    changed[array].flat[0] += 1e-3
    with pytest.raises(RunError, match="outputs differ by"):
        check(policy, faithful(replace(policy, actor=changed)))


@pytest.mark.parametrize("fault", ["mean", "variance", "clip"])
def test_check_finds_another_normalisation(fault):
    policy = policy_of(normalized=True)
    changes = {"clip": 1.0} if fault == "clip" else {fault: getattr(policy.moments, fault) * 1.001}
    other = replace(policy, moments=replace(policy.moments, **changes))
    with pytest.raises(RunError, match="outputs differ by"):
        check(policy, faithful(other))


@pytest.mark.parametrize("name", ["cartpole", "uneven choices", "bits", "box"])
@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        (lambda actions: np.roll(actions, 1, axis=0), "actions differ by"),
        (lambda actions: actions + actions.dtype.type(9), "none that the environment has|differ"),
        (lambda actions: actions.astype(np.float64), "actions are float64"),
        (lambda actions: actions[:, None], r"actions are .* instead of"),
        (lambda actions: actions[:5], r"actions are .* instead of"),
    ],
)
def test_check_finds_other_actions_beside_the_right_outputs(name, fault, sentence):
    policy = policy_of(**PLAIN[name])
    run = faithful(policy)

    def faulty(rows, state):
        actions, outputs = run(rows, state)
        return [fault(actions), outputs]

    with pytest.raises(RunError, match=sentence):
        check(policy, faulty)


def test_check_lets_rounding_decide_between_choices_that_are_equally_likely():
    policy = policy_of(hidden_sizes=())
    tied = {"0.weight": np.zeros((2, 4), np.float32), "0.bias": np.array([0, 1e-6], np.float32)}
    policy = replace(policy, actor=tied)
    run = faithful(policy)

    def other_choice(rows, state):
        actions, outputs = run(rows, state)
        return [1 - actions, outputs]

    assert check(policy, other_choice) == pytest.approx(1e-6)
    apart = replace(policy, actor=tied | {"0.bias": np.array([0, 1e-3], np.float32)})
    run = faithful(apart)
    with pytest.raises(RunError, match="actions differ by"):
        check(apart, other_choice)


def test_check_does_not_take_what_is_no_number():
    policy = policy_of()
    run = faithful(policy)
    with pytest.raises(RunError, match="outputs differ by nan"):
        check(policy, lambda rows, state: [run(rows, state)[0], run(rows, state)[1] * np.nan])


def test_check_carries_the_memory_along():
    saved = saved_policy(network="gru", memory_size=5)
    run = exported("onnx", saved)
    assert check(saved.policy, run) < 1e-5

    def forgetful(rows, state):
        return run(rows, np.zeros_like(state))

    def stale(rows, state):
        return [*run(rows, state)[:2], state]

    for faulty in (forgetful, stale):
        with pytest.raises(RunError, match=r"(outputs|memory) differ by"):
            check(saved.policy, faulty)


def test_observations_keep_within_bounds_that_are_near_and_follow_the_moments_elsewhere():
    policy = policy_of(observation_space=CARTPOLE, normalized=True)
    rows = observations_for(policy, 4000, np.random.default_rng(0))
    assert np.isfinite(rows).all()
    assert (np.abs(rows[:, [0, 2]]) <= CARTPOLE.high[[0, 2]]).all()
    assert rows[:, 0].min() < -4
    assert rows[:, 0].max() > 4
    free = rows[:, [1, 3]]
    moments = policy.moments
    assert free.mean(axis=0) == pytest.approx(moments.mean[[1, 3]], abs=0.2)
    assert free.std(axis=0) == pytest.approx(2 * np.sqrt(moments.variance[[1, 3]]), rel=0.1)


def test_observations_of_endless_bounds_are_numbers():
    for low, high in ((-np.inf, np.inf), (-3e38, 3e38), (0.0, np.inf)):
        space = spaces.Box(low, high, (3,), np.float32)
        rows = observations_for(policy_of(observation_space=space), 100, np.random.default_rng(0))
        assert np.isfinite(rows).all()
        assert ((rows >= low) & (rows <= high)).all()
        assert np.abs(rows).max() < 100


def test_tolerance_is_the_one_that_is_promised():
    assert checking.TOLERANCE == 1e-5
