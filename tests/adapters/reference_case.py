"""A case of the reference fixtures as a model of ours."""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import T5Config, T5ForConditionalGeneration

from hyperformer_cli import AdaptedModel, AdapterConfig

METHODS = {
    "finetune": "finetune",
    "adapter": "adapters",
    "layernorm_only": "adapters",
    "hyperformer": "hyperformer",
    "unique_hyper_net": "hyperformer-shared-layers",
    "hyperformer++": "hyperformer++",
}
OPTIONS = {
    "task_embedding_dim": "task_embedding_dim",
    "projected_task_embedding_dim": "projected_task_embedding_dim",
    "task_hidden_dim": "projector_hidden_dim",
    "train_task_embeddings": "project_task_embedding",
    "conditional_layer_norm": "conditional_layer_norm",
    "add_layer_norm_before_adapter": "layer_norm_before",
    "add_layer_norm_after_adapter": "layer_norm_after",
    "unfreeze_layer_norms": "train_layer_norms",
    "non_linearity": "non_linearity",
}
HYPERNETWORK_OPTIONS = {"task_embedding_dim", "projected_task_embedding_dim", "task_hidden_dim"}


@dataclass
class Case:
    info: dict[str, Any]
    tensors: dict[str, Tensor]
    device: str = "cpu"

    @classmethod
    def read(cls, folder: Path, name: str, device: str = "cpu") -> "Case":
        info = json.loads((folder / f"{name}.json").read_text())
        return cls(info, load_file(folder / f"{name}.safetensors", device=device), device)

    @property
    def tasks(self) -> list[str]:
        return self.info["tasks"]

    def config(self) -> AdapterConfig:
        theirs = self.info.get("method") or {"hyperformerpp": "hyperformer++"}.get(self.info["case"], self.info["case"])
        method = METHODS[theirs]
        if method == "finetune":
            return AdapterConfig(method=method, tasks=self.tasks)
        unused = HYPERNETWORK_OPTIONS if method == "adapters" else set()
        options = {OPTIONS[key]: value for key, value in self.info["overrides"].items() if key not in unused}
        if method == "hyperformer" and "train_task_embeddings" not in self.info["overrides"]:
            options["project_task_embedding"] = False
        return AdapterConfig(
            method=method,
            tasks=self.tasks,
            reduction_factor=self.info["reduction_factor"],
            adapter_blocks=theirs != "layernorm_only",
            **options,
        )

    def build(self, prefix: str = "state.") -> AdaptedModel:
        backbone = T5ForConditionalGeneration(T5Config(**self.info["t5_config"], bos_token_id=None))
        model = AdaptedModel.attach(backbone.to(self.device), self.config()).eval()
        model.load_reference_state_dict(self.group(prefix))
        return model

    def group(self, prefix: str) -> dict[str, Tensor]:
        return {name.removeprefix(prefix): value for name, value in self.tensors.items() if name.startswith(prefix)}

    @cached_property
    def inputs(self) -> dict[str, Tensor]:
        return {name: self.tensors[f"inputs.{name}"] for name in ("input_ids", "attention_mask")}

    @property
    def labels(self) -> Tensor:
        return self.tensors["inputs.labels"]


def reference_gradients(model: AdaptedModel) -> dict[str, Tensor]:
    """The gradients of the trained parameters under the reference's names."""
    parameters = model.trained_parameters()
    return {
        name: parameters[ours].grad[index]
        for name, (ours, index) in model.reference_names().locations().items()
        if ours in parameters
    }


def relative_error(found: Tensor, expected: Tensor) -> float:
    """Norm of the difference over the norm of what is expected."""
    return float((found - expected).norm() / expected.norm().clamp_min(torch.finfo(torch.float32).tiny))
