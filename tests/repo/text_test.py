"""The README quotes first_step.cpp as it is, links of every page lead somewhere; no path of one machine."""
import re

from repo import ROOT, files, finish, text

faults = []
readme = text("README.md")
blocks = re.findall(r"^```cpp\n(.*?)^```$", readme, re.M | re.S)
if text("apps/examples/first_step.cpp") not in blocks:
    faults.append("FAULT: README.md must quote apps/examples/first_step.cpp word for word")
for page in files({".md"}):
    for link in re.findall(r"\]\(([^)#:]+)\)|src=\"([^\":]+)\"", text(page)):
        if not (ROOT / page.parent / "".join(link)).exists():
            faults.append(f"FAULT: {page} links to {''.join(link)}, which is not there")

for named in re.findall(r"`((?:apps|bench|data|docs|engine|kernels|models|tests)/[\w./]*)`", readme):
    if not (ROOT / named).exists():
        faults.append(f"FAULT: README.md names {named}, which is not there")

# /opt/ml is the training contract's own root, /opt/pneuma where an image has the programs.
MACHINE = re.compile(r"(?<![\w.$}*~-])/(work|home|root|tmp|opt(?!/ml\b|/pneuma\b)|Users|mnt)/")
for path in files():
    if path.suffix in {".png", ".safetensors", ".bin", ".gz"} or path.name == "text_test.py":
        continue
    for number, line in enumerate(text(path).splitlines(), 1):
        if MACHINE.search(line):
            faults.append(f"FAULT: {path}:{number}: a path of one machine: {line.strip()[:80]}")
finish(faults)
