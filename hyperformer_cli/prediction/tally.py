"""How many predictions are right, where the rows say what they should be; in constant memory."""

from dataclasses import dataclass

from hyperformer_cli.tasks.task import Task


@dataclass
class Tally:
    """The predictions of one task's rows that have a label."""

    task: Task
    rows: int = 0
    right: int = 0
    outside: int = 0
    error: float = 0.0

    def add(self, prediction: str, gold: str) -> None:
        """Counts one row; both are target texts."""
        value, expected = self.task.parse_prediction(prediction), self.task.parse_prediction(gold)
        self.rows += 1
        self.right += value == expected
        if value is None:
            self.outside += 1
        elif isinstance(value, float) and isinstance(expected, float):
            self.error += abs(value - expected)

    def __str__(self) -> str:
        rows = f"{self.task.name}: {self.rows:,} rows have a label;"
        if self.task.is_regression:
            numbers = self.rows - self.outside
            error = f"mean absolute error {self.error / numbers:.4g}" if numbers else "no answer is a number"
            return f"{rows} {error}" + (
                f", {self.outside:,} answers are no numbers" if numbers and self.outside else ""
            )
        what = "exact match" if self.task.is_free_text else "accuracy"
        outside = f", {self.outside:,} answers are no label" if self.outside else ""
        return f"{rows} {what} {100 * self.right / self.rows:.2f} %{outside}"


def gold_text(task: Task, values: dict[str, object]) -> str | None:
    """The target text that a row states; None where it has none that can be read.

    In CSV and TSV numbers are text.
    """
    if task.target is None and task.label_column not in values:
        return None
    try:
        if task.is_regression:
            return task.target_text({task.label_column: float(values[task.label_column])})  # type: ignore[arg-type]
        return task.target_text(values)
    except (ValueError, TypeError):  # InputError is a ValueError
        return None
