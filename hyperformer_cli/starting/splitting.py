"""Rows into training, validation and test: by label, reproducibly, and a group never in two of them."""

import math
from collections import Counter
from collections.abc import Hashable, Sequence
from random import Random

from hyperformer_cli.errors import InputError
from hyperformer_cli.schema.section import SPLITS, SplitName

HELD_OUT = 10  # one tenth validates, one tests


def split_by_label(strata: Sequence[Hashable], seed: int) -> list[SplitName]:
    """A role for every row: of every stratum a tenth validates and a tenth tests, at least one row of three or more.

    The same seed and rows give the same roles with any version of any library.
    """
    roles: list[SplitName] = ["train"] * len(strata)
    members: dict[Hashable, list[int]] = {}
    for row, stratum in enumerate(strata):
        members.setdefault(stratum, []).append(row)
    for stratum, rows in members.items():
        Random(f"{seed} {stratum}").shuffle(rows)
        held_out = max(round(len(rows) / HELD_OUT), 1 if len(rows) >= len(SPLITS) else 0)
        for row in rows[:held_out]:
            roles[row] = "test"
        for row in rows[held_out : 2 * held_out]:
            roles[row] = "validation"
    return roles


def split_by_group(strata: Sequence[Hashable], groups: Sequence[str], seed: int, column: str) -> list[SplitName]:
    """The same with all rows of a group in one split; the strata are then shared as evenly as the groups allow.

    Raises:
        InputError: fewer groups than splits.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    distinct = len(set(groups))
    if distinct < len(SPLITS):
        raise InputError(f"--group: column '{column}' has {distinct} values; three splits need three or more")
    places = {stratum: place for place, stratum in enumerate(dict.fromkeys(strata))}
    classes = [places[stratum] for stratum in strata]
    most = max(Counter(classes).values())
    folds = StratifiedGroupKFold(min(HELD_OUT, distinct, most), shuffle=True, random_state=seed)
    roles: list[SplitName] = ["train"] * len(strata)
    parts = [held_out for _, held_out in folds.split(classes, classes, groups)]
    held_out_roles: tuple[SplitName, ...] = ("test", "validation")
    for role, part in zip(held_out_roles, parts, strict=False):
        for row in part.tolist():
            roles[row] = role
    return roles


def strata_of_numbers(numbers: Sequence[float]) -> list[int]:
    """The tenth of the numbers that each belongs to, in their order of size."""
    ranks = sorted(range(len(numbers)), key=lambda row: numbers[row])
    strata = [0] * len(numbers)
    for rank, row in enumerate(ranks):
        strata[row] = math.floor(10 * rank / len(numbers))
    return strata
