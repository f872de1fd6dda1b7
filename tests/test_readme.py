"""What the README and the pages of docs/ show works as it stands there."""

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hyperformer_cli.cli.main import app

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
TEXT = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text(encoding="utf-8")):
        assert target.startswith("http") or (page.parent / target).is_file(), target


def test_the_recipe_with_tasks_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (recipe,) = (block for block in blocks("yaml") if block.startswith("# support.yaml"))
    Path("support.yaml").write_text(recipe)
    Path("urgency").mkdir()
    Path("news").mkdir()
    for split in ("train", "dev", "test"):
        rows = [f'"help","it is, ""broken""",{1 + i % 2}\n' for i in range(6)]
        Path(f"urgency/{split}.csv").write_text("subject,body,priority\n" + "".join(rows))
        Path(f"news/{split}.jsonl").write_text((json.dumps({"text": "long", "title": "short"}) + "\n") * 6)

    def run(*arguments: str) -> str:
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 0, result.output
        return result.stdout

    run("recipes", "validate", "support.yaml")
    shown = json.loads(run("tasks", "show", "urgency", "--recipe", "support.yaml", "--json"))
    assert shown["example"] == {"input": 'subject: help body: it is, "broken"', "target": "low"}
    shown = json.loads(run("tasks", "show", "headline", "--recipe", "support.yaml", "--json"))
    assert shown["splits"]["test"]["paper"] == 3 and shown["example"]["target"] == "short"
    assert "urgency" in run("train", "support.yaml", "--dry-run")


@pytest.mark.parametrize(
    "command", sorted(set(re.findall(r"^hyperformer (?:train|fewshot|report|eval)\b.*", TEXT, re.MULTILINE)))
)
def test_commands_have_the_options_they_are_shown_with(command: str) -> None:
    """What a command names exists; what it would do is tested elsewhere."""
    import shlex

    arguments = shlex.split(command.partition(" >")[0].partition("   #")[0].partition(" |")[0])[1:]
    shown = CliRunner().invoke(app, [arguments[0], "--help"], terminal_width=200).output
    for argument in arguments:
        if argument.startswith("--"):
            assert argument in shown
    if arguments[0] == "train" and arguments[1].startswith(("glue", "mini", "low", "recipes/")):
        from hyperformer_cli.config.loading import load_recipe

        name = arguments[1].removeprefix("recipes/").removesuffix(".yaml")
        load_recipe(name, [a for a in arguments[2:] if "=" in a and not a.startswith("--")])
