"""Records beside MXNet's own: im2rec.py packs the same lists, MXNet reads back what we write.

records_peers.py BUILD_FOLDER. Files that pass through: equal bytes of .rec and .idx. Encoded anew:
equal keys, headers, labels and order; equal pixels of PNG, at most 2 levels between those of JPEG.
A colour JPEG that becomes a gray PNG is the exception: OpenCV takes the file's own Y, we its RGB.
"""
import importlib.util
import os
import pathlib
import struct
import subprocess
import sys
import tempfile
import zlib

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "repo"))
import mxnet_python  # noqa: E402,F401
from repo import ROOT, finish  # noqa: E402

import cv2  # noqa: E402
import mxnet as mx  # noqa: E402
import numpy as np  # noqa: E402

PREPARE = pathlib.Path(sys.argv[1]) / "bin/prepare_cxr"
IM2REC = pathlib.Path(importlib.util.find_spec("mxnet").origin).parent / "tools/im2rec.py"
SHARED = pathlib.Path(os.environ.get("PNEUMA_SHARED", ROOT.parent / "shared")) / "data"
faults = []


def expect(true, what):
    if not true:
        faults.append(f"FAULT: {what}")


def run(*command):
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    expect(done.returncode == 0, f"{command}: {done.stdout[-500:]}{done.stderr[-500:]}")
    return done.stdout


def with_magic(png):
    """The PNG with a text chunk that holds RecordIO's magic at each place of a word."""
    data = b"note\0" + b"".join(b"\x0a\x23\xd7\xce" * 2 + b"-" * n for n in (1, 1, 1, 1))
    chunk = b"tEXt" + data
    text = struct.pack(">I", len(data)) + chunk + struct.pack(">I", zlib.crc32(chunk))
    return png[:33] + text + png[33:]


def make_images(folder):
    """Gray and colour, PNG and JPEG, all kinds of sides; and a list of 14 labels a line."""
    random = np.random.default_rng(0)
    lines = []
    for i in range(40):
        height, width = (int(side) for side in random.integers(20, 120, 2))
        small = random.integers(0, 256, (height // 8 + 2, width // 8 + 2, (3, 1)[i % 2]), dtype=np.uint8)
        image = cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)
        name = f"{i:02} {'gray' if i % 2 else 'colour'}.{'jpg' if i % 5 == 4 else 'png'}"
        cv2.imwrite(str(folder / name), image)
        if i % 7 == 3 and name.endswith("png"):
            (folder / name).write_bytes(with_magic((folder / name).read_bytes()))
        labels = random.integers(0, 2, 14)
        labels = "\t".join(f"{label:.6f}" if i % 3 else str(label) for label in labels)
        lines.append(f"{1000 - 7 * i}\t{labels}\t{name}\n")
    return "".join(lines)


def read(path):
    record = mx.recordio.MXIndexedRecordIO(str(path.with_suffix(".idx")), str(path), "r")
    content = [(key, *mx.recordio.unpack(record.read_idx(key))) for key in record.keys]
    record.close()
    return content


def is_colour_jpeg(key):
    i = (1000 - key) // 7  # as make_images() counts
    return i % 2 == 0 and i % 5 == 4


def compare(name, ours, theirs, png):
    expect(len(ours) == len(theirs) > 0, f"{name}: {len(ours)} records, im2rec has {len(theirs)}")
    worst = 0
    for (key, header, image), (their_key, their_header, their_image) in zip(ours, theirs):
        where = f"{name}, key {key}"
        expect(key == their_key == header.id, f"{where}: im2rec's is {their_key}")
        expect(header.flag == their_header.flag and header.id2 == their_header.id2
               and np.array_equal(header.label, their_header.label), f"{where}: {header} {their_header}")
        pixels, their_pixels = (cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
                                for data in (image, their_image))
        if pixels.shape != their_pixels.shape:
            expect(False, f"{where}: shape {pixels.shape}, im2rec's {their_pixels.shape}")
            continue
        distance = np.abs(pixels.astype(int) - their_pixels).mean()
        worst = max(worst, distance)
        most = 0 if png else 2
        if "--color 0" in name and is_colour_jpeg(key):
            most = 1
        expect(distance <= most, f"{where}: {distance:.3f} levels apart")
    print(f"{name}: {len(ours)} records, at most {worst:.4f} levels apart")


def pair(folder, images, flags):
    """Our records and im2rec's of folder/a.lst."""
    run(sys.executable, IM2REC, folder / "a", images, *flags)
    ours = folder / "ours/a.rec"
    run(PREPARE, "record", folder / "a.lst", images, ours, *(f for f in flags if f != "--pass-through"))
    return ours, folder / "a.rec"


def check(folder, images, labels):
    for flags in ([], ["--pack-label"]):
        ours, theirs = pair(folder, images, ["--pass-through", *flags])
        for suffix in (".rec", ".idx"):
            expect(ours.with_suffix(suffix).read_bytes() == theirs.with_suffix(suffix).read_bytes(),
                   f"{flags} pass-through: {suffix} is not im2rec's")
    iterator = mx.io.ImageRecordIter(path_imgrec=str(ours), label_width=labels, data_shape=(3, 20, 20),
                                     batch_size=1, preprocess_threads=1)
    seen = np.concatenate([batch.label[0].asnumpy() for batch in iterator])
    expect(np.array_equal(seen.reshape(-1, labels), [header.label for _, header, _ in read(ours)]),
           "ImageRecordIter reads other labels")
    for flags in (["--resize", "33"], ["--center-crop", "--resize", "17"], ["--quality", "70"],
                  ["--color", "0", "--pack-label"], ["--color", "-1"],
                  ["--encoding", ".png", "--quality", "3"],
                  ["--encoding", ".png", "--quality", "1", "--resize", "40", "--color", "-1"],
                  ["--encoding", ".png", "--quality", "9", "--resize", "150", "--center-crop",
                   "--pack-label", "--color", "0"]):
        # im2rec re-encodes unless told otherwise; with us a flag must ask for it.
        ours, theirs = pair(folder, images, flags)
        compare(" ".join(flags), read(ours), read(theirs), ".png" in flags)


with tempfile.TemporaryDirectory() as name:
    folder = pathlib.Path(name)
    (folder / "images").mkdir()
    (folder / "ours").mkdir()
    (folder / "a.lst").write_text(make_images(folder / "images"))
    check(folder, folder / "images", 14)

    # The files that im2rec makes of shares and chunks, each from a list of its own.
    os.remove(folder / "a.lst")
    shares = ["--chunks", "2", "--train-ratio", "0.5", "--test-ratio", "0.3"]
    run(sys.executable, IM2REC, folder / "parts", folder / "images", "--list", "--no-shuffle", *shares)
    run(sys.executable, IM2REC, folder / "parts", folder / "images", "--pass-through")
    run(sys.executable, IM2REC, folder / "all", folder / "images", "--list", "--no-shuffle")
    run(PREPARE, "record", folder / "all.lst", folder / "images", folder / "ours/parts.rec", *shares)
    made = sorted(path.name for path in (folder / "ours").glob("parts*"))
    expect(len(made) == 12 and made == sorted(path.name for path in folder.glob("parts*.[ri]*")),
           f"other files than im2rec's: {made}")
    for path in made:
        expect((folder / path).read_bytes() == (folder / "ours" / path).read_bytes(),
               f"{path} is not im2rec's")

    lists = SHARED / "recordio/mx191_nih24_png_passthrough_14labels.lst"
    if lists.exists():
        for path in folder.glob("*.lst"):
            path.unlink()
        (folder / "a.lst").write_bytes(lists.read_bytes())
        check(folder, SHARED / "nih_256/images", 14)
    else:
        print(f"SKIPPED: real images: there is no {lists} (set PNEUMA_SHARED)")
finish(faults)
