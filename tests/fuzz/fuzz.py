"""One reader under libFuzzer with the address and undefined-behaviour sanitizers, from its corpus on:
fuzz.py BUILD_FOLDER READER [SECONDS]. Builds what it needs with clang in BUILD_FOLDER/fuzz.

A finding is left in BUILD_FOLDER/fuzz/found; once the reader is mended it belongs into
tests/fuzz/corpus/READER (by make_corpus.py, where it can be said in words)."""
import fcntl
import pathlib
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
SKIPPED = 77
FLAGS = "-O1 -g -fno-omit-frame-pointer -fsanitize=fuzzer-no-link,address,undefined " \
        "-fno-sanitize-recover=undefined"
LONGEST = 8192  # bytes of an input


def works(clang):
    """Has this clang the fuzzer's runtime?"""
    with tempfile.TemporaryDirectory() as folder:
        source = pathlib.Path(folder, "a.cpp")
        source.write_text('extern "C" int LLVMFuzzerTestOneInput(const char*, unsigned long)'
                          "{ return 0; }")
        return subprocess.run([clang, "-fsanitize=fuzzer,address,undefined", source, "-o",
                               source.with_suffix("")], capture_output=True).returncode == 0


def main(build, reader, seconds="600"):
    clang = next((c for c in map(shutil.which, ("clang++-19", "clang++")) if c and works(c)), None)
    if not clang:
        print("SKIPPED: there is no clang with libFuzzer (apt-get install clang-19 "
              "libclang-rt-19-dev, where they are packaged)")
        return SKIPPED
    build = pathlib.Path(build, "fuzz")
    build.mkdir(exist_ok=True)
    with open(build / "lock", "w") as lock:  # one of the five builds what they share
        fcntl.flock(lock, fcntl.LOCK_EX)
        for command in (["cmake", "-S", ROOT, "-B", build, "-G", "Ninja", "-DPNEUMA_FUZZ=ON",
                         f"-DCMAKE_CXX_COMPILER={clang}", "-DCMAKE_BUILD_TYPE=None",
                         f"-DCMAKE_CXX_FLAGS={FLAGS}"],
                        ["cmake", "--build", build, "--target", f"fuzz_{reader}"]):
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    grown, found = build / "grown" / reader, build / "found"
    for folder in (grown, found):
        folder.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        [build / "bin" / f"fuzz_{reader}", grown, ROOT / "tests/fuzz/corpus" / reader,
         f"-max_total_time={seconds}", f"-max_len={LONGEST}", "-timeout=20", "-malloc_limit_mb=64",
         "-rss_limit_mb=2048", f"-artifact_prefix={found}/{reader}-", "-print_final_stats=1"],
        capture_output=True, text=True, errors="replace")
    print("\n".join(done.stderr.splitlines()[-40:]))
    print(f"{reader}: {'no finding' if done.returncode == 0 else 'A FINDING, see ' + str(found)}")
    return done.returncode


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
