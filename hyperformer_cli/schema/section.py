"""What recipes, their sections and tasks have in common."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal, TypeVar, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

SplitName = Literal["train", "validation", "test"]
SPLITS: tuple[SplitName, ...] = get_args(SplitName)
LARGEST = 2**31 - 1  # more would not fit what torch and tokenizers count in
Positive = Annotated[int, Field(ge=1, le=LARGEST)]
LONGEST_NAME = 100  # characters of a task's name, which also names files
Values = TypeVar("Values", bound=Sequence[Any])


class Section(BaseModel):
    """A mapping of a recipe: unknown keys are errors, values are not coerced, nothing changes after loading.

    Numbers are finite.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


def no_duplicates(values: Values) -> Values:
    """Returns the values; raises ValueError if one occurs more than once."""
    for i, value in enumerate(values):
        if value in values[:i]:
            raise ValueError(f"duplicate value {value!r}")
    return values


Distinct = AfterValidator(no_duplicates)
