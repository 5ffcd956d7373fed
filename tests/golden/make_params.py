"""Writes form0.params to form3.params: MXNet's list of arrays in each form that ever was, for
params_test. Stated with struct alone, from the layout that models/mxnet/params.h describes; the
comparison with MXNet itself is mxnet_peers.py.

    python3 tests/golden/make_params.py

Every value is k/2 - 3 (or a plain count where the type is whole, or k odd where it is bool).
"""
import math
import pathlib
import struct

HERE = pathlib.Path(__file__).resolve().parent
CODES = {"f": 0, "d": 1, "e": 2, "B": 3, "i": 4, "q": 6, "?": 7, "bf16": 12}
CPU, GPU, PINNED = (1, 0), (2, 3), (3, 0)


def data(kind, count):
    if kind == "bf16":  # the upper half of a float32
        return b"".join(struct.pack("<f", k / 2 - 3)[2:] for k in range(count))
    value = {"?": lambda k: k % 2 == 1}.get(kind, (lambda k: k / 2 - 3) if kind in "fde" else int)
    return struct.pack(f"<{count}{kind}", *map(value, range(count)))


def shape(dims):
    return struct.pack(f"<i{len(dims)}q", len(dims), *dims)


def array(form, dims, kind="f", context=CPU):
    """dims None: the array is none."""
    head = {0: b"", 1: struct.pack("<I", 0xF993FAC8), 2: struct.pack("<Ii", 0xF993FAC9, 0),
            3: struct.pack("<Ii", 0xF993FACA, 0)}[form]
    if dims is None:
        return head + struct.pack("<i", -1 if form == 3 else 0)
    old = struct.pack(f"<I{len(dims)}I", len(dims), *dims)
    return (head + (old if form == 0 else shape(dims)) + struct.pack("<iii", *context, CODES[kind])
            + data(kind, math.prod(dims)))


def write(form, arrays):
    """arrays: name -> what array() takes."""
    content = struct.pack("<QQQ", 0x112, 0, len(arrays))
    content += b"".join(array(form, *rest) for rest in arrays.values())
    content += struct.pack("<Q", len(arrays))
    content += b"".join(struct.pack("<Q", len(name)) + name.encode() for name in arrays)
    (HERE / f"form{form}.params").write_bytes(content)
    print(f"form{form}.params: {len(content)} bytes")


zoo = {"arg:conv0_weight": ([2, 3, 1, 1], "f", GPU), "aux:bn0_moving_mean": ([5], "f", PINNED),
       "arg:double": ([5], "d"), "arg:half": ([3, 2], "e"), "arg:bytes": ([3], "B"),
       "arg:whole": ([2, 2], "i")}
whole = zoo | {"arg:nothing": (None,), "arg:long": ([3], "q")}
gluon = {name.split(":")[1]: rest for name, rest in whole.items()}
write(0, zoo)
write(1, whole)
write(2, gluon | {"truth": ([4], "?"), "brain": ([7], "bf16"), "empty": ([0, 4], "f")})
write(3, whole | {"arg:scalar": ([], "f"), "arg:truth": ([4], "?"), "arg:empty": ([0, 4], "f"),
                  "arg:long_ago": ([1, 1, 1, 1, 1], "f")})
