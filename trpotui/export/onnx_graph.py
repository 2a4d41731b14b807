"""A policy as an ONNX model, its graph built node by node.

`torch.onnx` would do the same by way of a compiler, with packages of its own; a policy is a dozen
nodes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

import trpotui
from trpotui.export.checking import Run
from trpotui.export.forward import (
    ACTIONS,
    NEXT_STATE,
    OBSERVATIONS,
    PARAMETERS,
    STATE,
    about,
    greedy,
)
from trpotui.rl.policy import SavedPolicy

OPSET, IR_VERSION = 17, 8
"""Old enough for every runtime in use, and new enough for all nodes."""
ABOUT = "trpotui"
"""Name of the metadata."""


class OnnxOperations:
    """The steps of a forward pass as nodes; a value is the name of what a node computes."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []

    def constant(self, name: str, array: NDArray[Any]) -> str:
        """An initializer."""
        self.initializers.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def cast(self, value: str, dtype: np.dtype[Any]) -> str:
        """By ONNX's type of the same name."""
        return self._node("Cast", value, to=helper.np_dtype_to_tensor_dtype(dtype))

    def affine(self, value: str, weight: str, bias: str) -> str:
        """One `Gemm`."""
        return self._node("Gemm", value, weight, bias, transB=1)

    def combine(self, operation: str, left: str, right: str) -> str:
        """The node of that name."""
        return self._node(operation, left, right)

    def apply(self, function: str, value: str) -> str:
        """The node of that name."""
        return self._node(function, value)

    def columns(self, value: str, start: int, stop: int) -> str:
        """One `Slice`."""
        bounds = (self._integers([number]) for number in (start, stop))
        return self._node("Slice", value, *bounds, self._integers([1]))  # the last is the axis

    def join(self, values: Sequence[str]) -> str:
        """Along the columns."""
        return self._node("Concat", *values, axis=1)

    def like(self, row: str, value: str) -> str:
        """Expanded to the shape that `value` has when the graph runs."""
        return self._node("Expand", row, self._node("Shape", value))

    def argmax(self, value: str) -> str:
        """The first of several."""
        return self._node("ArgMax", value, axis=1, keepdims=1)

    def positive(self, value: str) -> str:
        """Truth values."""
        zero = self.constant(f"zero{len(self.initializers)}", np.array(0, np.float32))
        return self._node("Greater", value, zero)

    def shaped(self, value: str, shape: tuple[int, ...]) -> str:
        """The rows stay as many as they are."""
        return self._node("Reshape", value, self._integers([-1, *shape]))

    def turned(self, value: str, order: tuple[int, ...]) -> str:
        """One `Transpose`."""
        return self._node("Transpose", value, perm=list(order))

    def convolve(self, value: str, kernel: str, shift: str, stride: int) -> str:
        """One `Conv`."""
        return self._node("Conv", value, kernel, shift, strides=[stride, stride])

    def named(self, value: str, name: str) -> None:
        """Let the graph put out `value` under `name`."""
        self.nodes.append(helper.make_node("Identity", [value], [name]))

    def _integers(self, numbers: list[int]) -> str:
        return self.constant(f"integers{len(self.initializers)}", np.array(numbers, np.int64))

    def _node(self, kind: str, *inputs: str, **attributes: Any) -> str:
        output = f"{kind.lower()}{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [output], **attributes))
        return output


def onnx_bytes(saved: SavedPolicy) -> bytes:
    """The content of an ONNX file of a policy."""
    policy, spec = saved.policy, saved.policy.spec
    ops = OnnxOperations()
    outputs = greedy(ops, policy, OBSERVATIONS, STATE if spec.has_memory else None)
    dtype = helper.np_dtype_to_tensor_dtype(np.dtype(spec.action_space.dtype))
    width = spec.action_size * (2 if spec.distribution == "gaussian" else 1)

    def rows(name: str, *shape: int, kind: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, kind, ["N", *shape])

    into = [rows(OBSERVATIONS, spec.observation_size)]
    out = [
        rows(ACTIONS, *(spec.action_space.shape or ()), kind=dtype),
        rows(PARAMETERS, width),
    ]
    if outputs.state is not None:
        into.append(rows(STATE, spec.state_size))
        out.append(rows(NEXT_STATE, spec.state_size))
    for value, name in zip(outputs, (ACTIONS, PARAMETERS, NEXT_STATE), strict=True):
        if value is not None:
            ops.named(value, name)
    graph = helper.make_graph(ops.nodes, "policy", into, out, ops.initializers)
    model = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="trpotui",
        producer_version=trpotui.__version__,
    )
    helper.set_model_props(model, {ABOUT: about(saved)})
    onnx.checker.check_model(model, full_check=True)
    data: bytes = model.SerializeToString()
    return data


def onnx_runner(data: bytes) -> Run:
    """What an ONNX file computes, by ONNX Runtime on the CPU."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])

    def run(rows: NDArray[Any], state: NDArray[Any] | None) -> list[NDArray[Any]]:
        given = {OBSERVATIONS: rows} | ({} if state is None else {STATE: state})
        results: list[NDArray[Any]] = session.run(None, given)
        return results

    return run
