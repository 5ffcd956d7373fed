"""Writes records.json beside this file: what MXNet's recordio and OpenCV make of bytes and pictures.
usage: build/mxnet-peers/bin/python3 tests/golden/make_records.py

`stream`: payloads, the .rec and the .idx of them, as hex; keys count from 5.
`headers`: what mx.recordio.pack puts before an image, as hex.
`resize`: CRC-32 of cv2.resize of the picture that source() computes; `gray`: of OpenCV's reading of
its PNG as gray. tests/data/make_records_test.cpp does the same."""

import hashlib
import json
import pathlib
import tempfile
import zlib

import cv2
import mxnet as mx
import numpy as np


def source(height, width, channels):
    y, x, c = np.meshgrid(np.arange(height), np.arange(width), np.arange(channels), indexing="ij")
    noise = (x * x * 3 + y * y * 5 + x * y * 7 + c * 41 + x * 13) % 256
    ramp = (x * 255) // max(width - 1, 1)
    return np.where((x // 8 + y // 8) % 2 == 0, noise, ramp).astype(np.uint8)


magic = bytes.fromhex("0a23d7ce")
payloads = [b"", b"a", b"abcd", magic, magic * 3, magic[:3], b"x" + magic, b"wxyz" + magic,
            magic + b"abcde", b"1234" + magic + magic + b"56", b"12" + magic + b"34" + magic,
            magic + b"\0" * 4 + magic, magic + magic[:2]]
with tempfile.TemporaryDirectory() as folder:
    rec, idx = folder + "/a.rec", folder + "/a.idx"
    writer = mx.recordio.MXIndexedRecordIO(idx, rec, "w")
    for key, payload in enumerate(payloads, 5):
        writer.write_idx(key, payload)
    writer.close()
    stream = {"payloads": [payload.hex() for payload in payloads],
              "rec": pathlib.Path(rec).read_bytes().hex(), "idx": pathlib.Path(idx).read_text()}

    cv2.imwrite(folder + "/a.png", source(300, 200, 3)[..., ::-1])  # OpenCV's order is BGR
    gray = zlib.crc32(cv2.imread(folder + "/a.png", cv2.IMREAD_GRAYSCALE).tobytes())

headers = []
for index, label in [(0, 1.0), (2**40 + 3, -2.5), (7, [0.0, 1.0]), (9, [1.0] + [0.0] * 12 + [0.25])]:
    packed = mx.recordio.pack(mx.recordio.IRHeader(0, label, index, 0), b"")
    headers.append({"index": index, "labels": label if isinstance(label, list) else [label],
                    "hex": packed.hex()})

resize = []
for channels in (1, 3):
    for (h, w), (oh, ow) in [
        ((97, 131), (32, 43)), ((97, 131), (96, 130)), ((40, 33), (97, 71)), ((64, 64), (32, 32)),
        ((64, 64), (32, 17)), ((300, 200), (7, 5)), ((1, 50), (3, 20)), ((50, 1), (20, 3)),
        ((5, 7), (1, 1)), ((33, 47), (33, 47)), ((256, 256), (224, 224)), ((31, 20), (62, 40)),
    ]:
        out = cv2.resize(source(h, w, channels), (ow, oh))
        resize.append({"from": [h, w, channels], "to": [oh, ow], "crc32": zlib.crc32(out.tobytes())})

here = pathlib.Path(__file__)
result = {
    "golden": "pneuma records", "version": 1,
    "regenerate": "build/mxnet-peers/bin/python3 tests/golden/make_records.py",
    "generator_sha256": hashlib.sha256(here.read_bytes()).hexdigest(),
    "made_with": f"MXNet {mx.__version__}, OpenCV {cv2.__version__}",
    "stream": stream, "headers": headers, "gray": gray, "resize": resize,
}
lines = json.dumps(result, indent=None, separators=(",", ":")).replace('},{"', '},\n{"')
(here.parent / "records.json").write_text(lines + "\n")
