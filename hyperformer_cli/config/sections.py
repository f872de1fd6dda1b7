"""The recipe's sections, in the order in which recipes state them: model, data, training, evaluation, sweep.

Keys, defaults and meaning are a contract with users. What a section's own fields must fulfil together is checked here;
what several sections must, in `config.recipe`. `config.adapter` and `config.fewshot` have a section each of their own.
"""

import math
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, ConfigDict, Field, field_validator, model_validator

from hyperformer_cli.errors import did_you_mean
from hyperformer_cli.schema.section import LARGEST, Distinct, Positive, Section, SplitName
from hyperformer_cli.tasks.metrics import METRICS
from hyperformer_cli.tasks.task import Task

Tracker = Literal["tensorboard", "wandb", "mlflow", "comet_ml", "clearml", "aim", "trackio"]

AVERAGE = "average"


def _all_finite(value: Any) -> Any:
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        _all_finite(inner)
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"found {value}; give a finite number")
    return value


class PrintedParameters(Section):
    """The printed parameter columns.

    Attributes:
        total: all parameters relative to the backbone's, as printed, such as `1.02x`.
        per_task: trained parameters per task, in per cent of the backbone's.
    """

    total: str
    per_task: float


class PaperRow(Section):
    """Which row of the paper a recipe reproduces, and what is printed there. Changes nothing; `report` prints it.

    Attributes:
        table: the table's number, or a figure's name.
        row: the row's name in that table.
        expected: the printed scores in per cent: by task and metric, and the `average` of all.
        parameters: the two printed parameter columns.
    """

    table: int | str
    row: str
    expected: dict[str, float | dict[str, float]] | None = None
    parameters: PrintedParameters | None = None


class ModelSection(Section):
    """The backbone: the language model whose weights stay frozen.

    Attributes:
        name: a model on the hub, a folder, or `bundled` or `bundled-lm`, the package's nano models. Only `init: random`
            with a `config` needs none.
        revision: branch, tag or commit on the hub. It is resolved to a commit, which the run records.
        tokenizer: a tokenizer on the hub or in a folder; null takes the model's own.
        init: `pretrained` loads the weights; `random` builds the architecture without them, for tests and controls.
        config: with `init: random`, values that replace those of the model's configuration, such as `{num_layers: 2}`.
        dtype: number format of the frozen weights in memory. Trained ones are always float32.
        gradient_checkpointing: keep fewer activations and compute them again in the backward pass: less memory, more
            time, the same result.
    """

    name: str | None = None
    revision: str = "main"
    tokenizer: str | None = None
    init: Literal["pretrained", "random"] = "pretrained"
    config: Annotated[dict[str, Any], AfterValidator(_all_finite)] = Field(default={})
    dtype: Literal["float32", "bfloat16"] = "float32"
    gradient_checkpointing: bool = False

    @model_validator(mode="after")
    def _has_a_shape(self) -> "ModelSection":
        if self.init == "pretrained" and self.name is None:
            raise ValueError("name is needed: a model on the hub or a folder (or init: random with a config)")
        if self.name is None and not self.config:
            raise ValueError("init: random needs a name or a config")
        if self.name is None and self.tokenizer is None:
            raise ValueError("tokenizer is needed where the model has no name")
        if self.init == "pretrained" and self.config:
            raise ValueError("config replaces values of a model without weights; it needs init: random")
        return self


class SamplingSection(Section):
    """How training batches are drawn: first the task, then examples of it, all of them equally likely.

    Attributes:
        temperature: a task with n rows is drawn with a probability proportional to n^(1/temperature) (paper,
            Section 3). 1 draws tasks by their size; large values draw all equally often.
        probabilities: the share of optimizer steps (of examples, with `mixed_batches`) that some tasks get, by name,
            such as `{tickets: 0.5}`. The other tasks divide the rest by the temperature.
        mixed_batches: draw a task for every example and not for every batch. The paper's batches hold one task each.
        length_grouping: put examples of a task that are of similar length into one batch, so that less of it is
            padding. The paper draws uniformly.
    """

    temperature: float = Field(default=10, gt=0)
    probabilities: dict[str, Annotated[float, Field(gt=0, le=1)]] = Field(default={})
    mixed_batches: bool = False
    length_grouping: bool = False


class DataSection(Section):
    """Where examples come from and how they are cut.

    Attributes:
        source: `hub`, `bundled` (the miniature's data in the package), or a folder with
            `<task>/<split>.<parquet, jsonl, csv or tsv>` in the columns of the hub's data sets. Tasks with `files` of
            their own do not use it.
        protocol: how splits and batches are drawn. `paper` as the paper describes it; `reference` as the paper's code
            does, quirks included: validation rows of carved splits are trained on too, and the last row of every split
            is dropped.
        max_source_length: tokens of an input, the end of the sequence included; the rest is cut off. The dry run shows
            how many are.
        max_target_length: tokens of a target, the end of the sequence included; a longer free text is cut in training.
        samples_per_task: train on so many rows of each task, drawn with `seed`, or of those that a mapping names; the
            others keep all, as all do with null.
        prompt: only for decoder-only models: a text around `{input}`, behind which the target follows, or `chat` for
            the tokenizer's chat template. null takes the input alone.
        sampling: how training batches are drawn.
    """

    source: str = "hub"
    protocol: Literal["paper", "reference"] = "paper"
    max_source_length: Positive = 128
    max_target_length: Positive = 128
    samples_per_task: Positive | dict[str, Positive | None] | None = None
    prompt: str | None = None
    sampling: SamplingSection = SamplingSection()

    @field_validator("prompt")
    @classmethod
    def _prompt_holds_the_input_once(cls, value: str | None) -> str | None:
        if value is not None and value != "chat" and value.count("{input}") != 1:
            raise ValueError("write {input} once, where a task's input goes, or chat for the tokenizer's chat template")
        return value

    def samples_of(self, task: str) -> int | None:
        """How many training rows of a task are kept; None is all of them."""
        samples = self.samples_per_task
        return samples.get(task) if isinstance(samples, dict) else samples

    @model_validator(mode="after")
    def _reference_draws_as_it_does(self) -> "DataSection":
        sampling = self.sampling
        if self.protocol == "reference" and (sampling.mixed_batches or sampling.length_grouping):
            raise ValueError("protocol: reference replays the reference's draws; no mixed_batches, no length_grouping")
        if self.protocol == "reference" and sampling.probabilities:
            raise ValueError("protocol: reference replays the reference's draws; no sampling.probabilities")
        return self


class TrainingSection(Section):
    """The optimization.

    Attributes:
        max_steps: optimizer steps. The paper's configurations have 65,536; its text says 2^18 = 262,144.
        batch_size: examples per optimizer step, over all processes. The number of forward passes per step follows from
            it, `micro_batch_size` and the number of processes.
        micro_batch_size: examples per forward pass in one process, at full length. Only memory and speed depend on it.
        micro_batching: how a process divides its examples of a step into forward passes. `tokens`: by length, so that
            little is padding; a pass then holds more rows if they are short. `rows`: `micro_batch_size` rows, as drawn.
        replicas: with `loss_reduction: sum`, what the summed loss is divided by, whatever the number of processes. The
            paper's code sums over each GPU's rows and averages over its 4 GPUs, so the paper's recipes say 4. With
            `data.protocol: reference` it is also the number of processes that batches are drawn for.
        learning_rate: the highest rate, reached after the warm-up. The optimizer is AdamW without weight decay.
        head_learning_rate_scale: times the rate, for the weights of the hypernetworks' heads. What a head generates is
            a sum over its inputs, so Adam moves it further than a stored weight; muP divides by the number of inputs
            (`adapter.projected_task_embedding_dim`).
        beta2: AdamW's decay of the mean of squared gradients.
        schedule: how the learning rate falls after the warm-up, until `max_steps`: `linear` or `cosine` to 0, or
            `constant`.
        warmup_steps: steps in which the learning rate rises linearly from 0.
        label_smoothing: share of the target probability that is spread over the whole vocabulary; the paper's 0.1.
        loss_reduction: `sum` over the target tokens, as in the paper's code, or their `mean`. Clipping makes the scale
            matter.
        max_grad_norm: gradients with a larger norm are scaled down to it; null does not clip.
        precision: number format of forward and backward passes: `float32`, or `bfloat16` by autocast, which is faster
            and less exact. float16 is refused, because T5's activations overflow in it.
        tf32: on an NVIDIA GPU, multiply float32 matrices in TF32: faster and less exact.
        deterministic: only use kernels that give the same sums every time, so that a resumed run is bit for bit the
            same. `false` allows faster ones on a GPU, which need less memory for long inputs.
        device: `auto` takes a GPU if there is one, else Apple's MPS, else the CPU.
        compile: compile every layer with `torch.compile` for training steps: a few times at the start, for lengths,
            rows and mixed tasks, and then no more. Slow to start and no gain on a CPU; see docs/benchmarks.md.
        shard_backbone: divide the frozen backbone among the processes (FSDP), if it does not fit into one GPU.
        save_every: steps between checkpoints, from which a stopped run continues.
        keep_checkpoints: how many of the latest checkpoints are kept. The best weights are kept in any case.
        log_every: steps between lines in `metrics.jsonl` and in the log.
        report_to: trackers that get the same figures; each needs its own package installed.
    """

    max_steps: Positive = 65536
    batch_size: Annotated[int, Field(ge=1, le=2**20)] = 128
    micro_batch_size: Positive = 32
    micro_batching: Literal["tokens", "rows"] = "tokens"
    replicas: Positive = 1
    learning_rate: float = Field(default=3e-4, gt=0)
    head_learning_rate_scale: float = Field(default=1.0, gt=0)
    beta2: float = Field(default=0.999, gt=0, lt=1)
    schedule: Literal["linear", "cosine", "constant"] = "linear"
    warmup_steps: int = Field(default=500, ge=0, le=LARGEST)
    label_smoothing: float = Field(default=0.1, ge=0, lt=1)
    loss_reduction: Literal["sum", "mean"] = "sum"
    max_grad_norm: float | None = Field(default=1.0, gt=0)
    precision: Literal["float32", "bfloat16"] = "float32"
    tf32: bool = False
    deterministic: bool = True
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    compile: bool = False
    shard_backbone: bool = False
    save_every: Positive = 1000
    keep_checkpoints: Positive = 2
    log_every: Positive = 100
    report_to: list[Tracker] = Field(default=[])

    @field_validator("precision", mode="before")
    @classmethod
    def _no_float16(cls, value: Any) -> Any:
        if value == "float16":
            raise ValueError("float16 is refused: T5's activations overflow in it; use bfloat16 or float32")
        return value


class EvaluationSection(Section):
    """Which splits are evaluated, when, and how a model answers.

    Attributes:
        every: optimizer steps between evaluations on validation; the best of these weights are kept.
        splits: what the best weights are evaluated on after training.
        metric: chooses the best weights on validation: `average` (of all metrics of all tasks), or one task's, such as
            `mrpc.accuracy`.
        patience: end training after so many evaluations in a row without a better one; null never ends it early.
        method: `generate` writes an answer; `rank` takes the likeliest of the task's label texts, and so never answers
            outside them. Tasks without labels are always generated.
        num_beams: width of beam search; 1 is greedy. null takes each task's own: 4 for the paper's translations, else
            1.
        batch_size: examples of full length per forward pass and process, or up to twice as many short ones. Only memory
            and speed depend on it.
        max_examples: evaluate the first so many examples of each split; null evaluates all.
    """

    every: Positive = 1000
    splits: Annotated[list[SplitName], Distinct] = Field(default=["validation", "test"])
    metric: str = AVERAGE
    patience: Positive | None = None
    method: Literal["generate", "rank"] = "generate"
    num_beams: Positive | None = None
    batch_size: Positive = 128
    max_examples: Positive | None = None

    @field_validator("metric")
    @classmethod
    def _metric_is_the_average_or_of_a_task(cls, value: str) -> str:
        task, _, name = value.rpartition(".")
        if value != AVERAGE and name not in METRICS:
            raise ValueError(f"'{value}': give {AVERAGE} or task.metric; {did_you_mean(name, METRICS)}")
        if value != AVERAGE and not task:
            raise ValueError(f"'{value}': give {AVERAGE} or task.metric, such as mytask.{value}")
        return value

    @property
    def chosen_metric(self) -> tuple[str, str] | None:
        """Task and metric that choose the best checkpoint; None for the average."""
        task, _, name = self.metric.rpartition(".")
        return (task, name) if task else None

    def ranks(self, task: Task) -> bool:
        """Whether a task's label texts are ranked, and its answers not generated."""
        return self.method == "rank" and task.labels is not None


class SweepSection(Section):
    """A grid: dotted keys of the recipe with the list of values each takes, such as `seed: [1, 2, 3]`.

    Attributes:
        select: a split; the setting with the best average on it, over its seeds, is marked as selected.
    """

    model_config = ConfigDict(extra="allow")

    __pydantic_extra__: dict[str, Annotated[list[Any], Field(min_length=1), Distinct]] = Field(init=False)
    select: Literal["validation"] | None = None

    @property
    def grid(self) -> dict[str, list[Any]]:
        return self.__pydantic_extra__

    @model_validator(mode="after")
    def _keys_can_be_swept(self) -> "SweepSection":
        if not self.grid:
            raise ValueError("needs at least one dotted key with a list of values, such as seed: [1, 2, 3]")
        for key in self.grid:
            if key.split(".")[0] in ("name", "output_dir", "paper", "sweep", "fewshot"):
                raise ValueError(f"{key}: cannot be swept")
            if any(other.startswith(f"{key}.") for other in self.grid):
                raise ValueError(f"{key}: another key lies within it")
        if self.select and set(self.grid) == {"seed"}:
            raise ValueError("select: chooses between settings, and seeds are none")
        return self
