"""`AdapterConfig`: which method, on which tasks, with which options.

Every method uses some of the fields; what it does not use must stay None, so that nothing is silently ignored.
Defaults are the paper's (Sections 2 and 3 of https://aclanthology.org/2021.acl-long.47).
"""

import re
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

Method = Literal["finetune", "adapters", "hyperformer", "hyperformer-shared-layers", "hyperformer++"]
NonLinearity = Literal["gelu_new", "gelu", "relu", "silu", "swish", "tanh", "sigmoid", "mish", "quick_gelu"]
METHODS: tuple[str, ...] = get_args(Method)

_ADAPTER_DEFAULTS: dict[str, Any] = {
    "reduction_factor": 32,
    "non_linearity": "gelu_new",
    "layer_norm_before": False,
    "layer_norm_after": True,
    "adapter_blocks": True,
    "train_layer_norms": True,
}
_PROJECTOR_DEFAULTS: dict[str, Any] = {"projector_hidden_dim": 128, "conditional_layer_norm": True}
_DEFAULTS: dict[str, dict[str, Any]] = {
    "finetune": {},
    "adapters": {**_ADAPTER_DEFAULTS, "shared_by_tasks": False},
    "hyperformer": {**_ADAPTER_DEFAULTS, **_PROJECTOR_DEFAULTS, "project_task_embedding": True},
    "hyperformer-shared-layers": {**_ADAPTER_DEFAULTS, **_PROJECTOR_DEFAULTS, "project_task_embedding": False},
    "hyperformer++": {**_ADAPTER_DEFAULTS, **_PROJECTOR_DEFAULTS, "project_task_embedding": False},
}
_HYPERNETWORK_FIELDS = {*_PROJECTOR_DEFAULTS, "project_task_embedding", "task_embedding_dim"} | {
    "projected_task_embedding_dim"
}


def _used_fields(method: str) -> set[str]:
    return set(_DEFAULTS[method]) | (_HYPERNETWORK_FIELDS if method.startswith("hyperformer") else set())


def _with_defaults(given: dict[str, Any]) -> dict[str, Any]:
    """Fills in what was left None. The embedding sizes depend on whether the task embedding is projected."""
    method = given["method"]
    filled = {**_DEFAULTS[method], **{key: value for key, value in given.items() if value is not None}}
    if not method.startswith("hyperformer"):
        return filled
    projected = filled["project_task_embedding"]
    wide = method == "hyperformer" and projected  # the paper's HyperFormer: 512 -> 128 -> 64
    filled.setdefault("task_embedding_dim", 512 if wide else 64)
    resized = _resizes_embedding(method, projected)
    filled.setdefault("projected_task_embedding_dim", 64 if resized else filled["task_embedding_dim"])
    return filled


def _resizes_embedding(method: str, projected: bool) -> bool:
    """Whether the heads may read another size than the task embedding's.

    `hyperformer` resizes in the task projector, if it has one. The other two resize in the MLP over task, layer
    and position embeddings, all of one size, so there the task projector must keep it.
    """
    return projected if method == "hyperformer" else not projected


class AdapterConfig(BaseModel):
    """Method, tasks and options of an adapted model. Immutable; unused fields are None, used ones never are.

    Args:
        method: `finetune`, `adapters` (one task: Adapters, several: Adapters-dagger), `hyperformer`,
            `hyperformer-shared-layers` (the reference's hyperformer.json) or `hyperformer++`.
        tasks: names, in the order of their ids.
        reduction_factor: r; the bottleneck is the hidden size divided by r.
        non_linearity: activation of the bottleneck, by its name in transformers.
        layer_norm_before: an extra layer norm on the adapter's input.
        layer_norm_after: the paper's layer norm on the up-projected output.
        adapter_blocks: False builds no adapters and trains nothing but T5's layer norms.
        train_layer_norms: whether the backbone's layer norms are trained.
        shared_by_tasks: one adapter a site for all tasks, which their inputs' prefixes must tell apart; not in the
            paper.
        task_embedding_dim: size of a task's learned vector z.
        project_task_embedding: whether a two-layer MLP common to all sites projects z.
        projected_task_embedding_dim: t, the size of what the hypernetworks' heads read.
        projector_hidden_dim: e, the hidden size of the projecting MLPs.
        conditional_layer_norm: whether the adapters' layer norms are generated too.

    Raises:
        ValueError: on an unknown method or field, a field the method does not use, or sizes that do not fit.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    method: Method
    tasks: list[str] = Field(min_length=1, strict=False)
    reduction_factor: int | None = Field(default=None, ge=1)
    non_linearity: NonLinearity | None = None
    layer_norm_before: bool | None = None
    layer_norm_after: bool | None = None
    adapter_blocks: bool | None = None
    train_layer_norms: bool | None = None
    shared_by_tasks: bool | None = None
    task_embedding_dim: int | None = Field(default=None, ge=1)
    project_task_embedding: bool | None = None
    projected_task_embedding_dim: int | None = Field(default=None, ge=1)
    projector_hidden_dim: int | None = Field(default=None, ge=1)
    conditional_layer_norm: bool | None = None

    @model_validator(mode="before")
    @classmethod
    def _fill_defaults(cls, given: Any) -> Any:
        known = isinstance(given, dict) and given.get("method") in METHODS
        return _with_defaults(given) if known else given

    @field_validator("tasks")
    @classmethod
    def _tasks_are_distinct(cls, tasks: list[str]) -> list[str]:
        for task in tasks:
            if not re.fullmatch(r"[^\s./\\][^/\\]*", task):  # they name files
                raise ValueError(f"{task!r} cannot be a task's name: no slashes, no space or dot in front")
        twice = sorted({task for task in tasks if tasks.count(task) > 1})
        if twice:
            raise ValueError(f"named twice: {', '.join(twice)}")
        return tasks

    @field_validator("*")
    @classmethod
    def _method_uses_field(cls, value: Any, info: ValidationInfo) -> Any:
        method = info.data.get("method")
        if method is None or value is None or info.field_name in ("method", "tasks"):
            return value
        if info.field_name not in _used_fields(method):
            raise ValueError(f"method '{method}' does not use {info.field_name}; leave it out")
        return value

    @field_validator("conditional_layer_norm")
    @classmethod
    def _shared_hypernetworks_generate_norms(cls, value: bool | None, info: ValidationInfo) -> bool | None:
        method = info.data.get("method")
        if value is False and method in ("hyperformer-shared-layers", "hyperformer++"):
            raise ValueError(f"always true for '{method}': its layer norms are generated (use method 'hyperformer')")
        return value

    @field_validator("projected_task_embedding_dim")
    @classmethod
    def _embedding_sizes_fit(cls, value: int | None, info: ValidationInfo) -> int | None:
        size = info.data.get("task_embedding_dim")
        method, projected = info.data.get("method"), info.data.get("project_task_embedding")
        if value is None or size is None or method is None or _resizes_embedding(method, bool(projected)):
            return value
        if value != size:
            state = "true" if projected else "false"
            raise ValueError(
                f"must equal task_embedding_dim ({size}) for '{method}' with project_task_embedding {state}"
            )
        return value

    @field_validator("train_layer_norms")
    @classmethod
    def _something_is_trained(cls, value: bool | None, info: ValidationInfo) -> bool | None:
        if value is False and info.data.get("adapter_blocks") is False:
            raise ValueError("with adapter_blocks false as well nothing is left to train")
        return value

    @property
    def has_bank(self) -> bool:
        """Whether the method builds adapters at all."""
        return bool(self.adapter_blocks)

    @property
    def has_hypernetwork(self) -> bool:
        return self.has_bank and self.method.startswith("hyperformer")

    @property
    def needs_task_prefix(self) -> bool:
        """Whether inputs begin with the task's name: where no weight knows the task (paper, Section 3)."""
        return self.method == "finetune" or bool(self.shared_by_tasks)

    def with_tasks(self, tasks: list[str]) -> "AdapterConfig":
        """The same configuration for other tasks."""
        return AdapterConfig(**{**self.model_dump(), "tasks": tasks})
