"""One measurement of trpotui in a process of its own; prints one JSON object.

    python benchmarks/ours.py train --algorithm trpo --n-envs 64 --rollout-steps 32
    python benchmarks/ours.py update --batch 2048 --hidden-sizes 256,256 --set critic=adam

`train` tells the environment steps per second of training, `update` the milliseconds of one update
on a batch that is made up (`peers/made_up_batch.py`), always from the same parameters.
"""

from __future__ import annotations

import argparse
import json
import math
import resource
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Any

import torch
from peers.made_up_batch import SEED, make
from peers.update_timing import median_of
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from trpotui.config import RunConfig, field_names
from trpotui.events import UpdateFinished
from trpotui.rl.algorithm import Batch
from trpotui.rl.algorithms import load_algorithm
from trpotui.rl.devices import threads
from trpotui.rl.environments import make_environments
from trpotui.rl.learner import Learner
from trpotui.rl.profiling import Profile
from trpotui.rl.trainer import train
from trpotui.run_request import RunRequest, make_config

WARM = 1
"""Updates before the clock starts."""
SHARES = ("fisher_share", "critic_share")
"""Hyperparameters that say how much of the batch products with a curvature take."""

ONEDNN = getattr(torch.ops.mkldnn, "_linear_pointwise", None)
"""Torch's other library for products, which its counter of arithmetic does not know."""


def _linear_flops(inputs: Sequence[int], weight: Sequence[int], *_: Any, **__: Any) -> int:
    return 2 * math.prod(inputs) * weight[0]


PRODUCTS = {"mkldnn::_linear_pointwise"} | {
    f"aten::{name}" for name in ("mm", "addmm", "bmm", "baddbmm", "mv", "addmv", "dot")
}
"""Torch's names of its matrix products."""
MORE_PRODUCTS = {} if ONEDNN is None else {ONEDNN: _linear_flops}


def configuration(o: argparse.Namespace, **settings: object) -> RunConfig:
    """The default preset with what was asked for, and `settings`."""
    known = field_names(load_algorithm(o.algorithm).hyperparameter_type)
    asked = dict(setting.split("=", maxsplit=1) for setting in o.set)
    shares = {name: o.share for name in SHARES if name in known and o.share is not None}
    return make_config(
        RunRequest(
            algorithm=o.algorithm,
            environment_id=o.environment,
            preset="default",
            n_envs=o.n_envs,
            total_steps=10**12,
            stop_when_solved=False,
            settings={
                "eval_every": 0,
                "hidden_sizes": o.hidden_sizes,
                "torch_threads": o.torch_threads,
                **settings,
                **shares,
                **asked,
            },
        )
    )


def training(o: argparse.Namespace) -> dict[str, Any]:
    """Steps per second, and the most memory that the process ever had."""
    config = configuration(o, rollout_steps=o.rollout_steps)
    updates: list[UpdateFinished] = []
    with closing(train(config)) as events:
        for event in events:
            if isinstance(event, UpdateFinished):
                updates.append(event)
                spent = event.seconds - updates[min(WARM, len(updates)) - 1].seconds
                if len(updates) >= WARM + o.fewest and spent >= o.seconds:
                    break
    first, last = updates[WARM - 1], updates[-1]
    result = {
        "steps_per_second": (last.steps - first.steps) / (last.seconds - first.seconds),
        "updates": len(updates) - WARM,
        "torch_threads": o.torch_threads,
        "peak_mb": peak_mb(),
    }
    return result | (profiled(config, o.seconds, o.fewest) if o.profile else {})


def profiled(config: RunConfig, seconds: float, fewest: int) -> dict[str, Any]:
    """Seconds of each section of another run, by the profile, and how many updates they are of."""
    profile, began, updates = Profile(), time.perf_counter(), 0
    with closing(profile.over(train(config))) as events:
        for event in events:
            updates += isinstance(event, UpdateFinished)
            if updates >= fewest and time.perf_counter() - began >= seconds:
                break
    return {"sections": profile.seconds, "profiled_updates": updates}


def peak_mb() -> float:
    """The most resident memory of this process, in MB."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / (1e6 if sys.platform == "darwin" else 1e3)


@torch.no_grad()
def updating(o: argparse.Namespace) -> dict[str, Any]:
    """Milliseconds of one update for each combination of batch and network."""
    found = {}
    for hidden_sizes in o.networks or [o.hidden_sizes]:
        for batch in o.batch:
            o.hidden_sizes = hidden_sizes
            config = configuration(o, rollout_steps=batch // o.n_envs)
            width = max(config.hyperparameters.hidden_sizes)
            with threads(config.torch_threads, batch=batch, width=width):
                found[f"{batch} {hidden_sizes}"] = one_update(config, batch, o)
    return {"updates": found, "peak_mb": peak_mb(), "torch_threads": o.torch_threads}


def one_update(config: RunConfig, size: int, o: argparse.Namespace) -> dict[str, float]:
    """Of `size` samples: the median in ms, and arithmetic where that is asked for."""
    environments = make_environments(config.environment_id, {}, n_envs=config.n_envs)
    with closing(environments):
        learner = Learner(config, environments, torch.device("cpu"))
    actor, critic = learner.actor.parameters.clone(), learner.critic.parameters.clone()
    data = {name: torch.from_numpy(array) for name, array in make(size).items()}
    values = learner.critic(data["observations"])[:, 0].clone()
    batch = Batch(
        inputs=data["observations"],
        actions=data["actions"],
        advantages=data["advantages"],
        targets=data["returns"],
        values=values,
    )

    def once() -> float:
        learner.actor.parameters.copy_(actor)
        learner.critic.parameters.copy_(critic)
        began = time.perf_counter()
        learner.algorithm.update(batch, lambda: None)
        return time.perf_counter() - began

    result = median_of(once, o.seconds)
    if o.arithmetic:
        counter = FlopCounterMode(display=False, custom_mapping=MORE_PRODUCTS)
        with counter:
            once()
        width = max(config.hyperparameters.hidden_sizes)
        result["gflop"] = counter.get_total_flops() / 1e9
        result["gflops"] = result["gflop"] / (result["ms"] / 1000)
        result["matmul_gflops"] = matmul_gflops(size, width)
        result["element_gbs"] = element_gbs(size, width)
        result |= shares_of_operations(once, result["ms"])
    return result


def shares_of_operations(update: Callable[[], float], milliseconds: float) -> dict[str, float]:
    """Shares of an update's time in torch's matrix products and in its other operations.

    The operations are timed by torch's profiler, which adds a little to each; the update's own time
    is taken without it, and what is left of that is the interpreter's.
    """
    with profile(activities=[ProfilerActivity.CPU]) as profiled_update:
        update()
    spent = {"products": 0.0, "others": 0.0}
    for one in profiled_update.key_averages():
        kind = "products" if one.key in PRODUCTS else "others"
        spent[kind] += one.self_cpu_time_total / 1000
    whole = max(milliseconds, sum(spent.values()))
    return {f"{kind}_share": taken / whole for kind, taken in spent.items()}


def matmul_gflops(rows: int, width: int, seconds: float = 0.2) -> float:
    """GFlop/s of [rows, width] times [width, width], by the quicker of torch's two libraries."""
    generator = torch.Generator().manual_seed(SEED)
    left = torch.randn(rows, width, generator=generator)
    right = torch.randn(width, width, generator=generator)
    out = torch.empty(rows, width)
    taken = [_seconds(lambda: torch.mm(left, right, out=out), seconds)]
    if ONEDNN is not None:
        taken.append(_seconds(lambda: ONEDNN(left, right, None, "none", [], ""), seconds))
    return 2e-9 * rows * width * width / min(taken)


def element_gbs(rows: int, width: int, seconds: float = 0.1) -> float:
    """GB/s, read and written, of multiplying one [rows, width] by another in place."""
    values, factors = torch.ones(rows, width), torch.ones(rows, width)
    return 12e-9 * rows * width / _seconds(lambda: values.mul_(factors), seconds)


def _seconds(call: Any, least: float) -> float:
    """Median seconds of a call that is repeated for `least` seconds."""
    call()
    taken: list[float] = []
    while sum(taken) < least or len(taken) < 3:
        began = time.perf_counter()
        call()
        taken.append(time.perf_counter() - began)
    return statistics.median(taken)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["train", "update"])
    parser.add_argument("--algorithm", default="trpo")
    parser.add_argument("--environment", default="CartPole-v1")
    parser.add_argument("--n-envs", type=int, default=16)
    parser.add_argument("--rollout-steps", type=int, default=128)
    parser.add_argument("--batch", type=int, nargs="+", default=[2048], help="of an update")
    parser.add_argument("--hidden-sizes", default="64,64")
    parser.add_argument("--networks", nargs="+", help="hidden sizes of an update, one by one")
    parser.add_argument("--seconds", type=float, default=3.0, help="to measure, at least")
    parser.add_argument("--fewest", type=int, default=3, help="updates of training, at least")
    parser.add_argument("--torch-threads", type=int, default=1)
    parser.add_argument("--share", type=float, help="of the batch, for curvature")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--profile", action="store_true", help="where the time of training goes")
    parser.add_argument("--arithmetic", action="store_true", help="GFlop/s of an update")
    o = parser.parse_args()
    print(json.dumps(training(o) if o.what == "train" else updating(o)))


if __name__ == "__main__":
    main()
