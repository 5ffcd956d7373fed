#!/usr/bin/env python3
"""Turns weights that PyTorch saved (.pth, .pt, .bin) into .safetensors, which Pneuma reads.

    python3 apps/launch/convert_weights.py FILE.pth OUT.safetensors

Needs PyTorch and nothing else. The file is loaded with weights_only=True, so that nothing in it can
run. A checkpoint's state_dict is found in it, and the prefix of DataParallel is taken off names.
"""
import ctypes
import json
import os
import struct
import sys

HOLDERS = ("state_dict", "model_state_dict", "model", "net", "weights")  # of a training checkpoint
PREFIXES = ("module.", "_orig_mod.")  # of DataParallel and of torch.compile


def stop(code, sentence):
    sys.exit((print(f"convert_weights.py: {sentence}", file=sys.stderr), code)[1])


def weights_in(torch, loaded):
    """name -> tensor, or nothing where there are none."""
    for _ in range(3):
        if not isinstance(loaded, dict):
            return {}
        held = [loaded[key] for key in HOLDERS if isinstance(loaded.get(key), dict)]
        if not held:
            break
        loaded = held[0]
    tensors = {str(n): t for n, t in loaded.items() if isinstance(t, torch.Tensor)}
    for prefix in PREFIXES:
        if tensors and all(name.startswith(prefix) for name in tensors):
            tensors = {name[len(prefix):]: t for name, t in tensors.items()}
    return tensors


def write(torch, path, tensors):
    names = {torch.float32: "F32", torch.float64: "F64", torch.float16: "F16", torch.uint8: "U8",
             torch.bfloat16: "BF16", torch.int32: "I32", torch.int64: "I64"}
    header, content, end = {"__metadata__": {"format": "pt"}}, [], 0
    for name, t in sorted(tensors.items(), key=lambda item: -item[1].element_size()):
        if t.dtype not in names:
            stop(3, f"tensor {name} is of {t.dtype}, which is no weight; save the file without it")
        t = t.detach().to("cpu").contiguous()
        size = t.numel() * t.element_size()
        header[name] = {"dtype": names[t.dtype], "shape": list(t.shape),
                        "data_offsets": [end, end + size]}
        content.append(ctypes.string_at(t.data_ptr(), size) if size else b"")
        end += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    temporary = f"{path}.tmp-{os.getpid()}"
    try:
        with open(temporary, "xb") as file:
            file.write(struct.pack("<Q", len(text)) + text)
            file.writelines(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        if os.path.exists(temporary):
            os.unlink(temporary)
        stop(4, f"cannot write {path}: {error.strerror}; choose another folder or free some space")


def main():
    if len(sys.argv) != 3 or sys.argv[1].startswith("-"):
        print(__doc__.strip(), file=sys.stdout if "--help" in sys.argv else sys.stderr)
        sys.exit(0 if "--help" in sys.argv else 2)
    source, output = sys.argv[1:]
    try:
        import torch
    except ImportError:
        stop(4, "PyTorch is missing here; install it (pip install torch), or convert elsewhere")
    if not os.path.isfile(source):
        stop(3, f"{source} is not a file; check the name")
    try:
        loaded = torch.load(source, map_location="cpu", weights_only=True)
    except Exception:  # whatever a damaged file makes it raise
        stop(3, f"{source} is damaged, or holds more than weights, which could run code when loaded; "
                "fetch it again, or save model.state_dict() where it was made and take that")
    tensors = weights_in(torch, loaded)
    if not tensors:
        stop(3, f"{source} holds no tensors with names; save model.state_dict() and take that file")
    write(torch, output, tensors)
    print(f"{output}: {len(tensors)} tensors, {sum(t.numel() for t in tensors.values())} numbers")


if __name__ == "__main__":
    main()
