"""The reference's multiple-choice tasks."""

from hyperformer_cli.data.tasks import CONVERTED, Task

_FIVE = ("0", "1", "2", "3", "4")

_TASKS = (
    Task(
        name="social_i_qa",
        path="allenai/social_i_qa",
        configuration="default",
        revision=CONVERTED,
        template=("question: {question} context: {context} answerA: {answerA} answerB: {answerB} answerC: {answerC}"),
        labels=_FIVE[:3],
        label_values=("1", "2", "3"),
        metrics=("accuracy",),
        similar_to="qnli",
        split_rule="carved",
        sizes={"train": 33410, "validation": 1954},
    ),
    Task(
        name="cosmos_qa",
        path="allenai/cosmos_qa",
        configuration="default",
        revision=CONVERTED,
        template=(
            "question: {question} context: {context} answer0: {answer0} answer1: {answer1} answer2: {answer2} "
            "answer3: {answer3}"
        ),
        labels=_FIVE[:4],
        metrics=("accuracy",),
        similar_to="qnli",
        split_rule="carved",
        sizes={"train": 25262, "validation": 2985},
    ),
    Task(
        name="winogrande",
        path="allenai/winogrande",
        configuration="winogrande_l",
        template="sentence: {sentence} option1: {option1} option2: {option2}",
        labels=("1", "2"),
        label_values=("1", "2"),
        label_column="answer",
        metrics=("accuracy",),
        similar_to="qnli",
        split_rule="carved",
        sizes={"train": 10234, "validation": 1267},
    ),
    Task(
        name="hellaswag",
        path="Rowan/hellaswag",
        configuration=None,
        template="ctx: {ctx} ending0: {endings[0]} ending1: {endings[1]} ending2: {endings[2]} ending3: {endings[3]}",
        labels=_FIVE[:4],
        label_values=_FIVE[:4],
        metrics=("accuracy",),
        similar_to="qnli",
        split_rule="carved",
        sizes={"train": 39905, "validation": 10042},
    ),
    Task(
        name="commonsense_qa",
        path="tau/commonsense_qa",
        configuration=None,
        template=(
            "question: {question} A: {choices[text][0]} B: {choices[text][1]} C: {choices[text][2]} "
            "D: {choices[text][3]} E: {choices[text][4]}"
        ),
        labels=_FIVE,
        label_values=("A", "B", "C", "D", "E"),
        label_column="answerKey",
        metrics=("accuracy",),
        similar_to="qnli",
        split_rule="halved",
        sizes={"train": 9741, "validation": 1221},
    ),
)

QUESTION_ANSWERING = {task.name: task for task in _TASKS}
