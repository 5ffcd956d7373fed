"""The training step of bench/train_step.cpp in PyTorch, at its best settings.

ResNet-50, channels_last, fp32 (or autocast to 16 bits; float16 with GradScaler), Adam, the weighted
sigmoid cross-entropy, one fixed synthetic batch. Prints the better of eager with fused Adam and
torch.compile as one JSON line; each is a process of its own, so that the peak memory is its own
too. On cuda cuDNN's algorithms are searched for (benchmark), and convolutions stay fp32 on chips
that would use TF32.
"""
import argparse
import json
import resource
import statistics
import subprocess
import sys
import time

parser = argparse.ArgumentParser()
parser.add_argument("--mode", choices=["best", "eager", "compile"], default="best")
parser.add_argument("--num_layers", type=int, default=50)
parser.add_argument("--size", type=int, default=224)
parser.add_argument("--batch", type=int, default=16)
parser.add_argument("--warmup", type=int, default=2)
parser.add_argument("--steps", type=int, default=6)
parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
parser.add_argument("--precision_dtype", choices=["float32", "float16", "bfloat16"], default="float32")
parser.add_argument("--threads", type=int, default=0, help="0: PyTorch's choice")
flags = parser.parse_args()


def best():
    found = []
    for mode in ("eager", "compile"):
        done = subprocess.run([sys.executable, *sys.argv, "--mode", mode], text=True,
                              capture_output=True)
        if done.returncode == 0:
            found.append(json.loads(done.stdout.strip().splitlines()[-1]))
        else:
            reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
            print(f"{mode} cannot run here: {reason}", file=sys.stderr)
    if not found:
        sys.exit(1)
    print(json.dumps(max(found, key=lambda result: result["images_per_second"])))


def one(mode):
    import torch
    import torchvision
    from torch.nn.functional import softplus

    if flags.threads:
        torch.set_num_threads(flags.threads)
    cuda = flags.device == "cuda"
    torch.backends.cudnn.benchmark = True
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    torch.manual_seed(0)
    net = getattr(torchvision.models, f"resnet{flags.num_layers}")(num_classes=14)
    net = net.to(flags.device, memory_format=torch.channels_last).train()
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-4, fused=True)
    x = torch.randn(flags.batch, 3, flags.size, flags.size)
    x = x.to(flags.device, memory_format=torch.channels_last)
    y = (torch.rand(flags.batch, 14) < 0.1).float().to(flags.device)
    w_positive = torch.full((14,), 0.9, device=flags.device)
    w_negative = torch.full((14,), 0.1, device=flags.device)

    dtype = getattr(torch, flags.precision_dtype)
    scaler = torch.amp.GradScaler(flags.device, enabled=dtype == torch.float16)

    def loss_of(x, y):
        with torch.autocast(flags.device, dtype, enabled=dtype != torch.float32):
            z = net(x)
        z = z.float()
        return (w_positive * y * softplus(-z) + w_negative * (1 - y) * softplus(z)).mean()

    if mode == "compile":
        loss_of = torch.compile(loss_of)

    def step():
        optimizer.zero_grad(set_to_none=True)
        loss = loss_of(x, y)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        return loss.item()  # waits for the GPU

    for _ in range(flags.warmup):
        step()
    seconds = []
    for _ in range(flags.steps):
        start = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - start)
    print(json.dumps({
        "what": f"torch {torch.__version__}, {mode}, channels_last, {flags.precision_dtype}, fused Adam, "
                + (torch.cuda.get_device_name() if cuda else f"{torch.get_num_threads()} threads"),
        "images_per_second": flags.batch / statistics.median(seconds),
        "peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        **({"device_memory_bytes": torch.cuda.max_memory_reserved()} if cuda else {}),
    }))


if __name__ == "__main__":
    best() if flags.mode == "best" else one(flags.mode)
