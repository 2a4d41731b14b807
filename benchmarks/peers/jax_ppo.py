"""PPO compiled by XLA: PureJaxRL's of a clone's folder, or rejax's; prints one JSON object.

    python jax_ppo.py speed --purejaxrl FOLDER --n-envs 1024 --rollout-steps 128
    python jax_ppo.py solve --seed 0 --save policy.pkl

Run by an interpreter that has jax, gymnax 0.0.9, flax, optax, distrax and rejax. `speed` tells the
steps per second of a compiled training run. `solve` trains on CartPole-v1 with the hyperparameters
that either publishes for it. Neither can stop by itself: the run goes to its end, and the share of
its time up to the step at which it was solved is told.
"""

from __future__ import annotations

import argparse
import json
import math
import pickle
import sys
import time
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnax
import jax
import numpy as np
from solved_at import first_solved

ENVIRONMENT, THRESHOLD = "CartPole-v1", 475.0
PUREJAXRL = {
    "LR": 2.5e-4,
    "NUM_ENVS": 4,
    "NUM_STEPS": 128,
    "TOTAL_TIMESTEPS": 500_000,
    "UPDATE_EPOCHS": 4,
    "NUM_MINIBATCHES": 4,
    "GAMMA": 0.99,
    "GAE_LAMBDA": 0.95,
    "CLIP_EPS": 0.2,
    "ENT_COEF": 0.01,
    "VF_COEF": 0.5,
    "MAX_GRAD_NORM": 0.5,
    "ACTIVATION": "tanh",
    "ENV_NAME": ENVIRONMENT,
    "ANNEAL_LR": True,
}
"""What its ppo.py has for CartPole-v1."""
REJAX = {
    "env": ENVIRONMENT,
    "agent_kwargs": {"activation": "tanh"},
    "num_envs": 5,
    "num_steps": 100,
    "num_epochs": 5,
    "num_minibatches": 5,
    "learning_rate": 7.5e-4,
    "max_grad_norm": 0.5,
    "total_timesteps": 100_000,
    "eval_freq": 1000,
    "gamma": 0.99,
    "gae_lambda": 0.95,
    "clip_eps": 0.2,
    "ent_coef": 0.01,
    "vf_coef": 0.5,
}
"""What its configs/gymnax/cartpole.yaml has."""
NOT_NEEDED = {
    "brax": ["envs"],
    "brax.envs": [],
    "brax.envs.wrappers": [],
    "brax.envs.wrappers.training": ["EpisodeWrapper", "AutoResetWrapper"],
    "navix": [],
}
"""Modules that PureJaxRL's wrappers import for other environments, and what they take of them."""


def purejaxrl(folder: Path) -> types.ModuleType:
    """PureJaxRL's `ppo` module, imported from a clone."""
    for name, attributes in NOT_NEEDED.items():
        module = types.ModuleType(name)
        for attribute in attributes:
            setattr(module, attribute, None)
        sys.modules.setdefault(name, module)
    sys.path.insert(0, str(folder / "purejaxrl"))
    import ppo  # noqa: PLC0415  it lies in the folder that was just named

    return ppo


def rejax_ppo(**config: Any) -> Any:
    """Rejax's PPO; only imported where it is what is measured."""
    import rejax  # noqa: PLC0415

    return rejax.get_algo("ppo").create(**config)


def compiled(function: Callable[[Any], Any]) -> tuple[Callable[[Any], Any], float]:
    """A function of a random key, compiled, and the seconds that this took."""
    began = time.perf_counter()
    program = jax.jit(function).lower(jax.random.PRNGKey(0)).compile()
    return program, time.perf_counter() - began


def run(program: Callable[[Any], Any], seed: int) -> tuple[Any, float]:
    """What a compiled training run returns, and its seconds."""
    began = time.perf_counter()
    result = jax.block_until_ready(program(jax.random.PRNGKey(seed)))
    return result, time.perf_counter() - began


def speed(o: argparse.Namespace) -> dict[str, float]:
    """Steps per second: as many updates as fill the seconds, by a first run that is short."""
    batch = o.n_envs * o.rollout_steps

    def steps_to_program(steps: int) -> tuple[Callable[[Any], Any], float]:
        if o.purejaxrl:
            config = PUREJAXRL | {
                "NUM_ENVS": o.n_envs,
                "NUM_STEPS": o.rollout_steps,
                "UPDATE_EPOCHS": o.epochs,
                "NUM_MINIBATCHES": o.minibatches,
                "TOTAL_TIMESTEPS": steps,
            }
            return compiled(purejaxrl(o.purejaxrl).make_train(config))
        config = REJAX | {
            "num_envs": o.n_envs,
            "num_steps": o.rollout_steps,
            "num_epochs": o.epochs,
            "num_minibatches": o.minibatches,
            "total_timesteps": steps,
            "eval_freq": steps,
            "skip_initial_evaluation": True,
        }
        algorithm = rejax_ppo(**config)
        return compiled(algorithm.replace(eval_callback=lambda *_: ()).train)

    updates = max(1, math.ceil(o.guess * o.seconds / batch))
    program, compile_seconds = steps_to_program(updates * batch)
    _, first = run(program, 0)
    _, seconds = run(program, 1)
    return {
        "steps_per_second": updates * batch / seconds,
        "first_run": updates * batch / first,
        "updates": updates,
        "compile_seconds": compile_seconds,
    }


def solve(o: argparse.Namespace) -> dict[str, Any]:
    """Train, save, find when it was solved, and score the last policy greedily."""
    if o.purejaxrl:
        module = purejaxrl(o.purejaxrl)
        program, compile_seconds = compiled(module.make_train(dict(PUREJAXRL)))
        result, seconds = run(program, o.seed)
        parameters = result["runner_state"][0].params
        steps = PUREJAXRL["TOTAL_TIMESTEPS"]
        ended = np.asarray(result["metrics"]["returned_episode"]).reshape(-1)
        returns = np.asarray(result["metrics"]["returned_episode_returns"]).reshape(-1)
        solved_at = first_solved(np.nonzero(ended)[0] + 1, returns[ended], THRESHOLD)
        network = module.ActorCritic(2, activation="tanh")

        def logits(observations: Any) -> Any:
            return network.apply(parameters, observations)[0].logits
    else:
        algorithm = rejax_ppo(**REJAX)
        program, compile_seconds = compiled(algorithm.train)
        (state, (_, returns)), seconds = run(program, o.seed)
        parameters, steps = state.actor_ts.params, REJAX["total_timesteps"]
        means = np.asarray(returns).mean(axis=1)
        reached = np.nonzero(means >= THRESHOLD)[0]
        solved_at = int(reached[0]) * REJAX["eval_freq"] if len(reached) else None

        def logits(observations: Any) -> Any:
            distribution = algorithm.actor.apply(parameters, observations, method="_action_dist")
            return distribution.logits

    Path(o.save).write_bytes(pickle.dumps(jax.device_get(parameters)))
    saved = time.time()
    share = 1.0 if solved_at is None else solved_at / steps
    return {
        "steps": share * steps,
        "learning_seconds": share * seconds,
        "with_evaluation_seconds": share * seconds,
        "compile_seconds": compile_seconds,
        "saved_at": saved - (1 - share) * seconds,
        "score": greedy_score(logits),
        "stopped": solved_at is not None,
    }


def greedy_score(logits: Callable[[Any], Any], episodes: int = 100, longest: int = 500) -> float:
    """Mean return of so many greedy episodes in gymnax's CartPole-v1."""
    environment, parameters = gymnax.make(ENVIRONMENT)
    keys = jax.random.split(jax.random.PRNGKey(1234), episodes)
    observations, states = jax.vmap(environment.reset, in_axes=(0, None))(keys, parameters)

    def step(carry: Any, _: Any) -> Any:
        observations, states, running, returns = carry
        actions = logits(observations).argmax(axis=-1)
        stepped = jax.vmap(environment.step, in_axes=(0, 0, 0, None))
        observations, states, rewards, done, _ = stepped(keys, states, actions, parameters)
        returns = returns + rewards * running
        return (observations, states, running & ~done, returns), None

    start = (observations, states, np.ones(episodes, dtype=bool), np.zeros(episodes, np.float32))
    (_, _, _, returns), _ = jax.lax.scan(step, start, None, longest)
    return float(returns.mean())


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["speed", "solve"])
    parser.add_argument("--purejaxrl", type=Path, help="folder of a clone; else rejax")
    parser.add_argument("--n-envs", type=int, default=1024)
    parser.add_argument("--rollout-steps", type=int, default=128)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--minibatches", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--guess", type=float, default=250_000, help="steps per second, about")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--save", default="policy.pkl")
    o = parser.parse_args()
    print(json.dumps(speed(o) if o.what == "speed" else solve(o)))


if __name__ == "__main__":
    main()
