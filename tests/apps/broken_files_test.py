"""What a user meets with broken files: broken_files_test.py BUILD_FOLDER.

Every file of tests/data/broken (tests/golden/make_broken_files.py) is given to the programs that read
its kind. Each must end with its exit code and one line that says what is wrong and where, take no
more memory than a sound file of that kind and 16 MB, and leave nothing behind."""
import os
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
BROKEN = ROOT / "tests/data/broken"
BIN = pathlib.Path(sys.argv[1], "bin")
SLACK = 16 << 10  # KB
DAMAGED = "the file is damaged or no RecordIO file"

# What prepare_cxr verify lists, and what train_cxr dies of. None: it meets a picture while it
# trains, which train_records_test.cpp and others have.
RECORDS = {
    "empty": ("has no records; make it again",) * 2,
    "cut_header": ("offset 720: 4 bytes are left where a record's header has 8",) * 2,
    "cut_picture": ("bytes are claimed, padding apart, and",) * 2,
    "other_magic": ("offset 180: 0xcfd7230a stands where the magic number 0xced7230a",) * 2,
    "huge_length": ("offset 180: 536870911 bytes are claimed",) * 2,
    "starts_inside": ("offset 0: the flag of the part is 3 where 0 or 1",) * 2,
    "unfinished": ("bytes are left where a record's header has 8",) * 2,
    "short_payload": ("record 1 at offset 180: has 9 bytes where an image record has at least 24",) * 2,
    "labels_claimed": ("record 1 at offset 180: claims 1073741824 labels in",) * 2,
    "labels_differ": ("record 1 at offset 180: labels: 1 where",) * 2,
    "label_nan": ("record 1 at offset 180: label nan is not",) * 2,
    "picture_cut": ("record 1 at offset 180: ", None),
    "picture_huge": ("record 1 at offset 180: ", None),
    "no_picture": ("record 1 at offset 180: ", None),
    "a_list": ("offset 0: 0x09310930 stands where the magic number",) * 2,
}
INDEX = {
    "offset": "offset.idx:2: no record begins at offset 184",
    "offset_huge": "offset_huge.idx:2: '1?18446744073709551616' is not a key, a tab and an offset",
    "offset_twice": "offset_twice.idx:2: the record at offset 0 was named before",
    "key_twice": "key_twice.idx:3: key 1 was there before",
    "record_missing": "record_missing.idx: record 3 at offset 540 is not in it",
    "spaces": "spaces.idx:1: '0 0' is not a key, a tab and an offset",
    "zeros": "zeros.idx: holds zero bytes, so it is no text file",
    "long_line": "long_line.idx: unpacks to over 64 times its size",
}
# What each of prepare_cxr verify, prepare_cxr record and train_cxr says.
LISTS = {
    "empty": "empty.lst: the list is empty",
    "spaces": "spaces.lst:1: 1 fields where index, labels and path",
    "two_fields": "two_fields.lst:1: 2 fields where index, labels and path",
    "index_word": "index_word.lst:2: index 'first' is not a whole number",
    "label_word": "label_word.lst:2: label 'no' is not a number",
    "label_nan": "label_nan.lst:2: label 'nan' is not a number",
    "labels_differ": "labels_differ.lst:2: 1 labels where 2 are needed",
    "path_up": "path_up.lst:2: path '../broken/images/b.png' leaves the root",
    "path_absolute": "path_absolute.lst:1: path '/etc/passwd' is absolute",
    "path_control": "path_control.lst:1: path 'images/?[2J?a.png' holds a control character",
    "missing": "images/c.png",
    "picture_cut": "images/cut.png",
    "zero_byte": "zero_byte.lst: holds zero bytes",
    "long_line": "long_line.lst: unpacks to over 64 times its size",
    "bomb": "bomb.lst: unpacks to over 64 times its size",
    "gzip_cut": "gzip_cut.lst: cannot be read to its end",
}
PARAMS = {
    "empty": "neither safetensors nor MXNet's .params nor a .tar.gz",
    "cut": "one shall have 16 bytes",
    "cut_names": "its names: one shall have 14 bytes",
    "longer": "2 bytes follow the last name",
    "count_huge": "it claims 4611686018427387904 arrays, more than it can hold",
    "dims_overflow": "array 1 of 1: its shape has 1099511627776 among its dims, or more numbers",
    "data_missing": "array 1 of 1: its shape needs 4294967296 numbers of 4 bytes and",
    "sparse": "array 1 of 1: it is sparse",
    "int8": "array 1 of 1: it is int8",
    "dtype": "array 1 of 1: its dtype 77 is unknown",
    "name_twice": "'arg:a' stands there twice",
    "name_control": "'arg:??[2J' stands there twice",
    "other_network": "its tensors are of no network that is known here",
    "nothing": "its tensors are of no network that is known here",
    "pickle": "this is PyTorch's own format",
    "symbol": "neither safetensors nor MXNet's .params nor a .tar.gz",
    "archive_cut": "it is cut off or damaged",
    "archive_empty": "holds neither .params nor .safetensors",
    "archive_bomb": "its files claim more than it can hold",
}

HYPERPARAMETERS = {
    "empty": (3, "empty.json: is not JSON: "),
    "cut": (3, "cut.json: is not JSON: "),
    "list": (3, "list.json: must hold one JSON object"),
    "number": (3, "number.json: must hold one JSON object"),
    "nested": (3, "nested.json: is not JSON: "),
    "zeros": (3, "zeros.json: holds zero bytes"),
    "not_utf8": (3, "not_utf8.json: is not JSON: "),
    "missing": (2, "missing.json: num_classes is missing"),
    "unknown": (2, "'learning_rat' (the nearest is learning_rate)"),
    "unknown_control": (2, "unknown hyperparameter 'a??[2J'"),
    "unknown_many": (2, "unknown hyperparameter 'x0'; unknown"),
    "word": (2, "epochs 'many' is not a whole number from 1 to"),
    "range": (2, "learning_rate '1.5' is not a number from 0 to 1"),
    "negative": (2, "mini_batch_size '-8' is not a whole number from 1 to 65536"),
    "huge": (2, "epochs '99999999999999999999' is not a whole number from 1 to"),
    "nan": (2, "momentum 'nan' is not a number from 0 to 1"),
    "object": (2, "optimizer is no string, number or boolean"),
    "null": (2, "optimizer is no string, number or boolean"),
    "depth": (2, "num_layers '51' is not one of 18|34|50"),
    "shape": (2, "--image_shape 3,32: 3 numbers with commas are needed"),
    "shape_huge": (2, "--image_shape 3,999999,999999: each number is whole, from 1 to 16384"),
    "classes": (3, "record 0 at offset 0: labels: 2 where 3 are needed"),
    "bomb": (3, "bomb.json: unpacks to over 64 times its size"),
}
SETTINGS = {
    "empty": (3, "settings.json: is damaged: "),
    "cut": (3, "settings.json: is damaged: "),
    "list": (3, "settings.json: is damaged: "),
    "word": (3, "settings.json: is damaged: epochs 'many' is not a whole number from 1 to"),
    "null": (3, "settings.json: is damaged: optimizer 'null' is not one of sgd|nag|adam|rmsprop"),
    "negative": (3, "is damaged: mini_batch_size '-1' is not a whole number from 1 to 65536"),
    "wrapped": (3, "is damaged: mini_batch_size '4294967298' is not a whole number from 1 to 65536"),
    "fraction": (3, "is damaged: epochs '1.5' is not a whole number from 1 to"),
    "overflow": (3, "settings.json: is damaged: "),
    "rate": (3, "is damaged: learning_rate '-1' is not a number from 0 to 1"),
    "depth": (3, "is damaged: num_layers '51' is not one of"),
    "width": (2, "1073741824 channels in its first stage cannot be built; it takes 1 to 256"),
    "threads": (3, "is damaged: threads '1000000' is not a whole number from"),
}
CHANNELS = {
    "empty": (3, "inputdataconfig.json: is no JSON object"),
    "cut": (3, "inputdataconfig.json: is no JSON object"),
    "list": (3, "inputdataconfig.json: is no JSON object"),
    "pipe": (2, "channel train: Pipe mode is not read"),
    "manifest": (2, "channel train: augmented manifests are not read"),
    "type": (2, "channel train: content type 'text/csv?' is not read"),
    "types_differ": (2, "inputdataconfig.json: the channels' content types differ"),
    "images_without_list": (3, "train_lst: holds 0 .lst files; channel train_lst needs one"),
}
HOSTS = {
    "empty": (3, "resourceconfig.json: is no JSON object"),
    "two_hosts": (2, "resourceconfig.json: the job has 2 hosts"),
    "hosts_word": (3, "resourceconfig.json: hosts is no list"),
    "cut": (3, "resourceconfig.json: is no JSON object"),
}

faults, tried = [], 0


def run(output, program, *arguments):
    """exit code, stdout, stderr, KB at the peak"""
    with open(output / "out", "w+") as out, open(output / "err", "w+") as err:
        process = subprocess.Popen([BIN / program, *map(str, arguments)], stdout=out, stderr=err)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        texts = [pathlib.Path(f.name).read_text(errors="replace") for f in (out, err)]
    for name in ("out", "err"):
        (output / name).unlink()
    return process.returncode, *texts, usage.ru_maxrss


def lay(folder, files):
    for path, content in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)


def check(what, sound, code, part, *command, files={}, failure=None):
    """`part` is said by the command, in stderr's only line or, by verify, in a line of its list. The
    files lie in OUTPUT before; `failure`, if named, holds stderr's sentence afterwards."""
    global tried
    tried += 1
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        lay(folder, files)
        before = {p: p.is_file() and p.read_bytes() for p in folder.rglob("*")}
        got, out, err, peak = run(folder, *(str(c).replace("OUTPUT", str(folder)) for c in command))
        after = {p: p.is_file() and p.read_bytes() for p in folder.rglob("*")}
        told = after.pop(folder / failure, None) if failure else None
        left = sorted(str(p.relative_to(folder)) for p in before.keys() | after.keys()
                      if before.get(p) != after.get(p))
    said = [line for line in (out.splitlines() if "verify" in command else err.splitlines())
            if part in line]
    wrong = []
    if got != code:
        wrong.append(f"exit {got}, not {code}")
    if not said:
        wrong.append(f"nothing said of: {part}")
    if err.count("\n") != 1 or not err.startswith(command[0] + ": "):
        wrong.append("stderr is no line of the program's")
    if any(c < " " and c != "\n" for c in out + err):
        wrong.append("a control character is printed")
    if failure and (told or b"").decode(errors="replace") != err.split(": ", 1)[1]:
        wrong.append(f"{failure} says {told}")
    if left:
        wrong.append(f"left behind: {left}")
    if peak > sound + SLACK:
        wrong.append(f"{peak} KB of memory where a sound file takes {sound}")
    if wrong:
        faults.append(f"FAULT: {what}: {' '.join(map(str, command))}\n  {'; '.join(wrong)}\n"
                      + out[-600:] + err)


def measure(*command, files={}):
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        lay(folder, files)
        code, out, err, peak = run(folder, *(str(c).replace("OUTPUT", str(folder)) for c in command))
    if code:
        faults.append(f"FAULT: sound files are refused: {' '.join(map(str, command))}\n{out}{err}")
    return peak


def of_kind(folder, suffix, table):
    """(file, what is said of it) of every file; a file without an entry is a fault."""
    names = {path.name[:-len(suffix)] for path in (BROKEN / folder).glob("[!_]*" + suffix)}
    faults.extend(f"FAULT: {folder}/{name}{suffix}: is not both file and entry"
                  for name in names ^ table.keys())
    return [(BROKEN / folder / (name + suffix), said) for name, said in sorted(table.items())
            if name in names]


os.environ["OMP_WAIT_POLICY"] = "passive"
SMALL = ("--output", "OUTPUT/run", "--image_shape", "3,32,32", "--mini_batch_size", 2, "--threads", 1,
         "--device", "cpu", "--num_layers", 18)
good = BROKEN / "pictures.rec"
verifying = measure("prepare_cxr", "verify", good, "--threads", 1)
training = measure("train_cxr", "--train", good, "--validation", good, *SMALL, "--dry_run")
for path, (verified, trained) in of_kind("record", ".rec", RECORDS):
    check(path.name, verifying, 3, verified, "prepare_cxr", "verify", path, "--threads", 1)
    if trained:
        check(path.name, training, 3, trained, "train_cxr", "--train", path, "--validation", good,
              *SMALL)
for path, said in of_kind("index", ".idx", INDEX):
    records = path.with_suffix(".rec")
    check(path.name, verifying, 3, said, "prepare_cxr", "verify", records, "--threads", 1)
    check(path.name, training, 3, said, "train_cxr", "--train", good, "--validation", records,
          *SMALL)
for path, said in of_kind("list", ".lst", LISTS):
    check(path.name, verifying, 3, said, "prepare_cxr", "verify", path, "--root", BROKEN,
          "--threads", 1)
    check(path.name, verifying, 3, said, "prepare_cxr", "record", path, BROKEN, "OUTPUT/o.rec",
          "--pack_label", "--num_thread", 1)
    if path.stem != "picture_cut":
        check(path.name, training, 3, said, "train_cxr", "--train", BROKEN, "--train_lst", path,
              "--validation", good, *SMALL)
for path, said in of_kind("params", ".params", PARAMS):
    check(path.name, training, 3, said, "train_cxr", "--train", good, "--validation", good, "--init",
          path, *SMALL)

for path, (code, said) in of_kind("hyperparameters", ".json", HYPERPARAMETERS):
    check(path.name, training, code, said, "train_cxr", "--hyperparameters", path, "--train", good,
          "--validation", good, "--output", "OUTPUT/run", "--threads", 1, "--device", "cpu")


def resumable(path):
    text = path.read_text()
    text = text.replace('{"', f'{{"train": "{good}", "validation": "{good}", "', 1)
    return {"run/settings.json": text.encode(), "run/checkpoints/epoch-0000.safetensors": b""}


resuming = measure("train_cxr", "--resume", "OUTPUT/run",
                   files=resumable(BROKEN / "settings/_good.json"))
for path, (code, said) in of_kind("settings", ".json", SETTINGS):
    check(path.name, resuming, code, said, "train_cxr", "--resume", "OUTPUT/run",
          files=resumable(path))

container = {f"ml/input/data/{channel}/all.rec": good.read_bytes()
             for channel in ("train", "validation")} | {"ml/output/data/of_the_platform": b""}
for name in ("hyperparameters", "inputdataconfig", "resourceconfig"):
    container[f"ml/input/config/{name}.json"] = (BROKEN / name / "_good.json").read_bytes()
START = ("train_cxr", "train", "--sagemaker_root", "OUTPUT/ml", "--threads", 1, "--device", "cpu")
measure(*START, "--dry_run", files=container)
for name, table in (("hyperparameters", HYPERPARAMETERS), ("inputdataconfig", CHANNELS),
                    ("resourceconfig", HOSTS)):
    for path, (code, said) in of_kind(name, ".json", table):
        check(path.name, training, code, said.replace(path.name, name + ".json"), *START,
              files=container | {f"ml/input/config/{name}.json": path.read_bytes()},
              failure="ml/output/failure")

print("\n".join(faults))
print(f"{tried} commands on broken files (a sound file: {verifying} KB to verify, {training} KB to "
      f"train), {len(faults)} faults")
sys.exit(1 if faults else 0)
