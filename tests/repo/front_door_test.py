"""./pneuma on machines where something is wrong: every outside command is a stand-in."""
import os
import pathlib
import shutil
import subprocess
import tempfile

from repo import ROOT, finish

PACKAGES_THERE = 'for a; do case $a in -*|*{*) ;; *) echo "ii  $a";; esac; done'
REAL = ["bash", "basename", "cat", "chmod", "cp", "cmp", "comm", "dirname", "find", "grep", "mkdir", "rm", "sed", "sort",
        "tail", "tee", "env", "uname"]
REQUIREMENTS = {"onednn": "kernels/cpu/onednn_requirements.txt",
                "nvrtc": "kernels/cuda/nvrtc_requirements.txt",
                "peers": "bench/peers/requirements.txt",
                "mxnet-peers": "bench/peers/mxnet_requirements.txt"}
faults = []


def machine(folder, **stand_ins):
    """A checkout with oneDNN, NVRTC and the peers in place, and a PATH of REAL tools and stand-ins only."""
    (folder / "bin").mkdir()
    for tool in REAL:
        (folder / "bin" / tool).symlink_to(shutil.which(tool))
    for name, body in stand_ins.items():
        path = folder / "bin" / name.replace("_", "-")
        path.write_text(f"#!/usr/bin/env bash\n{body}\n")
        path.chmod(0o755)
    for name in ["pneuma", *REQUIREMENTS.values()]:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    for name, requirements in REQUIREMENTS.items():
        (folder / "build" / name).mkdir(parents=True)
        shutil.copy(ROOT / requirements, folder / "build" / name / "installed.txt")
    for path in [folder, *folder.rglob("*")]:
        if os.geteuid() == 0 and not path.is_symlink():
            os.chown(path, 65534, 65534)


def case(arguments, code, *wanted, absent=None, lacks=None, **stand_ins):
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        machine(folder, **{"dpkg_query": PACKAGES_THERE, "cmake": "exit 0", "ninja": "exit 0",
                           "ctest": "exit 0", **stand_ins})
        if lacks:
            shutil.rmtree(folder / "build" / lacks)
        # Not as root, so that the branch with sudo is the one that is tried.
        user = {"user": 65534, "group": 65534} if os.geteuid() == 0 else {}
        done = subprocess.run([folder / "pneuma", *arguments], env={"PATH": str(folder / "bin")},
                              cwd=folder,
                              capture_output=True, text=True, **user)
        out = done.stdout + done.stderr
        if done.returncode != code:
            faults.append(f"FAULT: {arguments}: exit {done.returncode}, wanted {code}:\n{out}")
        for text in wanted:
            if text not in out:
                faults.append(f"FAULT: {arguments}: '{text}' is not in:\n{out}")
        if absent and absent in out:
            faults.append(f"FAULT: {arguments}: '{absent}' is in:\n{out}")
        if arguments[:1] == ["test"] and code < 2 and "passed," in "".join(wanted):
            if out.splitlines()[-1] != wanted[-1]:
                faults.append(f"FAULT: the last line is not '{wanted[-1]}':\n{out}")


case([], 0, "usage: ./pneuma COMMAND")
case(["buidl"], 2, "unknown command 'buidl'; see ./pneuma help")
case(["test", "--fast"], 2, "unknown option --fast")
case(["demo", "--data"], 2, "--data wants a value")
case(["demo", "--data", "nowhere"], 3, "--data nowhere: no such folder")
case(["demo", "--output", "x"], 2, "the demo writes into build/demo/run")
DEMO = """mkdir -p build/bin
for p in prepare_cxr train_cxr; do
cat > build/bin/$p <<'END'
#!/usr/bin/env bash
echo "$(basename "$0") $*"
while (($#)); do [[ $1 == --output ]] && mkdir -p "$2" && echo '{"macro_auc": 0.93, "x": 1}' > "$2/auc.json"
shift; done
END
chmod +x build/bin/$p; done"""
case(["demo", "--seed", "3", "--epochs", "2"], 0, "prepare_cxr phantoms --output", "--seed 3 --epochs 2",
     "macro AUC on the test patients: 0.93", "report: ", ninja=DEMO)
case(["demo", "--data", "build"], 0, "train_cxr --data build --output", absent="phantoms", ninja=DEMO)
case(["demo"], 5, "failed (exit 5)", ninja=DEMO.replace("while", "exit 5; while"))
case(["setup"], 4, "no apt-get here", "doctest-dev", dpkg_query="exit 1")
case(["setup"], 4, "needs root, and there is no sudo", dpkg_query="exit 1", apt_get="exit 0")
case(["setup"], 4, "this command failed (exit 100): sudo env", "apt-get", "| no route to the mirror",
     "what to do: check the network", "full log:", dpkg_query="exit 1", apt_get="exit 0",
     sudo="[[ $1 == -v ]] || { echo no route to the mirror; exit 100; }")
case(["setup"], 0, "command failed (exit 1): python3 -m venv", "cuda/device_code_test", "are skipped",
     "everything is installed", lacks="nvrtc", python3="exit 1")
case(["build"], 0, "done: build/bin", absent="nvrtc", lacks="nvrtc", python3="exit 1")
case(["build"], 0, "done: build/bin", absent="failed")
case(["build"], 4, "this command failed (exit 1): cmake -S", "| no compiler", "what to do:",
     cmake="echo no compiler; exit 1")
case(["build"], 4, "this command failed (exit 1): ninja", "| x.cpp:1: error", "what to do:",
     ninja="echo x.cpp:1: error; exit 1")
case(["test"], 0, "7 passed, 0 failed",
     ctest="echo '100% tests passed, 0 tests failed out of 7'")
case(["test", "a", "b"], 1, "-R a|b", "5 passed, 2 failed",
     ctest='echo "$@"; echo "71% tests passed, 2 tests failed out of 7"; exit 8')
case(["test", "--slow"], 0, "^(quick|slow)$",
     ctest='echo "$@"; echo "100% tests passed, 0 tests failed out of 7"')
case(["test", "--peers"], 0, "command failed (exit 1): python3 -m venv", "without MXNet 1.9.1",
     "0 tests failed out of 7", lacks="mxnet-peers", python3="exit 1",
     ctest="echo '100% tests passed, 0 tests failed out of 7'")
case(["test"], 1, "no test ran", ctest="echo 'No tests were found!!!'; exit 8")
finish(faults)
