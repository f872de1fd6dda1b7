"""What the miniature's tasks give away to a bag of words:   python benchmarks/miniature_yardstick.py

Prints for every task the majority's score and that of a regression on word counts (one count per field and word),
trained on the training split, both on the test split and, for comparison, on the validation split.
"""

import warnings

from rich.console import Console
from rich.table import Table
from scipy.sparse import hstack
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression, Ridge

from hyperformer_cli.data.metrics import majority_score, score
from hyperformer_cli.data.tasks import Task
from hyperformer_cli.miniature.tasks import MINIATURE, rows


def main() -> None:
    table = Table("task", "metric", "majority", "words: validation", "words: test", title="Miniature, per cent")
    for task in MINIATURE.values():
        references = [task.target_text(row) for row in rows(task.name, "test")]
        majority = majority_score(task, references)
        validation, test = (bag_of_words(task, split) for split in ("validation", "test"))
        for metric in task.metrics:
            figures = (majority[metric], validation[metric], test[metric])
            table.add_row(task.name, metric, *(f"{figure:.1f}" for figure in figures))
    Console().print(table)


def bag_of_words(task: Task, split: str) -> dict[str, float]:
    """Every metric of the regression on word counts: logistic for labels, ridge for numbers."""
    fields = [column for column in task.columns if column != task.label_column]
    vectorizers = [CountVectorizer(token_pattern=r"(?u)\b\w+\b") for _ in fields]
    known, asked = rows(task.name, "train"), rows(task.name, split)
    counts = hstack(
        [vectorizer.fit_transform([row[field] for row in known]) for field, vectorizer in zip(fields, vectorizers, strict=True)]
    )
    unseen = hstack(
        [vectorizer.transform([row[field] for row in asked]) for field, vectorizer in zip(fields, vectorizers, strict=True)]
    )
    model = Ridge() if task.is_regression else LogisticRegression(max_iter=1000)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(counts, [row[task.label_column] for row in known])
    found = [str(value) for value in model.predict(unseen)]
    return score(task, found, [task.target_text(row) for row in asked])


if __name__ == "__main__":
    main()
