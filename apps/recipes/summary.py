"""The rows of the published table that ran, beside it: summary.py OUTPUT ROW..."""
import json
import pathlib
import sys

FINDINGS = ["Atelectasis", "Cardiomegaly", "Effusion", "Infiltration", "Mass", "Nodule", "Pneumonia",
            "Pneumothorax", "Consolidation", "Edema", "Emphysema", "Fibrosis", "Pleural_Thickening",
            "Hernia"]
# AUC on the test set; the weighted row's Atelectasis is missing in print, and of mixed_896 only the
# mean is there.
PUBLISHED = {
    "plain_224": [.772, .859, .830, .626, .791, .716, .645, .778, .695, .799, .850, .764, .726, .903],
    "weighted_224": [None, .899, .873, .693, .839, .743, .710, .836, .791, .849, .889, .791, .758, .929],
    "mixed_224": [.799, .906, .873, .691, .834, .751, .713, .862, .789, .863, .909, .811, .761, .940],
    "weighted_896": [.800, .884, .873, .698, .821, .817, .739, .878, .785, .879, .933, .822, .785, .911],
    "mixed_896": [None] * 14,
}
MEANS = {"plain_224": .768, "weighted_224": .814, "mixed_224": .821, "weighted_896": .830,
         "mixed_896": .825}
SAVED = {"mixed_224": ("weighted_224", 33), "mixed_896": ("weighted_896", 47)}  # percent of time


def epochs(run):
    """The epoch lines of a run's metrics.jsonl."""
    path = run / "metrics.jsonl"
    lines = map(json.loads, path.read_text().splitlines()) if path.exists() else ()
    return [line for line in lines if line["event"] == "epoch"]


def mean(values):
    values = list(values)
    return sum(values) / len(values) if values else None


def shown(value, form="{:.3f}"):
    return "" if value is None else form.format(value)


def table(head, lines):
    print("| " + " | ".join(head) + " |\n|" + "---|" * len(head))
    for line in lines:
        print("| " + " | ".join(line) + " |")
    print()


output, rows = pathlib.Path(sys.argv[1]), sys.argv[2:]
rows = [row for row in rows if (output / row / "test/auc.json").exists()]
auc = {row: json.loads((output / row / "test/auc.json").read_text()) for row in rows}
runs = {row: epochs(output / row) for row in rows}

print("AUC on the test set: here / published\n")
lines = []
for i, finding in enumerate(FINDINGS):
    here = [{c["name"]: c["auc"] for c in auc[row]["classes"]}.get(finding) for row in rows]
    lines.append([finding] + [f"{shown(a)} / {shown(PUBLISHED[row][i])}" for a, row in zip(here, rows)])
lines.append(["mean"] + [f"{shown(auc[row]['macro_auc'])} / {shown(MEANS[row])}" for row in rows])
table(["finding"] + rows, lines)

print("Time; an epoch's seconds are split into waiting for data, communication and the rest\n")
seconds = {row: mean(e["time"]["seconds"] for e in runs[row]) for row in rows}
lines = []
for row in rows:
    best = max(runs[row], key=lambda e: e["validation_auc"] or 0, default=None)
    until = sum(e["time"]["seconds"] for e in runs[row] if best and e["epoch"] <= best["epoch"])
    alone = epochs(output / row / "synthetic")
    waited = mean(e["time"]["data"] for e in runs[row])
    spoke = mean(e["time"]["communication"] for e in runs[row])
    lines.append([row, shown(seconds[row], "{:.1f}"), shown(waited, "{:.1f}"), shown(spoke, "{:.1f}"),
                  shown(None if seconds[row] is None else seconds[row] - waited - spoke, "{:.1f}"),
                  shown(mean(e["time"]["images_per_second"] for e in runs[row]), "{:.1f}"),
                  shown(mean(e["time"]["images_per_second"] for e in alone), "{:.1f}"),
                  shown(until or None, "{:.0f}")])
table(["row", "seconds an epoch", "data", "communication", "compute", "images/s",
       "images/s, synthetic input", "seconds to the best AUC"], lines)

for row, (plain, published) in SAVED.items():
    if seconds.get(row) and seconds.get(plain):
        print(f"{row}: float16 saves {100 * (1 - seconds[row] / seconds[plain]):.0f} % of an epoch's "
              f"time; published: {published} %")
