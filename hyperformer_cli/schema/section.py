"""What recipes, their sections and tasks have in common."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal, TypeVar, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from hyperformer_cli.schema.docstrings import key_meanings, summary

SplitName = Literal["train", "validation", "test"]
SPLITS: tuple[SplitName, ...] = get_args(SplitName)
LARGEST = 2**31 - 1  # more would not fit what torch and tokenizers count in
Positive = Annotated[int, Field(ge=1, le=LARGEST)]
LONGEST_NAME = 100  # characters of a task's name, which also names files
Values = TypeVar("Values", bound=Sequence[Any])


def _explain_keys(schema: dict[str, Any], section: type[BaseModel]) -> None:
    """Gives a JSON schema the meanings of keys, which editors show beside them."""
    schema["description"] = summary(section)
    for key, meaning in key_meanings(section).items():
        if key in schema.get("properties", {}):
            schema["properties"][key]["description"] = meaning


class Section(BaseModel):
    """A mapping of a recipe: unknown keys are errors, values are not coerced, nothing changes after loading.

    Numbers are finite. The docstring of a section explains each key under `Args` or `Attributes`.
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, json_schema_extra=_explain_keys
    )


def no_duplicates(values: Values) -> Values:
    """Returns the values; raises ValueError if one occurs more than once."""
    for i, value in enumerate(values):
        if value in values[:i]:
            raise ValueError(f"duplicate value {value!r}")
    return values


Distinct = AfterValidator(no_duplicates)
