"""Writes safetensors_python.safetensors: the Python package's idea of the format, for safetensors_test.

    python3 tests/golden/make_safetensors.py          (needs numpy, torch, safetensors)
    python3 tests/golden/make_safetensors.py FILE     prints what Python reads in FILE

Every value is k/2 - 3 (or a plain count where the type is whole), so the test needs no second file.
"""
import pathlib
import sys

import torch
from safetensors import safe_open
from safetensors.torch import save_file

OUTPUT = pathlib.Path(__file__).with_name("safetensors_python.safetensors")


def values(dtype, *shape):
    count = torch.Size(shape).numel()
    k = torch.arange(count, dtype=torch.float64)
    return (k / 2 - 3 if dtype.is_floating_point else k).to(dtype).reshape(shape)


if len(sys.argv) > 1:
    with safe_open(sys.argv[1], "pt") as file:
        print(sorted((file.metadata() or {}).items()))
        for name in sorted(file.keys()):
            tensor = file.get_tensor(name)
            print(name, tensor.dtype, list(tensor.shape), tensor.double().sum().item())
else:
    save_file(
        {
            "conv1.weight": values(torch.float32, 2, 3, 1, 1),
            "oracle": values(torch.float64, 5),
            "half": values(torch.float16, 3, 2),
            "brain": values(torch.bfloat16, 7),
            "mask": values(torch.uint8, 3),
            "count": values(torch.int32, 2, 2),
            "bn1.num_batches_tracked": torch.tensor(42),
            "empty": values(torch.float32, 0, 4),
        },
        OUTPUT,
        metadata={"format": "pt", "näme": 'quote " and \\ and \u2603'},
    )
    print(OUTPUT)
