"""A run's network as ONNX, through torch's exporter: the network alone, without sampler and without preconditioning."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import logging
import warnings
from collections.abc import Iterator
from typing import Any

import torch

from ddpm_exp.spec.errors import UserError
from ddpm_exp.workflow.loaded_run import LoadedRun

_NEEDED = ("onnx", "onnxscript")
_MOST_BYTES = 2**31 - 2**20
"""A single ONNX file is a protocol buffer, which ends at 2 GiB."""

OUTPUT = "output"


def onnx_bytes(loaded: LoadedRun, metadata: dict[str, str]) -> bytes:
    """The network as an ONNX file, with `metadata` among its properties.

    Inputs, float32 but for whole numbers, the batch of any size: `x` [B, *shape], `c_noise` [B], and a tensor per part of the
    condition under its kind (`models.build.ConditionInput` says which). Output: `output`, what the network returns.

    Raises UserError for a missing package and for a network of more than 2 GiB.
    """
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(
            f"exporting to ONNX takes the packages {' and '.join(_NEEDED)}, and {' and '.join(missing)} is not installed",
            field="--to",
            value="onnx",
            fix=f"pip install {' '.join(missing)}",
        )
    network = loaded.network.cpu().to(memory_format=torch.contiguous_format)
    size = sum(tensor.numel() * tensor.element_size() for tensor in network.state_dict().values())
    if size > _MOST_BYTES:
        raise UserError(
            f"an ONNX file holds at most 2 GiB, and these weights take {size / 2**30:.1f}",
            field="--to",
            value="onnx",
            fix="export --to safetensors",
        )
    shape, batch = loaded.facts.shape, torch.export.Dim("batch", min=1, max=2**20)
    condition = loaded.conditions.null(2, "cpu")
    names = ["x", "c_noise", *(condition or {})]
    every = {0: batch}
    with _quiet():
        program: Any = torch.onnx.export(
            network,
            (),
            kwargs={"x": torch.zeros(2, *shape), "c_noise": torch.zeros(2), "condition": condition},
            dynamo=True,
            input_names=names,
            output_names=[OUTPUT],
            dynamic_shapes=(every, every, None if condition is None else dict.fromkeys(condition, every)),
            verbose=False,
        )
    proto = program.model_proto
    _forget_the_way(proto.graph)
    for name, text in metadata.items():
        proto.metadata_props.add(key=name, value=text)
    written: bytes = proto.SerializeToString()
    return written


def _forget_the_way(graph: Any) -> None:
    """Take out what the exporter notes at each node: stack traces with the paths of this machine, half of a small file."""
    for place in (graph, *graph.node, *graph.value_info, *graph.input, *graph.output, *graph.initializer):
        del place.metadata_props[:]
        place.doc_string = ""
    for node in graph.node:
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                if inner.node:
                    _forget_the_way(inner)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The exporter talks of its own progress and of what it left for later versions; neither is for the user."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
