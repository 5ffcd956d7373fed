"""Writes images.json beside this file: what Pillow and PyTorch make of pictures.
usage: python tests/golden/make_images.py ODD_IMAGES_FOLDER

`files`: shape and CRC-32 of the pixels of each good file of the folder (gray where all channels are
equal, alpha dropped, 16 bits rounded to 8), or for JPEG the mean and 64 pixels.
`resize`: CRC-32 of Pillow's BILINEAR, and rounded pixels of PyTorch's bilinear interpolation without
antialiasing, of the picture that source() computes, as tests/data/resize_test.cpp does."""

import hashlib
import json
import pathlib
import sys
import zlib

import numpy as np
import PIL
import torch
from PIL import Image, ImageOps


def source(height, width, channels):
    y, x, c = np.meshgrid(np.arange(height), np.arange(width), np.arange(channels), indexing="ij")
    noise = (x * x * 3 + y * y * 5 + x * y * 7 + c * 41 + x * 13) % 256
    ramp = (x * 255) // max(width - 1, 1)
    return np.where((x // 8 + y // 8) % 2 == 0, noise, ramp).astype(np.uint8)


def decoded(path):
    image = ImageOps.exif_transpose(Image.open(path))
    if image.mode.startswith("I;16"):
        array = ((np.array(image).astype(np.int64) * 255 + 32767) // 65535).astype(np.uint8)
    else:
        array = np.array(image.convert("L" if image.mode in ("L", "LA", "1") else "RGB"))
    if array.ndim == 3 and (array == array[..., :1]).all():
        array = array[..., 0]
    return array.reshape(array.shape[0], array.shape[1], -1)


files = []
for path in sorted(pathlib.Path(sys.argv[1]).iterdir()):
    if path.name.startswith("bad_") or path.suffix == ".tif" or "tiff" in path.name:
        continue
    pixels = decoded(path)
    entry = {"name": path.name, "shape": pixels.shape}
    if path.suffix == ".jpg":
        flat = pixels.reshape(-1)
        entry["mean"] = float(flat.mean())
        entry["pixels"] = [int(flat[i * (flat.size - 1) // 63]) for i in range(64)]
    else:
        entry["crc32"] = zlib.crc32(pixels.tobytes())
    files.append(entry)

resize = []
for channels in (1, 3):
    for (h, w), (oh, ow) in [
        ((97, 131), (32, 43)), ((97, 131), (96, 130)), ((40, 33), (97, 71)), ((64, 64), (64, 17)),
        ((64, 64), (17, 64)), ((300, 200), (7, 5)), ((1, 50), (3, 20)), ((50, 1), (20, 3)),
        ((5, 7), (1, 1)), ((33, 47), (33, 47)),
    ]:
        pixels = source(h, w, channels)
        image = Image.fromarray(pixels[..., 0] if channels == 1 else pixels)
        pillow = np.array(image.resize((ow, oh), Image.Resampling.BILINEAR))
        tensor = torch.from_numpy(pixels).permute(2, 0, 1)[None].double()
        linear = torch.nn.functional.interpolate(tensor, (oh, ow), mode="bilinear", align_corners=False)
        linear = linear[0].permute(1, 2, 0).round().clamp(0, 255).to(torch.uint8).numpy().reshape(-1)
        count = min(linear.size, 400)
        picks = [i * (linear.size - 1) // max(count - 1, 1) for i in range(count)]
        resize.append({
            "from": [h, w, channels], "to": [oh, ow], "pillow_crc32": zlib.crc32(pillow.tobytes()),
            "linear": bytes(int(linear[i]) for i in picks).hex(),
        })

here = pathlib.Path(__file__)
result = {
    "golden": "pneuma images", "version": 1,
    "regenerate": "python tests/golden/make_images.py ODD_IMAGES_FOLDER",
    "generator_sha256": hashlib.sha256(here.read_bytes()).hexdigest(),
    "made_with": f"Pillow {PIL.__version__}, PyTorch {torch.__version__}",
    "files": files, "resize": resize,
}
lines = json.dumps(result, indent=None, separators=(",", ":")).replace('},{"', '},\n{"')
(here.parent / "images.json").write_text(lines + "\n")
