"""Every test file is a ctest entry: registered_test.py BUILD_FOLDER."""
import re
import subprocess
import sys

from repo import files, finish

listed = subprocess.run(["ctest", "--test-dir", sys.argv[1], "-N"], capture_output=True, text=True)
entries = set(re.findall(r"Test +#\d+: (\S+)", listed.stdout))
faults = [] if entries else [f"FAULT: ctest lists no test:\n{listed.stdout}{listed.stderr}"]
for path in files():
    if not re.search(r"_(test|peers)\.(cpp|cu|py|sh)$", path.name):
        continue
    if path.parts[0] != "tests":
        faults.append(f"FAULT: {path}: tests live in tests/<room>/")
    elif f"{path.parent.name}/{path.stem}" not in entries:
        faults.append(f"FAULT: {path} is not a ctest entry (see tests/CMakeLists.txt)")
print(f"{len(entries)} ctest entries")
finish(faults)
