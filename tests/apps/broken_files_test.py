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
    "a_list": ("offset 0: 0x30093109 stands where the magic number",) * 2,
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

faults, tried, met = [], 0, set()


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


def check(what, sound, code, part, *command):
    """`part` is said by the command, in stderr's only line or, by verify, in a line of its list."""
    global tried
    tried += 1
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        got, out, err, peak = run(folder, *(str(c).replace("OUTPUT", str(folder)) for c in command))
        left = sorted(str(p.relative_to(folder)) for p in folder.rglob("*"))
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
    if left:
        wrong.append(f"left behind: {left}")
    if peak > sound + SLACK:
        wrong.append(f"{peak} KB of memory where a sound file takes {sound}")
    if wrong:
        faults.append(f"FAULT: {what}: {' '.join(map(str, command))}\n  {'; '.join(wrong)}\n"
                      + out[-600:] + err)


def measure(*command):
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        code, out, err, peak = run(folder, *(str(c).replace("OUTPUT", str(folder)) for c in command))
    if code:
        faults.append(f"FAULT: sound files are refused: {' '.join(map(str, command))}\n{out}{err}")
    return peak


def of_kind(folder, suffix, table):
    """(file, what is said of it) of every file; a file without an entry is a fault."""
    names = {path.name[:-len(suffix)] for path in (BROKEN / folder).glob("*" + suffix)}
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

print("\n".join(faults))
print(f"{tried} commands on broken files (a sound file: {verifying} KB to verify, {training} KB to "
      f"train), {len(faults)} faults")
sys.exit(1 if faults else 0)
