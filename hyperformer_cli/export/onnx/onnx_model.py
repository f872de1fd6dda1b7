"""Greedy decoding with onnxruntime and numpy alone. The README.md of an export contains this file."""

import json
from pathlib import Path

import numpy as np
import onnxruntime


class OnnxModel:
    """One task of an export.

    Attributes:
        settings: the content of onnx.json: special token ids, names and shapes of inputs and outputs.
        task: its entry for this task: how the input is written, the labels, the longest answer in tokens.
    """

    def __init__(self, folder, task, providers=("CPUExecutionProvider",)):
        folder = Path(folder)
        self.settings = json.loads((folder / "onnx.json").read_text(encoding="utf-8"))
        if task not in self.settings["tasks"]:
            raise ValueError(f"{folder}: no task {task!r} here; there are {', '.join(self.settings['tasks'])}")
        self.task = self.settings["tasks"][task]
        self._encoder, self._decoder = (
            onnxruntime.InferenceSession(str(folder / self.task[part]), providers=list(providers))
            for part in ("encoder", "decoder")
        )

    def encode(self, input_ids, attention_mask):
        """Runs the encoder, once per input.

        Args:
            input_ids, attention_mask: (batch, source length), int64.

        Returns:
            Every decoder layer's cross-attention keys and values by name: (batch, heads, source length, head size).
        """
        return _run(self._encoder, {"input_ids": input_ids, "attention_mask": attention_mask})

    def decode(self, new_ids, attention_mask, cross, past=None):
        """Runs the decoder on the tokens that follow those it has seen.

        Args:
            new_ids: (batch, new tokens), int64.
            attention_mask: the encoder's.
            cross: what `encode` returned.
            past: what the last call returned; None in the first call.

        Returns:
            Logits (batch, new tokens, vocabulary), and the keys and values of all tokens up to here by name.
        """
        if past is None:
            shape = (len(new_ids), self.settings["heads"], 0, self.settings["head_size"])
            names = [name for name in self.settings["graphs"]["decoder"]["inputs"] if name.startswith("past.")]
            past = {name: np.zeros(shape, np.float32) for name in names}
        outputs = _run(self._decoder, {"decoder_input_ids": new_ids, "attention_mask": attention_mask, **cross, **past})
        logits = outputs.pop("logits")
        return logits, {name.replace("present.", "past."): tensor for name, tensor in outputs.items()}

    def generate(self, input_ids, attention_mask, max_new_tokens=None):
        """Decodes greedily.

        Args:
            input_ids, attention_mask: (batch, source length), int64.
            max_new_tokens: by default the length of the task's longest answer.

        Returns:
            Token ids (batch, 1 + new tokens): the start token, the answer, and padding after its end.
        """
        cross, past = self.encode(input_ids, attention_mask), None
        ids = np.full((len(input_ids), 1), self.settings["decoder_start_token_id"], np.int64)
        done = np.zeros(len(input_ids), bool)
        for _ in range(max_new_tokens or self.task["max_new_tokens"]):
            logits, past = self.decode(ids[:, -1:], attention_mask, cross, past)
            best = np.where(done, self.settings["pad_token_id"], logits[:, -1].argmax(-1))
            ids = np.concatenate([ids, best[:, None]], axis=1)
            done |= np.isin(best, self.settings["eos_token_ids"])
            if done.all():
                break
        return ids


def _run(session, inputs):
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, inputs), strict=True))
