"""What the tests of the repository itself share: its files, and how a failure is told."""
import os
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
SOURCE = {".h", ".cpp", ".cu", ".cuh"}
SKIPPED = 77  # ctest's SKIP_RETURN_CODE


def files(suffixes=None):
    """Every file of the repository as a path relative to ROOT, build folders left out."""
    for folder, folders, names in os.walk(ROOT):
        folders[:] = sorted(f for f in folders if f not in {".git", "build", ".venv", "__pycache__"})
        for name in sorted(names):
            path = pathlib.Path(folder, name).relative_to(ROOT)
            if name != ".git" and (suffixes is None or path.suffix in suffixes):
                yield path


def text(path):
    return (ROOT / path).read_text(encoding="utf-8", errors="replace")


def finish(faults):
    for fault in faults:
        print(fault)
    print(f"{len(faults)} faults")
    sys.exit(1 if faults else 0)
