"""The peer of `go run ./bench/step`: train steps and evaluations of a Supernet, which the
text before this one defines.

Reads one JSON object from standard input: what the Supernet needs, and
    batch, steps, warm_up, precision ("float32" or "bf16"), compile (bool), device ("cpu" or "cuda"),
    channels_last (bool)
and writes one: {"seconds": [...], "eval_seconds": [...], "compile", "peak_bytes", "version", "params"}.
"compile" is what the first step took beyond the others, where compile is true. On CUDA each
step has a batch that was copied from pinned memory on a stream of its own, during the step before;
float32 products may use TF32, as XLA's do; AdamW is one kernel; and "peak_bytes" is the device's
memory in use at the end of the train steps.
"""

import json
import resource
import statistics
import subprocess
import sys
import time

import torch
import torch.nn.functional as F


def peak_bytes(device):
    if device == "cuda":
        query = ["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits"]
        return int(subprocess.check_output(query, text=True).splitlines()[0]) * 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main():
    config = json.load(sys.stdin)
    torch.manual_seed(0)
    m, batch, device = config["model"], config["batch"], config["device"]
    if device == "cuda":
        torch.set_float32_matmul_precision("high")
    model = Supernet(config).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-4, weight_decay=0.05, fused=device == "cuda")
    images = torch.randn(batch, m["channels"], m["image_size"], m["image_size"])
    targets = torch.full((batch, m["num_classes"]), 0.1 / m["num_classes"])
    targets[torch.arange(batch), torch.randint(m["num_classes"], (batch,))] += 0.9
    if config["channels_last"]:
        model, images = model.to(memory_format=torch.channels_last), images.to(memory_format=torch.channels_last)
    if device == "cuda":
        images, targets = images.pin_memory(), targets.pin_memory()

    if device == "cuda":
        copying = torch.cuda.Stream()

    def copied():
        if device == "cpu":
            return images, targets
        with torch.cuda.stream(copying):
            return images.to(device, non_blocking=True), targets.to(device, non_blocking=True)

    following = copied()

    def batch_of_step():
        nonlocal following
        given = following
        if device == "cuda":
            torch.cuda.current_stream().wait_stream(copying)
            for x in given:
                x.record_stream(torch.cuda.current_stream())
        following = copied()
        return given

    def loss_of(images, targets):
        with torch.autocast(device, torch.bfloat16, enabled=config["precision"] == "bf16"):
            logits = model(images)
        return torch.sum(-targets * F.log_softmax(logits.float(), dim=-1), dim=-1).mean()

    def train():
        optimizer.zero_grad()
        loss = loss_of(*batch_of_step())
        loss.backward()
        optimizer.step()
        loss.item()

    @torch.inference_mode()
    def evaluate():
        loss_of(*batch_of_step()).item()

    def timed(f):
        seconds = []
        for _ in range(config["warm_up"] + config["steps"]):
            began = time.perf_counter()
            f()
            seconds.append(time.perf_counter() - began)
        return seconds[0], seconds[config["warm_up"] :]

    if config["compile"]:
        loss_of = torch.compile(loss_of)
    first, seconds = timed(train)
    peak = peak_bytes(device)
    model.eval()
    _, eval_seconds = timed(evaluate)
    print(json.dumps({
        "seconds": seconds,
        "eval_seconds": eval_seconds,
        "compile": first - statistics.median(seconds) if config["compile"] else 0,
        "peak_bytes": peak,
        "version": torch.__version__,
        "params": sum(p.numel() for p in model.parameters()),
    }))


if __name__ == "__main__":
    main()
