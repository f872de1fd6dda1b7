"""Digests of what the commands compute, to compare two versions of the package:   python tools/run_digests.py FOLDER

Trains the quickstart and one short run of every method on the miniature into FOLDER (runs that are there already are
kept), then prints one line per fact: the SHA-256 of `last/hyperformer.safetensors`, of the figures of `eval`, of the
lines of `predict`, of the tensors of a static export, of the cells of a few-shot transfer. Two versions computed the
same where the lines are the same; both must run on one machine with one number of threads. `--train-only` leaves the
use of the runs out, `--use-only` prints what the present code makes of runs that another version trained.
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

_HYPERFORMERPP = "{method: hyperformer++, reduction_factor: 4}"
_SHORT = ("training.max_steps=24", "evaluation.every=12", "evaluation.max_examples=40", "training.log_every=8")
# name: what it changes in the quickstart
RUNS: dict[str, tuple[str, ...]] = {
    "finetune": ("adapter={method: finetune}", "training.learning_rate=0.001"),
    "adapters": ("adapter={method: adapters, reduction_factor: 4}",),
    "adapters_shared": ("adapter={method: adapters, reduction_factor: 4, shared_by_tasks: true}",),
    "adapters_pre_norm": ("adapter={method: adapters, reduction_factor: 4, layer_norm_before: true}",),
    "norms_only": ("adapter={method: adapters, adapter_blocks: false}",),
    "hyperformer": ("adapter={method: hyperformer, reduction_factor: 4}",),
    "hyperformer_plain_norms": ("adapter={method: hyperformer, reduction_factor: 8, conditional_layer_norm: false}",),
    "shared_layers": ("adapter={method: hyperformer-shared-layers, reduction_factor: 4}",),
    "hyperformerpp": (f"adapter={_HYPERFORMERPP}",),
    "mixed_batches": (f"adapter={_HYPERFORMERPP}", "data.sampling.mixed_batches=true"),
    "micro_batches": (f"adapter={_HYPERFORMERPP}", "training.micro_batch_size=12", "training.loss_reduction=mean"),
    "reference": (f"adapter={_HYPERFORMERPP}", "data.protocol=reference", "data.sampling.length_grouping=false"),
    "bfloat16": (f"adapter={_HYPERFORMERPP}", "training.precision=bfloat16", "training.max_steps=6"),
    "random": (f"adapter={_HYPERFORMERPP}", "model.init=random", "model.gradient_checkpointing=true"),
    "alone": ("adapter={method: adapters, reduction_factor: 4}", "joint=false", "training.max_steps=6"),
}
_SENTENCES = ("Few people detested the end of the opera.", "The pig did not meet the clerk.", "It rained.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--train-only", action="store_true")
    parser.add_argument("--use-only", action="store_true")
    parser.add_argument("--without-quickstart", action="store_true")
    arguments = parser.parse_args()
    runs = {name: (*_SHORT, *changes) for name, changes in RUNS.items()}
    if not arguments.without_quickstart:
        runs["quickstart"] = ()
    for name, changes in runs.items():
        run = arguments.folder / name
        if not arguments.use_only:
            _hyperformer("train", "quickstart", f"name={name}", f"output_dir={run}", *changes)
        for file in sorted(run.rglob("last/hyperformer.safetensors")):
            print(f"{file.relative_to(arguments.folder)} {_sha256(file)}", flush=True)
    if not arguments.train_only:
        for name in runs:
            _print_uses(arguments.folder / name)


def _print_uses(run: Path) -> None:
    """What the commands make of a trained run."""
    figures = json.loads(_hyperformer("eval", str(run), "--json", "--set", "evaluation.max_examples=40"))
    print(f"{run.name} eval {_digest([figures['results'], figures['average']])}", flush=True)
    rows = "".join(json.dumps({"task": "mini_sst2", "sentence": text}) + "\n" for text in _SENTENCES)
    rows += "".join(json.dumps({"task": "mini_stsb", "sentence1": t, "sentence2": t}) + "\n" for t in _SENTENCES)
    print(f"{run.name} predict {_digest(_hyperformer('predict', str(run), rows=rows))}", flush=True)
    with tempfile.TemporaryDirectory() as scratch:
        if run.name != "finetune":
            export = Path(scratch) / "static"
            _hyperformer("export", str(run), "--format", "static", "--to", str(export))
            tensors = {str(file.relative_to(export)): _sha256(file) for file in export.rglob("*.safetensors")}
            print(f"{run.name} static {_digest(sorted(tensors.items()))}", flush=True)
        if run.name in ("hyperformerpp", "adapters"):
            transfer = ("--target-tasks", "mini_cb", "--shots", "16", "--seeds", "1,2", "--set", "fewshot.max_steps=8")
            found = json.loads(_hyperformer("fewshot", str(run), *transfer, "--output-dir", scratch, "--json"))
            print(f"{run.name} fewshot {_digest(found['results'])}", flush=True)


def _hyperformer(*arguments: str, rows: str | None = None) -> str:
    environment = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", **os.environ}
    command = [sys.executable, "-m", "hyperformer_cli", *arguments]
    done = subprocess.run(command, input=rows, capture_output=True, text=True, env=environment)
    if done.returncode:
        sys.stderr.write(done.stderr)
        raise SystemExit(f"failed ({done.returncode}): {' '.join(command)}")
    return done.stdout


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


if __name__ == "__main__":
    main()
