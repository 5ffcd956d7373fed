"""Runs two programs in turn and prints their figures side by side.

  pair.py OURS THEIRS.py [--rounds N] [FLAG...]     further flags go to both

Each prints one JSON object as its last line. Every *_per_second that both print is compared:
medians over the rounds, and the ratio ours / theirs. In turn, because a machine's speed drifts.
"""
import datetime
import json
import os
import platform
import statistics
import subprocess
import sys

IDLE = 0.3  # load average above this before the start: something else is running


def measure(command):
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    try:
        assert done.returncode == 0
        return json.loads(done.stdout.strip().splitlines()[-1])
    except (AssertionError, IndexError, json.JSONDecodeError):
        sys.exit(f"pair.py: {' '.join(command)}\n  ended with {done.returncode} and printed no "
                 f"JSON object as its last line:\n{done.stdout[-1000:]}")


def cpu():
    with open("/proc/cpuinfo") as lines:
        names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.machine()}, {len(os.sched_getaffinity(0))} CPUs"


def main():
    ours, theirs, *flags = sys.argv[1:]
    rounds = 3
    if "--rounds" in flags:
        at = flags.index("--rounds")
        rounds = int(flags[at + 1])
        del flags[at : at + 2]
    before = os.getloadavg()[0]
    results = {"Pneuma": [], "PyTorch": []}
    for round_ in range(rounds):
        for name, command in (("Pneuma", [ours]), ("PyTorch", [sys.executable, theirs])):
            print(f"round {round_ + 1} of {rounds}: {name}", file=sys.stderr)
            results[name].append(measure(command + flags))

    print(f"{cpu()}; {datetime.date.today()}; load average before the start {before:.2f}; "
          f"median of {rounds} rounds in turn")
    for name, runs in results.items():
        print(f"  {name}: {runs[0].get('what', '')}")
    a, b = results["Pneuma"], results["PyTorch"]
    print(f"{'':28} {'Pneuma':>10} {'PyTorch':>10} {'ratio':>7}   ratio of each round")
    for key in a[0]:
        if not (key.endswith("_per_second") or key == "peak_memory_bytes") or key not in b[0]:
            continue
        scale = 2**30 if key == "peak_memory_bytes" else 1
        pair = [statistics.median(run[key] for run in runs) / scale for runs in (a, b)]
        label = "peak memory, GiB" if scale > 1 else key.replace("_per_second", "/s").replace("_", " ")
        each = " ".join(f"{x[key] / y[key]:.2f}" for x, y in zip(a, b))
        print(f"{label:28} {pair[0]:10.2f} {pair[1]:10.2f} {pair[0] / pair[1]:7.2f}   {each}")
    if before > IDLE:
        print(f"WARNING: the load average was {before:.2f} before the start: other work was running, "
              "so these figures say little")


if __name__ == "__main__":
    main()
