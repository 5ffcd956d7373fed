"""clang-format-14 has nothing to change; shellcheck, where it is there, has nothing to say."""
import shutil
import subprocess
import sys

from repo import ROOT, SKIPPED, SOURCE, files, finish

tool = shutil.which("clang-format-14")
if not tool:
    print("SKIPPED: there is no clang-format-14 (it comes with ./pneuma setup where apt has it)")
    sys.exit(SKIPPED)
faults = []
sources = [str(path) for path in files(SOURCE)]
done = subprocess.run([tool, "--dry-run", "--Werror", *sources], cwd=ROOT, capture_output=True,
                      text=True)
for line in done.stderr.splitlines():
    if "error:" in line:
        faults.append("FAULT: " + line)
if done.returncode and not faults:
    faults.append(done.stderr)
if shellcheck := shutil.which("shellcheck"):
    done = subprocess.run([shellcheck, "pneuma", ".ci/run"], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        faults.append(done.stdout + done.stderr)
print(f"{len(sources)} files")
finish(faults)
