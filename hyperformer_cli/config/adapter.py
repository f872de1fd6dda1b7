"""`AdapterConfig`: which method, on which tasks, with which options.

Every method and every adapter form uses some of the fields; what they do not use must stay None, so that nothing is
silently ignored. Defaults are the paper's (Sections 2 and 3 of https://aclanthology.org/2021.acl-long.47).
"""

import copy
import json
import re
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, Optional, get_args

from pydantic import AfterValidator, Field, ValidationInfo, create_model, field_validator, model_validator
from pydantic.fields import FieldInfo

from hyperformer_cli.config.forms import DEFAULT_FORM, FORMS, FormEntry
from hyperformer_cli.errors import did_you_mean
from hyperformer_cli.schema.section import LONGEST_NAME, Distinct, Positive, Section

Method = Literal["finetune", "adapters", "hyperformer", "hyperformer-shared-layers", "hyperformer++"]
METHODS: tuple[str, ...] = get_args(Method)


def _defaults(method: str, form: FormEntry) -> dict[str, Any]:
    """Every field that a method with a form uses, with its default; None where that follows from other fields."""
    if method == "finetune":
        return {}
    common = {
        "form": DEFAULT_FORM,
        **form.defaults(_has_hypernetwork(method)),
        "adapter_blocks": True,
        "train_layer_norms": form.train_layer_norms,
    }
    if method == "adapters":
        return {**common, "shared_by_tasks": False}
    return {
        **common,
        "task_embedding_dim": None,
        "project_task_embedding": method == "hyperformer",
        "projected_task_embedding_dim": None,
        "projector_hidden_dim": 128,
        "projector_init": "paper",
    }


def _with_defaults(given: dict[str, Any]) -> dict[str, Any]:
    """Fills in what was left None. The embedding sizes depend on whether the task embedding is projected."""
    method = given["method"]
    given = {key: value for key, value in given.items() if value is not None}
    filled = {**_defaults(method, FORMS[given.get("form", DEFAULT_FORM)]), **given}
    if _has_hypernetwork(method):
        projected = filled["project_task_embedding"]
        wide = method == "hyperformer" and projected  # the paper's HyperFormer: 512 -> 128 -> 64
        size = filled["task_embedding_dim"] = filled["task_embedding_dim"] or (512 if wide else 64)
        resized = 64 if _resizes_embedding(method, projected) else size
        filled["projected_task_embedding_dim"] = filled["projected_task_embedding_dim"] or resized
    return filled


def _has_hypernetwork(method: str) -> bool:
    return method.startswith("hyperformer")


def _resizes_embedding(method: str, projected: bool) -> bool:
    """Whether the heads may read another size than the task embedding's.

    `hyperformer` resizes in the task projector, if it has one. The other two resize in the MLP over task, layer
    and position embeddings, all of one size, so there the task projector must keep it.
    """
    return projected if method == "hyperformer" else not projected


class EmbeddingSizes(NamedTuple):
    """Sizes of a hypernetwork's embeddings: z (`task`), the projecting MLPs' hidden layer (e), what heads read (t)."""

    task: int
    hidden: int
    projected: int


def _can_name_files(task: str) -> str:
    if not re.fullmatch(r"[^\s./\\][^/\\]*", task):
        raise ValueError(f"{task!r} cannot be a task's name: no slashes, no space or dot in front")
    if len(task) > LONGEST_NAME:
        raise ValueError(f"a task's name of {len(task)} characters; it may have {LONGEST_NAME}")
    return task


def _form_is_known(form: str) -> str:
    if form not in FORMS:
        raise ValueError(f"unknown adapter form {form!r}; {did_you_mean(form, FORMS)}")
    return form


TaskName = Annotated[str, AfterValidator(_can_name_files)]
FormName = Annotated[str, AfterValidator(_form_is_known)]


class _MethodAndForm(Section):
    """The fields that decide which others are used; they are validated first."""

    method: Method
    tasks: Annotated[list[TaskName], Distinct] = Field(min_length=1, strict=False)
    form: FormName | None = None


def _optional(info: FieldInfo) -> tuple[Any, FieldInfo]:
    optional = copy.copy(info)
    optional.default = None
    return Optional[info.annotation], optional  # noqa: UP045 (a type that is known at run time only)


if TYPE_CHECKING:

    class _WithOptions(_MethodAndForm):
        def __getattr__(self, option: str) -> Any: ...
else:
    _WithOptions = create_model(
        "_WithOptions",
        __base__=_MethodAndForm,
        **{name: _optional(info) for form in FORMS.values() for name, info in form.options.model_fields.items()},
    )


class AdapterConfig(_WithOptions):
    """Method, tasks and options of an adapted model. Immutable; unused fields are None, used ones never are.

    Args:
        method: `finetune`, `adapters` (one task: Adapters, several: Adapters-dagger), `hyperformer`,
            `hyperformer-shared-layers` (the reference's hyperformer.json) or `hyperformer++`.
        tasks: names, in the order of their ids.
        form: what an adapter is: `bottleneck`, the paper's, or `lora`. The form's own options are fields too, such as
            `reduction_factor` and `rank`; see `config.forms`.
        adapter_blocks: False builds no adapters and trains nothing but the backbone's layer norms.
        train_layer_norms: whether the backbone's layer norms are trained.
        shared_by_tasks: one adapter per site for all tasks, which their inputs' prefixes must tell apart; not in the
            paper.
        task_embedding_dim: size of a task's learned vector z.
        project_task_embedding: whether a two-layer MLP common to all sites projects z.
        projected_task_embedding_dim: t, the size of what the hypernetworks' heads read.
        projector_hidden_dim: e, the hidden size of the projecting MLPs.
        projector_init: how the weights of these MLPs start: `paper`, from N(0, 0.01^2), or `kaiming`, with which their
            outputs are about as large as their inputs. A layer norm behind the paper's tiny outputs multiplies every
            step, and tasks come to look alike within a few of them.

    Raises:
        ValueError: on an unknown method, form or field, a field that they do not use, or sizes that do not fit.
    """

    adapter_blocks: bool | None = None
    train_layer_norms: bool | None = None
    shared_by_tasks: bool | None = None
    task_embedding_dim: Positive | None = None
    project_task_embedding: bool | None = None
    projected_task_embedding_dim: Positive | None = None
    projector_hidden_dim: Positive | None = None
    projector_init: Literal["paper", "kaiming"] | None = None

    @model_validator(mode="before")
    @classmethod
    def _fill_defaults(cls, given: Any) -> Any:
        known = isinstance(given, dict) and given.get("method") in METHODS and given.get("form") in (None, *FORMS)
        return _with_defaults(given) if known else given

    @field_validator("*")
    @classmethod
    def _field_is_used(cls, value: Any, info: ValidationInfo) -> Any:
        method, name, form = info.data.get("method"), str(info.field_name), info.data.get("form") or DEFAULT_FORM
        if method is None or value is None or name in ("method", "tasks") or form not in FORMS:
            return value
        options, always = FORMS[form].options.model_fields, FORMS[form].always
        if name not in _defaults(method, FORMS[form]):
            of_other_form = any(name in other.options.model_fields for other in FORMS.values()) and name not in options
            user = f"adapter form '{form}'" if of_other_form and method != "finetune" else f"method '{method}'"
            raise ValueError(f"{user} does not use {name}; leave it out")
        if method in always.get(name, ()) and value != options[name].get_default():
            raise ValueError(f"always {json.dumps(options[name].get_default())} for method '{method}'")
        return value

    @field_validator("projected_task_embedding_dim")
    @classmethod
    def _embedding_sizes_fit(cls, value: int | None, info: ValidationInfo) -> int | None:
        size, method = info.data.get("task_embedding_dim"), info.data.get("method")
        projected = bool(info.data.get("project_task_embedding"))
        if None not in (value, size, method) and value != size and not _resizes_embedding(str(method), projected):
            state = str(projected).lower()
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
        return self.has_bank and _has_hypernetwork(self.method)

    @property
    def embedding_sizes(self) -> EmbeddingSizes:
        """The sizes of the hypernetworks' embeddings.

        Raises:
            ValueError: the method has no hypernetworks.
        """
        sizes = self.task_embedding_dim, self.projector_hidden_dim, self.projected_task_embedding_dim
        if sizes[0] is None or sizes[1] is None or sizes[2] is None:
            raise ValueError(f"method '{self.method}' has no hypernetworks")
        return EmbeddingSizes(sizes[0], sizes[1], sizes[2])

    @property
    def needs_task_prefix(self) -> bool:
        """Whether inputs begin with the task's name: where no weight knows the task (paper, Section 3)."""
        return self.method == "finetune" or bool(self.shared_by_tasks)

    def with_tasks(self, tasks: list[str]) -> "AdapterConfig":
        """The same configuration for other tasks."""
        return AdapterConfig(**{**self.model_dump(), "tasks": tasks})
