"""Writes tests/data/broken/: files as users break them and as somebody hostile makes them, for
tests/apps/broken_files_test.py, which knows what is to be said of each.

    python3 tests/golden/make_broken_files.py

Some are sound, for the others to be tried with: pictures.rec, images/ and the ..._good.json."""
import gzip
import json
import pathlib
import struct
import sys
import zlib

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/fuzz"))
from make_corpus import MAGIC, NAN, array, arrays, image, net, part, tar  # noqa: E402

BROKEN = ROOT / "tests/data/broken"


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(size=8, claimed=None):
    """Gray, a ramp; `claimed`: what its header says instead of its size."""
    side = claimed or size
    rows = b"".join(b"\0" + bytes((x * 16 + y) % 256 for x in range(size)) for y in range(size))
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0))
            + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


records = [part(0, image([k % 2, 1 - k % 2], png(), number=k)) for k in range(4)]
good = b"".join(records)
size = len(records[0])
index = "".join(f"{k}\t{k * size}\n" for k in range(4))
FILES = {"pictures.rec": b"".join(part(0, image([k % 2, 1 - k % 2], png(32), number=k))
                                  for k in range(4)),
         "images/a.png": png(), "images/b.png": png(),
         "images/cut.png": png()[:-30]}

FILES |= {f"record/{name}.rec": content for name, content in {
    "empty": b"",
    "cut_header": good + MAGIC,
    "cut_picture": good[:-40],
    "other_magic": records[0] + b"\x0a\x23\xd7\xcf" + records[1][4:] + records[2],
    "huge_length": records[0] + MAGIC + struct.pack("<I", (1 << 29) - 1) + records[1][8:],
    "starts_inside": part(3, image([0, 1], png())),
    "unfinished": records[0] + part(1, image([0, 1], png())),
    "short_payload": records[0] + part(0, b"too short"),
    "labels_claimed": records[0] + part(0, image([0, 1], png(), flag=0x40000000)),
    "labels_differ": records[0] + part(0, image([1], png())),
    "label_nan": records[0] + part(0, image([NAN, 0], png())),
    "picture_cut": records[0] + part(0, image([0, 1], png()[:-30])),
    "picture_huge": records[0] + part(0, image([0, 1], png(claimed=60000))),
    "no_picture": records[0] + part(0, image([0, 1], b"")),
    "a_list": b"0\t1\t0\timages/a.png\n",
}.items()}
for name, content in {
    "offset": index.replace(f"\t{size}\n", f"\t{size + 4}\n"),
    "offset_huge": index.replace(f"\t{size}\n", "\t18446744073709551616\n"),
    "offset_twice": index.replace(f"\t{size}\n", "\t0\n"),
    "key_twice": index.replace("2\t", "1\t"),
    "record_missing": index[:index.rindex("3\t")],
    "spaces": index.replace("\t", " "),
    "zeros": "\0" * 64,
    "long_line": gzip.compress(b"\t" * 100_000, mtime=0),
}.items():
    FILES |= {f"index/{name}.rec": good, f"index/{name}.idx": content}

FILES |= {f"list/{name}.lst": content for name, content in {
    "empty": "",
    "spaces": "0 1 0 images/a.png\n",
    "two_fields": "0\timages/a.png\n",
    "index_word": "0\t1\t0\timages/a.png\nfirst\t0\t1\timages/b.png\n",
    "label_word": "0\t1\t0\timages/a.png\n1\tno\t1\timages/b.png\n",
    "label_nan": "0\t1\t0\timages/a.png\n1\tnan\t1\timages/b.png\n",
    "labels_differ": "0\t1\t0\timages/a.png\n1\t1\timages/b.png\n",
    "path_up": "0\t1\t0\timages/a.png\n1\t0\t1\t../broken/images/b.png\n",
    "path_absolute": "0\t1\t0\t/etc/passwd\n",
    "path_control": "0\t1\t0\timages/\x1b[2J\x07a.png\n",
    "missing": "0\t1\t0\timages/a.png\n1\t0\t1\timages/c.png\n",
    "picture_cut": "0\t1\t0\timages/a.png\n1\t0\t1\timages/cut.png\n",
    "zero_byte": "0\t1\t0\timages/a.png\n\0",
    "long_line": gzip.compress(b"0" + b"\t1" * 50_000 + b"\timages/a.png\n", mtime=0),
    "bomb": gzip.compress(b"0\t1\t0\timages/a.png\n" * 500_000, mtime=0),
    "gzip_cut": gzip.compress(b"0\t1\t0\timages/a.png\n" * 9, mtime=0)[:-9],
}.items()}

FILES |= {f"params/{name}": content for name, content in {
    "empty.params": b"",
    "cut.params": net[:-60],
    "cut_names.params": net[:-5],
    "longer.params": net + b"\0\0",
    "count_huge.params": arrays([array(2, [1])], count=1 << 62),
    "dims_overflow.params": arrays([array(2, [1 << 40, 1 << 40], b"")]),
    "data_missing.params": arrays([array(0, [1 << 20, 1 << 12], b"")]),
    "sparse.params": arrays([array(2, [4, 4], b"", storage=1)]),
    "int8.params": arrays([array(2, [4], b"1234", 5)]),
    "dtype.params": arrays([array(2, [4], kind=77)]),
    "name_twice.params": arrays([array(2, [1]), array(2, [1])], [b"arg:a", b"arg:a"]),
    "name_control.params": arrays([array(2, [1])] * 2, [b"arg:\n\x1b[2J", b"arg:\n\x1b[2J"]),
    "other_network.params": net,
    "nothing.params": arrays([]),
    "pickle.params": b"PK\3\4" + b"\0" * 60,
    "symbol.params": b'{"nodes": []}',
    "archive_cut.params": tar([("a.params", net)])[:-30],
    "archive_empty.params": tar([("readme.txt", b"no weights")]),
    "archive_bomb.params": tar([("a.params", b"\0" * 500_000)]),
}.items()}

job = {"num_classes": "2", "num_training_samples": "4", "multi_label": "1", "num_layers": "18",
       "image_shape": "3,32,32", "mini_batch_size": "2", "epochs": "1"}


def changed(**values):
    return json.dumps(job | values)


FILES |= {f"hyperparameters/{name}.json": content for name, content in {
    "_good": changed(),
    "empty": "",
    "cut": changed()[:-9],
    "list": "[" + changed() + "]",
    "number": "3",
    "nested": "[" * 20_000,
    "zeros": "\0" * 64,
    "not_utf8": changed().encode().replace(b"3,32,32", b"\xff\xfe"),
    "missing": json.dumps({k: v for k, v in job.items() if k != "num_classes"}),
    "unknown": changed(learning_rat="0.1"),
    "unknown_control": changed(**{"a\n\x1b[2J": "1"}),
    "unknown_many": json.dumps(job | {f"x{k}": "1" for k in range(300)}),
    "word": changed(epochs="many"),
    "range": changed(learning_rate="1.5"),
    "negative": changed(mini_batch_size="-8"),
    "huge": changed(epochs="99999999999999999999"),
    "nan": changed(momentum="nan"),
    "object": changed(optimizer={"name": "sgd"}),
    "null": changed(optimizer=None),
    "depth": changed(num_layers="51"),
    "shape": changed(image_shape="3,32"),
    "shape_huge": changed(image_shape="3,999999,999999"),
    "classes": changed(num_classes="3"),
    "bomb": gzip.compress(b'{"a": "' + b"0" * 900_000 + b'"}', mtime=0),
}.items()}

# Of a run that is to be resumed; train and validation are set by the test.
run = {"image_shape": "3,32,32", "mini_batch_size": 2, "threads": 1, "device": "cpu", "base_width": 4,
       "num_layers": 18, "epochs": 1, "max_steps": 1, "output": "run"}
FILES |= {f"settings/{name}.json": content for name, content in {
    "_good": json.dumps(run),
    "empty": "",
    "cut": json.dumps(run)[:-9],
    "list": json.dumps([run]),
    "word": json.dumps(run | {"epochs": "many"}),
    "null": json.dumps(run | {"optimizer": None}),
    "negative": json.dumps(run | {"mini_batch_size": -1}),
    "wrapped": json.dumps(run | {"mini_batch_size": (1 << 32) + 2}),
    "fraction": json.dumps(run | {"epochs": 1.5}),
    "overflow": json.dumps(run).replace('"epochs": 1', '"learning_rate": 1e999'),
    "rate": json.dumps(run | {"learning_rate": -1}),
    "depth": json.dumps(run | {"num_layers": 51}),
    "width": json.dumps(run | {"base_width": 1 << 30}),
    "threads": json.dumps(run | {"threads": 1_000_000}),
}.items()}

channels = {name: {"ContentType": "application/x-recordio", "TrainingInputMode": "File"}
            for name in ("train", "validation")}
FILES |= {f"inputdataconfig/{name}.json": content for name, content in {
    "_good": json.dumps(channels),
    "empty": "",
    "cut": json.dumps(channels)[:-20],
    "list": json.dumps(list(channels)),
    "pipe": json.dumps(channels | {"train": {"TrainingInputMode": "Pipe"}}),
    "manifest": json.dumps(channels | {"train": {"AttributeNames": ["source-ref", "label"]}}),
    "type": json.dumps(channels | {"train": {"ContentType": "text/csv\n"}}),
    "types_differ": json.dumps(channels | {"train": {"ContentType": "application/x-image"}}),
    "images_without_list": json.dumps({name: {"ContentType": "application/x-image"}
                                       for name in channels}),
}.items()}
FILES |= {f"resourceconfig/{name}.json": content for name, content in {
    "_good": '{"current_host": "algo-1", "hosts": ["algo-1"]}',
    "empty": "",
    "two_hosts": '{"current_host": "algo-1", "hosts": ["algo-1", "algo-2"]}',
    "hosts_word": '{"current_host": "algo-1", "hosts": "algo-1"}',
    "cut": '{"current_host": "algo-1", "hosts": ["algo-1"',
}.items()}

if __name__ == "__main__":
    for path, content in FILES.items():
        (BROKEN / path).parent.mkdir(parents=True, exist_ok=True)
        (BROKEN / path).write_bytes(content if isinstance(content, bytes) else content.encode())
    print(f"{len(FILES)} files, {sum(map(len, FILES.values()))} bytes")
