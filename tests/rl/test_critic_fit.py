"""A critic that is fitted while the actor is updated comes out as if it had been fitted before."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import threading
from concurrent.futures import CancelledError

import pytest
import torch
from algorithm_samples import (
    BY_PASSES,
    NAMES,
    Push,
    critic_of,
    declares,
    make_actor,
    make_algorithm,
    make_batch,
    make_learner,
    nothing,
    same,
)
from resuming import make_config

from trpotui.rl import critic_fit

ONE_STEP = ("a2c", "reinforce")
"""Their updates of the actor are too short for anything to be done beside them."""
BESIDE = [name for name in NAMES if name not in ONE_STEP]
CRITICS = {
    "gauss_newton": {"critic": "gauss_newton", "critic_share": 0.5},
    "adam": {"critic": "adam", "critic_epochs": 3, "critic_minibatches": 2},
}


@pytest.fixture
def fits(monkeypatch):
    """The threads in which critics were fitted, and torch's threads there."""
    seen = []
    for name in ("fit_gauss_newton", "fit_adam"):
        fit = getattr(critic_fit, name)

        def watched(*arguments, fit=fit, **keywords):
            seen.append((threading.current_thread(), torch.get_num_threads()))
            return fit(*arguments, **keywords)

        monkeypatch.setattr(critic_fit, name, watched)
    return seen


@pytest.fixture
def two_threads():
    torch.set_num_threads(2)


def updated(name, threads, **hyper):
    """An algorithm after two updates, its actor, and what it said of them."""
    torch.set_num_threads(threads)
    actor = make_actor("categorical")
    if name in BY_PASSES:
        hyper |= {"epochs": 2}
    if declares(name, "fisher_share"):
        hyper |= {"fisher_share": 0.5}
    algorithm = make_algorithm(name, actor, **hyper)
    with torch.no_grad():
        stats = [algorithm.update(make_batch(actor, 40, seed=seed), nothing) for seed in range(2)]
    assert torch.get_num_threads() == threads
    return algorithm, actor, stats


@pytest.mark.parametrize("critic", CRITICS)
@pytest.mark.parametrize("name", BESIDE)
def test_the_numbers_are_those_of_one_after_the_other(name, critic, fits):
    one, its_actor, its_stats = updated(name, 1, **CRITICS[critic])
    alone = list(fits)
    fits.clear()
    other, other_actor, other_stats = updated(name, 2, **CRITICS[critic])
    assert alone == [(threading.main_thread(), 1)] * 2
    assert all(thread is not threading.main_thread() for thread, _ in fits)
    assert [count for _, count in fits] == [1, 1]
    assert torch.equal(its_actor.parameters, other_actor.parameters)
    assert torch.equal(critic_of(one), critic_of(other))
    assert same(one.state(), other.state())
    assert its_stats == other_stats
    assert torch.equal(generator_of(one).get_state(), generator_of(other).get_state())


def generator_of(algorithm):
    return algorithm._critic_fit._generator


@pytest.mark.parametrize("name", ONE_STEP)
def test_beside_a_single_step_there_is_none(name, fits):
    updated(name, 2, **CRITICS["adam"])
    assert fits == [(threading.main_thread(), 2)] * 2


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize("network", ["mlp", "gru", "lstm"])
def test_networks_that_torch_differentiates_are_fitted_before(network, fits, register):
    config = make_config(register(Push), n_envs=4, total_steps=1000, network=network)
    make_learner(config).iterate(nothing)
    ((thread, _),) = fits
    assert (thread is threading.main_thread()) == (network != "mlp")


def test_orders_that_would_take_much_memory_are_not_drawn_at_once(fits, monkeypatch):
    monkeypatch.setattr(critic_fit, "MOST_DRAWN", 3 * 40 - 1)
    updated("ppo", 2, **CRITICS["adam"])
    assert [thread for thread, _ in fits] == [threading.main_thread()] * 2


class Fault(Exception):
    """Of a test."""


@pytest.mark.usefixtures("two_threads")
class TestFaults:
    def failing(self, config, monkeypatch, where):
        """A learner whose second update fails: in the critic's thread or in the other one."""
        learner = make_learner(config)
        learner.iterate(nothing)

        def interrupt():
            beside = threading.current_thread() is not threading.main_thread()
            if beside == (where == "critic"):
                raise Fault

        # only in the update: the rollout before it asks as well
        update = learner._update
        monkeypatch.setattr(learner, "_update", lambda batch, _: update(batch, interrupt))
        return learner

    @pytest.mark.parametrize("where", ["critic", "actor"])
    def test_either_leaves_the_learner_as_it_was(self, where, register, monkeypatch):
        config = make_config(register(Push), n_envs=4, total_steps=1000)
        learner = self.failing(config, monkeypatch, where)
        before = learner.state()
        with pytest.raises(Fault):
            learner.iterate(nothing)
        after = learner.state()
        for part in ("actor", "critic", "algorithm", "generator"):
            assert same(before[part], after[part]), part
        assert torch.get_num_threads() == 2
        assert not [one for one in threading.enumerate() if one.name.startswith("critic")]

    def test_a_fit_ends_early_when_the_update_has_failed(self):
        actor, asked = make_actor("categorical"), []
        algorithm = make_algorithm("ppo", actor, critic="adam", critic_epochs=1000)
        begun = threading.Event()

        def interrupt():
            asked.append(None)
            begun.set()

        fit, h = algorithm._critic_fit, algorithm.hyperparameters
        with (  # noqa: PT012 - the fit goes on until the update fails
            pytest.raises(Fault),
            torch.no_grad(),
            fit.beside(make_batch(actor, 2000), h, interrupt) as loss,
        ):
            assert begun.wait(60)
            raise Fault
        assert len(asked) < 1000
        with pytest.raises(CancelledError):
            loss.wait()

    def test_without_another_thread_it_is_made_in_this_one(self, fits, monkeypatch):
        def refuse(_):
            raise RuntimeError("can't start new thread")

        alone = updated("ppo", 1, **CRITICS["adam"])
        fits.clear()
        monkeypatch.setattr(threading.Thread, "start", refuse)
        other = updated("ppo", 2, **CRITICS["adam"])
        assert fits == [(threading.main_thread(), 1)] * 2
        assert torch.equal(critic_of(alone[0]), critic_of(other[0]))


RUN_BEHIND_THE_PROGRAM = textwrap.dedent(
    """
    import threading

    from trpotui.rl.trainer import train
    from trpotui.run_request import RunRequest, make_config

    config = make_config(
        RunRequest(
            environment_id="CartPole-v1",
            preset="default",
            n_envs=8,
            total_steps=20_000,
            stop_when_solved=False,
            settings={"torch_threads": "2", "eval_every": "0"},
        )
    )
    threading.Thread(target=lambda: print(list(train(config))[-1].reason)).start()
    """
)


def test_a_run_may_outlive_the_main_thread():
    done = subprocess.run(
        [sys.executable, "-c", RUN_BEHIND_THE_PROGRAM], capture_output=True, text=True, check=True
    )
    assert (done.stdout.strip(), done.stderr) == ("steps_reached", "")
