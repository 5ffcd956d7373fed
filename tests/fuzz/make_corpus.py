"""Writes corpus/<reader>/: where fuzzing starts from, and what it found.

    python3 tests/fuzz/make_corpus.py

Valid minimal files (good_...) and what was done to them by hand. Stated with struct alone, from the
formats' descriptions in the readers' headers. Findings of fuzzing that cannot be said in a line are
hexadecimal in FOUND."""
import gzip
import io
import json
import math
import pathlib
import struct
import tarfile

CORPUS = pathlib.Path(__file__).resolve().parent / "corpus"
MAGIC = struct.pack("<I", 0xCED7230A)
NAN, INF = float("nan"), float("inf")

FOUND = {"record": {}, "list": {}, "params": {}, "safetensors": {}, "labels": {}}


# Records.
def part(cflag, content, length=None):
    word = cflag << 29 | (len(content) if length is None else length)
    return MAGIC + struct.pack("<I", word) + content + b"\0" * (-len(content) % 4)


def image(labels, content=b"picture", header=0.0, flag=None, number=7):
    flag = len(labels) if flag is None else flag
    return struct.pack(f"<IfQQ{len(labels)}f", flag, header, number, 0, *labels) + content


one, two = part(0, image([0, 1])), part(0, image([1, 0], number=8))
RECORD = {
    "good_one": one,
    "good_many": one + two + part(0, image([1, 1], b"", number=1 << 63)),
    "good_header_label": part(0, image([], header=1.0, flag=0)),
    "good_split": part(1, image([0, 1], b"1234")) + part(2, b"") + part(3, b"tail") + two,
    "empty": b"",
    "four_bytes": MAGIC,
    "cut": one[:-8],
    "cut_header": one + MAGIC,
    "other_magic": one + b"\xce\xd7\x23\x0a" + two[4:],
    "huge_length": one + part(0, image([0, 1]), (1 << 29) - 1),
    "cflag_3_first": part(3, image([0, 1])),
    "cflag_1_only": part(1, image([0, 1])),
    "cflag_2_then_0": part(1, image([0, 1])) + two,
    "cflag_7": part(7, image([0, 1])),
    "split_to_nothing": part(1, b"") + part(3, b""),
    "short_payload": one + part(0, b"twenty-three bytes in it"[:23]),
    "labels_claimed": part(0, image([0, 1], flag=0xFFFFFFFF)),
    "good_labels_many": part(0, image([0.0] * 900)),
    "labels_differ": one + part(0, image([1])),
    "label_nan": part(0, image([NAN, 0])),
    "label_inf_header": part(0, image([], header=-INF, flag=0)),
    "label_half": one + part(0, image([0.5, 0])),
    "magic_inside": part(0, image([0, 1], b"1" + b"\0" * 3 + MAGIC * 3)) + b"\0",
    "text": b"0\t1\timages/a.png\n",
}

# Lists.
LIST = {
    "good": b"0\t0\t1\timages/a.png\n1\t1\t0\timages/b b.png\n",
    "good_crlf_floats": b"-1\t1.000000\ta.png\r\n\r\n2\t-2.5e-3\tb.png",
    "good_gzip": gzip.compress(b"0\t1\ta\n1\t0\tb\n", mtime=0),
    "good_bom": b"\xef\xbb\xbf0\t1\tn\xc3\xa4me.png\n",
    "empty": b"",
    "blank": b"\n \t\r\n\n",
    "two_fields": b"0\ta.png\n",
    "spaces": b"0 1 a.png\n",
    "index_word": b"0\t1\ta\nzero\t1\tb\n",
    "index_half": b"0.5\t1\ta\n",
    "index_huge": b"99999999999999999999\t1\ta\n",
    "label_nan": b"0\tnan\ta\n",
    "label_inf": b"0\t1\ta\n1\t1e99\tb\n",
    "label_hex": b"0\t0x1\ta\n",
    "labels_differ": b"0\t1\ta\n1\t1\t0\tb\n",
    "tabs": b"\t" * 4000,
    "labels_many": b"0" + b"\t1" * 1900 + b"\ta\n1\t1\ta",
    "path_absolute": b"0\t1\t/etc/passwd\n",
    "path_up": b"0\t1\ta/../../b\n",
    "path_control": b"0\t1\ta\x1b[2J\rb\n",
    "path_empty": b"0\t1\t\n",
    "zero_byte": b"0\t1\ta\0.png\n",
    "gzip_cut": gzip.compress(b"0\t1\ta\n" * 9, mtime=0)[:-9],
    "gzip_damaged": gzip.compress(b"0\t1\ta\n" * 9, mtime=0)[:-8] + b"01234567",
    "gzip_bomb": gzip.compress(b"0\t1\ta\n" * 400_000, mtime=0),
    "index": b"0\t0\n1\t40\n2\t80\n",
    "index_twice": b"0\t40\n0\t0\n1\t40\n-3\t41\n",
}


# MXNet's arrays.
def shape(dims):
    return struct.pack(f"<i{len(dims)}q", len(dims), *dims)


def array(form, dims, data=None, kind=0, storage=0, context=(1, 0)):
    head = {0: b"", 1: struct.pack("<I", 0xF993FAC8), 2: struct.pack("<Ii", 0xF993FAC9, storage),
            3: struct.pack("<Ii", 0xF993FACA, storage)}[form]
    sizes = struct.pack(f"<I{len(dims)}I", len(dims), *dims) if form == 0 else shape(dims)
    data = b"\0" * (4 * math.prod(dims)) if data is None else data
    return head + sizes + struct.pack("<iii", *context, kind) + data


def arrays(content, names=None, count=None, magic=0x112):
    names = [b"arg:%d" % k for k in range(len(content))] if names is None else names
    return (struct.pack("<QQQ", magic, 0, len(content) if count is None else count)
            + b"".join(content) + struct.pack("<Q", len(names))
            + b"".join(struct.pack("<Q", len(name)) + name for name in names))


def tar(files):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, content in files:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return gzip.compress(out.getvalue(), mtime=0)


none = struct.pack("<Iii", 0xF993FACA, 0, -1)
net = arrays([array(2, [2, 3, 1, 1]), array(2, [2]), array(2, [2, 2])],
             [b"arg:conv0_weight", b"aux:bn0_moving_mean", b"arg:fc1_weight"])
SHAPES = json.dumps([{"name": "data", "shape": [1, 3, 4, 4]}]).encode()
PARAMS = {
    "good_form0": arrays([array(0, [2, 3], context=(2, 3))]),
    "good_form1": arrays([array(1, [2, 1]), array(1, [3], b"abc", 3)]),
    "good_net": net,
    "good_form3": arrays([array(3, []), none, array(3, [0, 4])]),
    "good_archive": tar([("model-shapes.json", SHAPES), ("image-classification-0001.params", net)]),
    "empty": b"",
    "none": arrays([]) [:20],
    "cut": net[:-40],
    "cut_names": net[:-3],
    "longer": net + b"\0",
    "other_magic": arrays([array(2, [1])], magic=0x113),
    "count_huge": arrays([array(2, [1])], count=1 << 60),
    "count_wrong": arrays([array(2, [1])], count=2),
    "dims_33": arrays([array(0, [1] * 33)]),
    "dims_negative": arrays([struct.pack("<Iii", 0xF993FAC9, 0, -2)]),
    "dim_negative": arrays([array(2, [-1, 2], b"")]),
    "dims_overflow": arrays([array(2, [1 << 32, 1 << 32], b"")]),
    "dims_huge_zero": arrays([array(2, [1 << 62, 1 << 62, 0], b"")]),
    "data_missing": arrays([array(0, [1 << 20, 1 << 10], b"")]),
    "sparse": arrays([array(2, [4, 4], b"", storage=1)]),
    "dtype_9": arrays([array(2, [1], kind=9)]),
    "int8": arrays([array(2, [4], b"1234", 5)]),
    "name_twice": arrays([array(2, [1]), array(2, [1])], [b"arg:a", b"arg:a"]),
    "name_both": arrays([array(2, [1]), array(2, [1])], [b"arg:a", b"aux:a"]),
    "name_control": arrays([array(2, [1]), array(2, [1])], [b"arg:a\n\x1b[2J", b"arg:a\n\x1b[2J"]),
    "name_empty": arrays([array(2, [1])], [b""]),
    "name_huge": net.replace(struct.pack("<Q", 16), struct.pack("<Q", 1 << 63)),
    "pickle": b"PK\3\4" + b"\0" * 28,
    "archive_cut": tar([("a.params", net)])[:-20],
    "archive_shapes": tar([("model-shapes.json", b"[[[[" * 20), ("a.params", net)]),
}


# Safetensors.
def safetensors(header, data=b"", length=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def tensor(dtype="F32", dims=(2,), offsets=(0, 8)):
    return {"dtype": dtype, "shape": list(dims), "data_offsets": list(offsets)}


MODEL = {"network": {"arch": "v2", "num_layers": 18, "base_width": 64, "num_classes": 2,
                     "findings": ["a", "b"], "output": "sigmoid", "image_shape": [3, 32, 32]},
         "preprocessing": {"mean": [1, 2, 3], "std": [1, 2, 3], "resize": 0,
                           "resize_filter": "antialias", "crop": "center"},
         "split": {"method": "", "seed": 1, "hash": ""}}


def model(**changes):
    sections = {name: json.dumps({**section, **changes.get(name, {})})
                for name, section in MODEL.items()}
    return safetensors({"__metadata__": sections, "w": tensor()}, b"12345678")


SAFETENSORS = {
    "good_model": model(),
    "good_model_scalar": model(split={"seed": (1 << 63) - 1}).replace(b"[2]", b"[ ]")
    .replace(b"[0, 8]", b"[0, 4]").replace(b"12345678", b"1234"),
    "foreign": safetensors({"a": tensor(), "b": tensor("BF16", (2, 2), (8, 16))}, b"0123456789abcdef"),
    "no_tensors": safetensors({}),
    "empty": b"",
    "cut": safetensors({"a": tensor()}, b"1234"),
    "length_huge": safetensors({"a": tensor()}, b"12345678", 1 << 63),
    "length_past_end": safetensors({"a": tensor()}, b"12345678", 400),
    "not_json": safetensors(b'{"a":'),
    "nested": safetensors(b'{"a":' + b"[" * 3000 + b"}"),
    "overlap": safetensors({"a": tensor(), "b": tensor("F32", (2,), (4, 12))}, b"0123456789ab"),
    "hole": safetensors({"a": tensor(), "b": tensor("F32", (2,), (9, 17))}, b"0" * 17),
    "backwards": safetensors({"a": tensor("F32", (2,), (8, 0))}, b"12345678"),
    "dims_overflow": safetensors({"a": tensor("F64", (1 << 62, 1 << 62), (0, 8))}, b"12345678"),
    "dim_zero": safetensors({"a": tensor("F32", (1 << 62, 0), (0, 0))}),
    "dim_negative": safetensors({"a": tensor("F32", (-2,))}, b"12345678"),
    "dtype": safetensors({"a": tensor("I8", (8,))}, b"12345678"),
    "twice": safetensors(b'{"a":' + json.dumps(tensor()).encode() + b',"a":'
                         + json.dumps(tensor()).encode() + b"}", b"12345678"),
    "name_control": safetensors({"a\n\x1b[2J\x7f": tensor("X")}, b"12345678"),
    "name_long": safetensors({"n" * 3000: tensor("X")}, b"12345678"),
    "not_utf8": safetensors(b'{"\xff\xfe":' + json.dumps(tensor()).encode() + b"}", b"12345678"),
    "one_checksum": safetensors({"__metadata__": {"pneuma.checksum": "0" * 32}}),
    "wrong_checksum": safetensors({"__metadata__": {"pneuma.checksum": "0" * 32,
                                                    "pneuma.tensor_checksums": ""}}),
    "model_control": model(network={"arch": "v\n2"}),
    "model_findings": model(network={"findings": ["a", "a"]}),
    "model_classes": model(network={"num_classes": 1e3}),
    "model_std": model(preprocessing={"std": [1e400, 0, 1]}),
    "model_shape": model(network={"image_shape": [3, -1, 1 << 40]}),
}

# The label file.
HEAD = b"Image Index,Finding Labels,Follow-up #,Patient ID\n"
LABELS = {
    "good": HEAD + b"00000001_000.png,Cardiomegaly|Edema,0,1\n00000002_000.png,No Finding,0,2\n",
    "good_2017": b"Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View "
                 b"Position,OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y],\n"
                 b"a.png,Pleural_Thickening,0,1,50,M,PA,2048,2048,0.1,0.1,\n",
    "good_recipe": b"a.png,Hernia,0,1\nb.png,mass|nodule,1,1\n",
    "good_no_patient": b"image index,finding labels\r\n00000013_005.png,Mass\r\nc.png,Edema\r\n",
    "good_quotes": b'\xef\xbb\xbf"Image Index","Finding Labels",x,"Patient ID"\n"a,b.png","Edema","""",7\n',
    "good_gzip": gzip.compress(HEAD + b"a.png,Effusion,0,1\n", mtime=0),
    "empty": b"",
    "header_only": HEAD,
    "no_column": b"Image Index,Findings,x,Patient ID\na.png,Edema,0,1\n",
    "two_fields": b"a,b\n",
    "fields_missing": HEAD + b"a.png,Edema\n",
    "fields_many": HEAD + b"a.png,Edema,0,1,2,3\n",
    "quote_open": HEAD + b'"a.png,Edema,0,1\n',
    "unknown": HEAD + b"a.png,Oedema,0,1\n",
    "unknown_control": HEAD + b"a.png,\x1b[2J\rx,0,1\n",
    "unknown_long": HEAD + b"a.png," + b"E" * 3000 + b",0,1\n",
    "none_and_one": HEAD + b"a.png,No Finding|Edema,0,1\n",
    "patient_word": HEAD + b"a.png,Edema,0,me\n",
    "patient_negative": HEAD + b"a.png,Edema,0,-1\n",
    "patient_huge": HEAD + b"a.png,Edema,0,9223372036854775808\n",
    "image_folder": HEAD + b"a/b.png,Edema,0,1\n",
    "image_up": HEAD + b"..,Edema,0,1\n",
    "image_control": HEAD + b"a\x07.png,Edema,0,1\n",
    "image_twice": HEAD + b"a.png,Edema,0,1\n a.png,Mass,0,1\n",
    "zero_byte": HEAD + b"a.png,Edema,0,1\0\n",
    "commas": b"," * 3000,
    "short_rows": b"a,Mass,,1\nb,Mass,,1\nc,Mass,,1\nd,Mass,,1\ne,Mass,,1\nf,Mass,,1\n" * 2,
    "gzip_cut": gzip.compress(HEAD + b"a.png,Effusion,0,1\n", mtime=0)[:-9],
}

if __name__ == "__main__":
    for reader, inputs in (("record", RECORD), ("list", LIST), ("params", PARAMS),
                           ("safetensors", SAFETENSORS), ("labels", LABELS)):
        folder = CORPUS / reader
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.iterdir():
            old.unlink()
        for name, content in (inputs | {k: bytes.fromhex(v) for k, v in FOUND[reader].items()}).items():
            (folder / name).write_bytes(content)
        sizes = [path.stat().st_size for path in folder.iterdir()]
        print(f"{reader}: {len(sizes)} files, the largest of {max(sizes)} bytes")
