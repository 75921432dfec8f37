"""Compile the Triton kernels for a GPU, which need not exist; test_triton.py runs this."""

import sys
from typing import Any

import torch
from triton.backends.compiler import GPUTarget
from triton.runtime import driver
from triton.runtime.jit import JITFunction

from plasticrl.core import build_cell
from plasticrl.core.backends.cuda import TritonKernels
from plasticrl.core.backends.fused import FusedBackend

KINDS: list[dict[str, Any]] = [
    {"modulation": "simple", "fan_out": True, "input_mode": "clamped"},
    {"modulation": "retroactive", "bound": "soft", "rule": "oja"},
]


class Hopper:
    """The part of a Triton driver that compiling needs."""

    def get_current_device(self) -> int:
        return 0

    def get_current_stream(self, device: int) -> int:
        return 0

    def get_current_target(self) -> GPUTarget:
        return GPUTarget("cuda", 90, 32)


def main() -> None:
    compiled: list[str] = []
    run = JITFunction.run

    def compile_only(kernel: Any, *arguments: Any, warmup: bool, **options: Any) -> None:
        assert run(kernel, *arguments, warmup=True, **options).asm["cubin"]
        compiled.append(kernel.__name__)

    driver.set_active(Hopper())
    JITFunction.run = compile_only
    for size in map(int, sys.argv[1:]):
        for kind in KINDS:
            width = 2 * size if "input_mode" in kind else 3
            cell = build_cell("plastic_rnn", width, hidden_size=size, **kind)
            inputs, state = torch.zeros(2, 1, width), cell.initial_state(1)
            outputs, _ = FusedBackend(TritonKernels()).run(cell, inputs, state, None)
            outputs.sum().backward()
    print(*compiled)


if __name__ == "__main__":
    main()
