"""What bench/loader.cpp measures, with torchvision: images a second on one core for decoding, and
for decoding with antialiased resizing of the shorter side. The last line is one JSON object.
usage: loader_torchvision.py FOLDER [repeats]"""

import json
import pathlib
import statistics
import sys
import time

import torch
import torchvision
from torchvision.io import ImageReadMode, decode_image, read_file
from torchvision.transforms.v2 import functional

if len(sys.argv) < 2:
    sys.exit(__doc__)
torch.set_num_threads(1)
names = sorted(path for path in pathlib.Path(sys.argv[1]).iterdir() if path.is_file())
files = [read_file(str(name)) for name in names]
repeats = int(sys.argv[2]) if len(sys.argv) > 2 else 3
figures = {"what": f"torchvision {torchvision.__version__}, {len(files)} files, one core"}
for size in (0, 256, 896):
    seconds = []
    for _ in range(repeats):
        begin, total = time.perf_counter(), 0
        for file in files:
            image = decode_image(file, ImageReadMode.GRAY)
            if size:
                image = functional.resize(image, [size], antialias=True)
            total += int(image[-1, -1, -1])
        seconds.append(time.perf_counter() - begin)
    what = f"decode_resize_{size}" if size else "decode"
    rate = len(files) / statistics.median(seconds)
    print(f"torchvision {what} {rate:.1f} images/s a core "
          f"(median of {repeats}, {len(files)} files, checksum {total})")
    figures[f"{what}_images_per_second"] = rate
print(json.dumps(figures))
