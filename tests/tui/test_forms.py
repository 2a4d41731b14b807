"""What text in a field stands for, and what is wrong with it: the forms without their widgets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trpotui.config import FIXED_WHILE_RUNNING, RunConfig, SharedHyperparameters, field_names
from trpotui.errors import RequestError
from trpotui.rl.algorithms.trpo import TrpoHyperparameters
from trpotui.run_request import RunRequest, make_config
from trpotui.tui.draft import Draft
from trpotui.tui.form import (
    choices,
    differs,
    live_form,
    meaning,
    parse,
    range_text,
    setup_form,
    text_of,
    ungrouped,
)

BOTH = [(RunConfig, name) for name in field_names(RunConfig) if name != "hyperparameters"] + [
    (TrpoHyperparameters, name) for name in field_names(TrpoHyperparameters)
]


class TestNumbers:
    @given(st.integers(-(10**15), 10**15), st.sampled_from(",_ '\u00a0\u202f’"))
    def test_thousands_may_be_separated(self, number, sign):
        assert int(ungrouped(f"{number:,}".replace(",", sign))) == number

    @pytest.mark.parametrize("text", ["1,5", "10,00", "1,000,00", "1,000 000", ",100", "1,,000"])
    def test_what_is_grouped_wrongly_is_no_number(self, text):
        with pytest.raises(RequestError, match="should be a valid integer"):
            parse(RunConfig, "total_steps", text)

    @pytest.mark.parametrize(("text", "value"), [("64,64", (64, 64)), ("1,000", (1, 0)), ("", ())])
    def test_a_list_is_no_number_with_separators(self, text, value):
        if 0 in value:
            with pytest.raises(RequestError, match="greater than or equal to 1"):
                parse(TrpoHyperparameters, "hidden_sizes", text)
        else:
            assert parse(TrpoHyperparameters, "hidden_sizes", text) == value


class TestFields:
    @pytest.mark.parametrize(("cls", "name"), BOTH)
    def test_text_of_a_value_stands_for_it(self, cls, name):
        value = getattr(cls(), name)
        if name != "environment_kwargs":
            assert parse(cls, name, text_of(value)) == value

    @pytest.mark.parametrize(("cls", "name"), BOTH)
    def test_every_field_has_a_meaning(self, cls, name):
        assert len(meaning(cls, name)) > 10

    def test_choices_are_those_of_literals_and_switches(self):
        assert choices(TrpoHyperparameters, "activation") == ("tanh", "relu")
        assert choices(TrpoHyperparameters, "normalize_observations") == ("true", "false")
        assert choices(TrpoHyperparameters, "max_kl") == ()
        for cls, name in BOTH:
            for text in choices(cls, name):
                parse(cls, name, text)

    def test_range_is_written_for_people(self):
        assert range_text(RunConfig, "total_steps") == "≥ 1, ≤ 1,000,000,000,000"
        assert range_text(TrpoHyperparameters, "max_kl") == "> 0, ≤ 10"
        assert range_text(TrpoHyperparameters, "reward_scale") == "> 0, ≤ 1,000,000"
        assert range_text(TrpoHyperparameters, "activation") == ""

    @pytest.mark.parametrize(
        ("name", "text", "said"),
        [
            ("max_kl", "-1", "should be greater than 0"),
            ("max_kl", "", "should be a valid number"),
            ("max_kl", "inf", "should be a finite number"),
            ("gamma", "1.5", "should be less than or equal to 1"),
            ("cg_iterations", "2.5", "should be a valid integer"),
            ("hidden_sizes", "64,wide", "should be a valid integer"),
            ("activation", "gelu", "should be 'tanh' or 'relu'"),
        ],
    )
    def test_reason_fits_under_a_field(self, name, text, said):
        with pytest.raises(RequestError) as refusal:
            parse(TrpoHyperparameters, name, text)
        assert str(refusal.value) == said

    def test_device_is_explained(self):
        with pytest.raises(RequestError, match=r"is not known; .*auto, cpu, cuda, cuda:N or mps"):
            parse(RunConfig, "device", "gpu")


class TestForms:
    def test_every_setting_has_one_place(self):
        form = setup_form(make_config(RunRequest()), {})
        names = [name for group in form.groups for name in group.names]
        hyper = field_names(TrpoHyperparameters)
        assert len(names) == len(set(names))
        assert set(hyper) < set(names)
        assert set(names) - set(hyper) == {
            "total_episodes",
            "eval_every",
            "eval_episodes",
            "confirm_episodes",
            "stop_when_solved",
            "checkpoint_seconds",
            "checkpoint_updates",
            "seed_episodes",
            "env_workers",
            "env_timeout",
            "torch_threads",
        }
        assert list(form.base) == names
        # what makes the algorithm comes first
        own = set(hyper) - set(field_names(SharedHyperparameters))
        assert set(form.groups[0].names) == own

    def test_base_is_the_preset(self):
        form = setup_form(make_config(RunRequest()), {"gamma": "0.5"})
        assert (form.base_name, form.base["max_kl"]) == ("tuned", 0.02)
        plain = setup_form(make_config(RunRequest(preset="default")), {})
        assert (plain.base_name, plain.base["max_kl"]) == ("default", 0.01)
        assert form.values == {"gamma": "0.5"}

    def test_what_differs_is_seen_by_value_not_by_text(self):
        form = setup_form(make_config(RunRequest()), {})
        assert not differs(form, "max_kl", "0.020")
        assert not differs(form, "hidden_sizes", " 64 , 64 ")
        assert differs(form, "max_kl", "0.021")
        assert differs(form, "max_kl", "wide")

    def test_live_form_has_what_may_change_while_running(self):
        config = make_config(RunRequest())
        form = live_form(config, {"max_kl": 0.5, "total_steps": 7})
        names = set(form.base)
        assert names == {"total_steps", *field_names(TrpoHyperparameters)} - {*FIXED_WHILE_RUNNING}
        assert (form.base["max_kl"], form.base["total_steps"]) == (0.5, 7)
        assert form.base["gamma"] == config.hyperparameters.gamma


class TestDraft:
    @pytest.mark.parametrize(
        "request_",
        [
            RunRequest(),
            RunRequest(environment_id="Pendulum-v1", environment_kwargs={"g": 9.81}),
            RunRequest(device="cpu", seed=0, total_steps=10**6, n_envs=3, preset="default"),
            RunRequest(stop_when_solved=False, settings={"max_kl": "0.5", "eval_every": "3"}),
            RunRequest(settings={"total_steps": "5000", "n_envs": 4, "hidden_sizes": (32,)}),
            RunRequest(total_steps=9, settings={"total_steps": "5000"}),
            RunRequest(settings={"stop_when_solved": "false"}),
        ],
    )
    def test_it_asks_for_what_the_command_line_asked_for(self, request_):
        draft = Draft.of(request_)
        assert draft.problems(core_loaded=True) == {}
        assert make_config(draft.request()) == make_config(request_)

    def test_untouched_fields_are_left_to_the_preset(self):
        assert Draft().request() == RunRequest()
        defaults = Draft(environment_id="Pendulum-v1").defaults()
        assert defaults == {
            "preset": "tuned",
            "device": "auto",
            "seed": "0",
            "total_steps": "60,000",
            "n_envs": "8",
        }

    @pytest.mark.parametrize(
        ("draft", "field", "said"),
        [
            (Draft(algorithm="trop"), "algorithm", "there are: a2c, "),
            (Draft(environment_id="CartPol-v1"), "environment_id", "did you mean 'CartPole-v1'"),
            (Draft(device="gpu"), "device", "is not known"),
            (Draft(seed="-1"), "seed", "greater than or equal to 0"),
            (Draft(total_steps="lots"), "total_steps", "valid integer"),
            (Draft(n_envs="0"), "n_envs", "greater than or equal to 1"),
            (Draft(preset="tunned"), "preset", "did you mean 'tuned'"),
            (Draft(settings={"max_lk": "1"}), "settings", "did you mean 'max_kl'"),
            (Draft(settings={"max_kl": "-1"}), "settings", "max_kl=-1 is not valid"),
        ],
    )
    def test_what_is_wrong_is_found_at_its_field(self, draft, field, said):
        problems = draft.problems(core_loaded=True)
        assert list(problems) == [field]
        assert said in problems[field]

    def test_wrong_draft_asks_for_nothing(self):
        with pytest.raises(RequestError, match="seed: should be a valid integer"):
            Draft(seed="one").request()

    def test_changes_are_counted_against_the_preset(self):
        same, other = {"max_kl": "0.02", "eval_every": 2}, {"max_kl": "0.03"}
        assert Draft(settings=same).changed(core_loaded=True) == 0
        assert Draft(settings=same | other).changed(core_loaded=True) == 1
        assert Draft(settings={"max_lk": "0.02"}).changed(core_loaded=True) == 1
        assert Draft(settings=same).changed(core_loaded=False) == 2
