"""Writes tests/data/broken/: files as users break them and as somebody hostile makes them, for
tests/apps/broken_files_test.py, which knows what is to be said of each.

    python3 tests/golden/make_broken_files.py

Two are sound, for the others to be tried with: pictures.rec and images/."""
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
FILES = {"pictures.rec": good, "images/a.png": png(), "images/b.png": png(),
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

if __name__ == "__main__":
    for path, content in FILES.items():
        (BROKEN / path).parent.mkdir(parents=True, exist_ok=True)
        (BROKEN / path).write_bytes(content if isinstance(content, bytes) else content.encode())
    print(f"{len(FILES)} files, {sum(map(len, FILES.values()))} bytes")
