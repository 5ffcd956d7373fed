"""Writes auc.json: scores, labels and scikit-learn's AUC, for auc_test and for make_auc.R.

    python3 tests/golden/make_auc.py && Rscript tests/golden/make_auc.R

Scores are multiples of 1/4096, so that every language reads the same float32 from the decimals.
"""
import json
import pathlib

import numpy as np
import sklearn
from sklearn.metrics import roc_auc_score

OUTPUT = pathlib.Path(__file__).with_name("auc.json")
random = np.random.default_rng(20)

cases = []
# name, images, share of positives, distance of the classes, number of distinct scores (0: free)
for name, images, share, distance, levels in [
    ("small", 7, 0.5, 1, 0),
    ("no ties", 120, 0.3, 1, 0),
    ("rare positives", 300, 0.02, 1.5, 0),
    ("heavy ties", 200, 0.4, 1, 4),
    ("two levels", 60, 0.3, 1, 2),
    ("one level", 20, 0.5, 0, 1),
    ("worse than chance", 80, 0.5, -1, 0),
    ("nearly perfect", 90, 0.3, 4, 0),
    ("perfect", 12, 0.5, 100, 0),
    ("all wrong", 9, 0.4, -100, 0),
]:
    labels = (random.random(images) < share).astype(int)
    labels[:2] = labels[2:4] = 0, 1
    scores = 1 / (1 + np.exp(-(distance * labels + random.standard_normal(images))))
    if abs(distance) == 100:
        scores = (np.sign(distance) * labels + random.random(images) / 2 + 1) / 4
    if levels:
        scores = np.floor(scores * levels) / levels
    scores = np.round(scores * 4096) / 4096
    cases.append(
        {
            "name": name,
            "scores": scores.tolist(),
            "labels": labels.tolist(),
            "auc": float(roc_auc_score(labels, scores)),
        }
    )

OUTPUT.write_text(
    '{"scikit-learn": "%s", "cases": [\n%s\n]}\n'
    % (sklearn.__version__, ",\n".join(json.dumps(case) for case in cases))
)
