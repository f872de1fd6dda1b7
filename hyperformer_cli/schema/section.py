"""What all parts of a recipe have in common."""

from typing import Annotated, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field

SplitName = Literal["train", "validation", "test"]
SPLITS: tuple[SplitName, ...] = get_args(SplitName)
Positive = Annotated[int, Field(ge=1)]


class Section(BaseModel):
    """A mapping of a recipe: unknown keys are errors, values are not coerced, nothing changes after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
