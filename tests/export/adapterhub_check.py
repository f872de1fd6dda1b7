"""Loads an AdapterHub export with the library `adapters` itself, and compares it with what the run computed.

    PYTHON adapterhub_check.py EXPORT EXPECTED    in an environment with adapters 1.3 and transformers 4.57

EXPECTED holds for every task `<task>/<input_ids, attention_mask, labels, logits, ids>`, and texts with their
token ids in its metadata.
Prints by task the largest difference of a logit, the largest logit, and whether the greedy and the tokenizer's ids are
the same.
"""

import json
import sys

import adapters
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer


@torch.no_grad()
def main(export: str, expected: str) -> None:
    with safe_open(expected, "pt") as file:
        texts = json.loads(file.metadata()["texts"])  # by task, token ids by text
    tensors = load_file(expected)
    model = AutoModelForSeq2SeqLM.from_pretrained(f"{export}/backbone")
    tokenizer = AutoTokenizer.from_pretrained(f"{export}/backbone")
    adapters.init(model)
    for number, task in enumerate(texts):
        loaded = {}
        model.load_adapter(f"{export}/{task}", use_safetensors=number % 2 == 1, loading_info=loaded)  # False: default
        if loaded["missing_keys"] or loaded["unexpected_keys"]:
            sys.exit(f"{task}: {loaded}")
    model.eval()
    report = {}
    for task in texts:
        model.set_active_adapters(task)
        own = {name.split("/")[1]: tensor for name, tensor in tensors.items() if name.startswith(f"{task}/")}
        logits, ids = own.pop("logits"), own.pop("ids")
        difference = float((model(**own).logits - logits).abs().max())
        largest = float(logits.abs().max())
        del own["labels"]
        decoded = model.generate(**own, max_new_tokens=ids.shape[1] - 1, do_sample=False, num_beams=1)
        report[task] = {
            "difference": difference,
            "largest": largest,
            "ids": torch.equal(decoded, ids),
            "tokenizer": tokenizer(list(texts[task]))["input_ids"] == list(texts[task].values()),
        }
    print(json.dumps(report))


if __name__ == "__main__":
    main(*sys.argv[1:])
