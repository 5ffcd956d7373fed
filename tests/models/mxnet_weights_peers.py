"""MXNet 1.9.1 loads what export_model writes, and its logits from raw pixels equal ours; we read the
.params that it writes.

mxnet_weights_peers.py BUILD_FOLDER
"""
import pathlib
import shutil
import sys
import tarfile

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parents[1] / "repo")]
import mxnet_python  # noqa: E402,F401
from repo import finish  # noqa: E402

import cv2  # noqa: E402
import mxnet as mx  # noqa: E402
import numpy as np  # noqa: E402

from peer_models import BIN, FOLDER, SIDE, check_logits, data, expect, faults, predictions, run, tensors, trained  # noqa: E402,E501


def pixels(names):
    images = [cv2.imread(str(name))[:, :, ::-1].transpose(2, 0, 1) for name in names]
    return mx.nd.array(np.stack(images).astype(np.float32))


def outputs(symbol, weights, statistics, x):
    """As users of such models do it: no label is given."""
    module = mx.mod.Module(symbol, label_names=None, context=mx.cpu())
    module.bind([("data", x.shape)], for_training=False)
    module.set_params(weights, statistics, allow_missing=True, allow_extra=True)
    module.forward(mx.io.DataBatch([x]), is_train=False)
    return module.get_outputs()[0].asnumpy()


def exported(folder, epoch=7):
    run(BIN / "export_model", folder / "best.safetensors", "--format", "mxnet", "--output",
        folder / "model.tar.gz", "--epoch", epoch, "--batch", 3)
    with tarfile.open(folder / "model.tar.gz") as archive:
        archive.extractall(folder / "mxnet")
    expect((folder / "mxnet/model-shapes.json").read_text().strip()
           == f'[{{"name":"data","shape":[3,3,{SIDE},{SIDE}]}}]', "model-shapes.json")
    return mx.model.load_checkpoint(str(folder / "mxnet/image-classification"), epoch)


for arch, depth in [("v2", 18), ("v2", 50), ("v2", 20), ("v1", 18), ("v1", 20), ("v1.5", 18)]:
    what = f"ResNet-{depth} {arch}"
    folder = trained(what, "--arch", arch, "--num_layers", depth)
    names, ours = predictions(folder)
    symbol, weights, statistics = exported(folder)
    x = pixels(names)
    layer = "fc_output" if arch == "v1.5" else "fc1_output"
    check_logits(what, outputs(symbol.get_internals()[layer], weights, statistics, x).tolist(), ours)
    apart = np.abs(outputs(symbol, weights, statistics, x) - np.array(ours)).max()
    expect(symbol.list_outputs() == ["logistic_output"] and apart < 1e-5, f"{what}: outputs {apart}")
    loss = mx.mod.Module(symbol, context=mx.cpu())  # and it can be trained on there
    loss.bind([("data", x.shape)], [("softmax_label", (x.shape[0], 14))])
    loss.set_params(weights, statistics)
    if (arch, depth) == ("v2", 18):
        small = (symbol, weights, statistics, folder)

# One class an image: softmax.
lines = [f"{k}\t{k % 3}\t{path.name}\n" for k, path in enumerate(sorted(data().glob("images/*.png")))]
(FOLDER / "all.lst").write_text("".join(lines))
lists = [word for set_ in ("train", "validation", "test")
         for word in (f"--{set_}", data() / "images", f"--{set_}_lst", FOLDER / "all.lst")]
folder = trained("single", "--arch", "v2", "--num_layers", 20, "--multi_label", 0, "--num_classes", 3,
                 *lists)
names, ours = predictions(folder)
x = pixels([data() / "images" / name.name for name in names])
symbol, weights, statistics = exported(folder)
apart = np.abs(outputs(symbol, weights, statistics, x) - np.array(ours)).max()
print(f"softmax: at most {apart:.2g} apart")
expect(symbol.list_outputs() == ["softmax_output"] and apart < 1e-5, f"softmax: {apart}")

# What MXNet writes: 1.x's form, np-shape's, 16 bits, and Gluon's names.
_, weights, statistics, folder = small
prefixed = {f"arg:{n}": v for n, v in weights.items()} | {f"aux:{n}": v for n, v in statistics.items()}
files = {"dense": prefixed, "plain": {**weights, **statistics},
         "half": {n: v.astype("float16") for n, v in prefixed.items()}}
for kind, arrays in files.items():
    mx.nd.save(str(FOLDER / kind), arrays)
with mx.util.np_shape(True):
    mx.nd.save(str(FOLDER / "shaped"), prefixed)
expect((FOLDER / "shaped").read_bytes()[24:28] == b"\xca\xfa\x93\xf9", "np-shape's form was written")
shutil.copy(folder / "model.tar.gz", FOLDER / "archive")
for kind in [*files, "shaped", "archive"]:
    start = FOLDER / f"start of {kind}"
    run(BIN / "train_cxr", "--data", data(), "--output", FOLDER / f"from {kind}", "--pretrained",
        FOLDER / kind, "--image_shape", f"3,{SIDE},{SIDE}", "--resize", "none",
        "--max_steps", 1, "--mini_batch_size", 4,
        "--device", "cpu", "--save_init", start, "--mean", "0,0,0", "--std", "1,1,1")
    count = 0
    for name, shape, values in tensors(start):
        truth = (weights if name in weights else statistics)[name].asnumpy()
        if kind == "half":
            truth = truth.astype(np.float16)
        expect(list(truth.shape) == shape and np.array_equal(
            truth.reshape(-1).astype(np.float32), np.array(values, np.float32)), f"{kind}: {name}")
        count += 1
    print(f"{kind}: {count} tensors")
    expect(count == len(weights) + len(statistics) - 1, f"{kind}: {count} tensors")
shutil.rmtree(FOLDER)
finish(faults)
