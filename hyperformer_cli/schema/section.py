"""What recipes, their sections and tasks have in common."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal, TypeVar, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

SplitName = Literal["train", "validation", "test"]
SPLITS: tuple[SplitName, ...] = get_args(SplitName)
Positive = Annotated[int, Field(ge=1)]
Values = TypeVar("Values", bound=Sequence[Any])


class Section(BaseModel):
    """A mapping of a recipe: unknown keys are errors, values are not coerced, nothing changes after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


def no_duplicates(values: Values) -> Values:
    """Returns the values; raises ValueError if one occurs more than once."""
    for i, value in enumerate(values):
        if value in values[:i]:
            raise ValueError(f"duplicate value {value!r}")
    return values


Distinct = AfterValidator(no_duplicates)
