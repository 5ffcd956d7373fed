"""What cmake --install puts down runs from anywhere: install_test.py BUILD_FOLDER."""
import pathlib
import re
import subprocess
import sys
import tempfile

from repo import ROOT, finish

faults = []
with tempfile.TemporaryDirectory() as name:
    first, prefix = pathlib.Path(name, "first"), pathlib.Path(name, "moved")
    subprocess.run(["cmake", "--install", sys.argv[1], "--prefix", first], check=True,
                   stdout=subprocess.DEVNULL)
    first.rename(prefix)
    programs = sorted(path.stem for path in (ROOT / "apps").glob("*.cpp"))
    for program in programs:
        path = prefix / "bin" / program
        if not path.exists():
            faults.append(f"FAULT: {program} is not installed")
            continue
        for flag in ("--version", "--help"):
            done = subprocess.run([path, flag], cwd=name, env={}, capture_output=True, text=True)
            if done.returncode or not done.stdout.strip():
                faults.append(f"FAULT: installed {program} {flag} ends with {done.returncode}: "
                              f"{done.stdout[-300:]}{done.stderr[-300:]}")
        libraries = subprocess.run(["ldd", path], capture_output=True, text=True).stdout
        for found in re.findall(r"=> (\S+) \(", libraries):
            if not found.startswith((str(prefix), "/lib", "/usr/lib")):
                faults.append(f"FAULT: installed {program} loads {found}")
    for wanted in ("README.md", "LICENSE"):
        if not (prefix / "share/doc/pneuma" / wanted).exists():
            faults.append(f"FAULT: {wanted} is not installed")
print(f"{len(programs)} programs: {' '.join(programs)}")
finish(faults)
