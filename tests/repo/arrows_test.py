"""Includes go one way: apps -> models, data -> engine -> the seam <- reference, cpu, cuda, ..."""
import re

from repo import ROOT, SOURCE, files, finish, text

SEAM = "seam"  # kernels/*.h: what the engine and every backend agree on
FINDER = "finder"  # kernels/open_backend: the one place that knows every backend
HOST = "host_device"  # kernels/host_device: the device's functions that reference and cpu share
ALLOWED = {
    SEAM: {SEAM},
    HOST: {HOST, SEAM},
    "kernels/reference": {HOST, SEAM},
    "kernels/cpu": {HOST, SEAM},
    "kernels/cuda": {SEAM},
    "kernels/host_cuda": {SEAM, "kernels/reference"},
    "kernels/comm": {SEAM},
    FINDER: {SEAM, "kernels/reference", "kernels/cpu"},
    "engine": {SEAM},
    "models": {"engine", SEAM},
    "data": {"engine", SEAM},
    "apps": {"models", "data", "engine", SEAM, FINDER},
}
# Outside libraries, and the rooms that may include them.
LIBRARIES = {
    r"dnnl|oneapi/": {"kernels/cpu"},
    r"cuda|cudnn|cublas|nccl|mma\.h|nvToolsExt": {"kernels/cuda", "kernels/host_cuda"},
    r"gloo/|zmq": {"kernels/comm", "engine/distributed"},
    r"spng|jpeglib|turbojpeg|png\.h|gdcm": {"data"},
    r"stb": {"data", "apps"},
    r"immintrin|x86intrin": {"kernels/cpu"},
    r"CLI/": {"apps"},
}
BACKEND_IF = re.compile(r"^\s*#\s*(?:el)?if\w*\b.*(CUDA|CUDNN|NCCL|DNNL|GLOO|ZMQ|AVX|NEON)", re.I)


def room(path):
    if path == "kernels/host_cuda/control.h":
        return SEAM  # plain data, for those who look at what a launch did
    if path.startswith("kernels/"):
        for name in (FINDER, HOST):
            if path.startswith({FINDER: "kernels/open_backend.", HOST: "kernels/host_device."}[name]):
                return name
        return "/".join(path.split("/")[:2]) if path.count("/") > 1 else SEAM
    return path.split("/")[0]


faults, seen = [], 0
for path in map(str, files(SOURCE)):
    own = room(path)
    if own in {"tests", "bench"}:
        continue
    if own not in ALLOWED:
        faults.append(f"FAULT: {path}: the room {own} is unknown")
        continue
    for number, line in enumerate(text(path).splitlines(), 1):
        # The seam may ask __CUDACC__, to mark its formulas for host and device.
        if (found := BACKEND_IF.match(line)) and not own.startswith("kernels/"):
            if not (own == SEAM and "__CUDACC__" in line):
                faults.append(f"FAULT: {path}:{number}: #if for {found[1]} outside its folder")
        if not (found := re.match(r'\s*#\s*include\s*([<"])([^>"]+)[>"]', line)):
            continue
        seen += 1
        quoted, name = found[1] == '"', found[2]
        if quoted:
            if not (ROOT / name).exists():
                faults.append(f'FAULT: {path}:{number}: "{name}" is not a path from the root')
            elif room(name) != own and room(name) not in ALLOWED[own]:
                faults.append(f"FAULT: {path}:{number}: {own} must not include {name}")
            continue
        for library, rooms in LIBRARIES.items():
            if re.match(library, name) and not any(path.startswith(r + "/") for r in rooms):
                faults.append(f"FAULT: {path}:{number}: {own} must not include <{name}>")
print(f"{seen} includes looked at")
finish(faults)
