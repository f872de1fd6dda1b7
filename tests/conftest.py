"""Options and fixtures common to all tests."""

import os
from pathlib import Path

import pytest

# Before any Hugging Face library is imported: tests never ask the network.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--reference-fixtures",
        type=Path,
        default=Path(__file__).parent / "fixtures",
        help="folder of reference cases; the default holds a part of them",
    )
    parser.addoption("--reference-device", default="cpu", help="device for the parity tests")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Runs a test that takes `case` (or `trajectory`) for every one in the fixtures' folder."""
    folder = metafunc.config.getoption("--reference-fixtures")
    names = sorted(path.stem for path in folder.glob("*.safetensors"))
    if "case" in metafunc.fixturenames:
        metafunc.parametrize("case", [name for name in names if not name.startswith("trajectory_")], indirect=True)
    if "trajectory" in metafunc.fixturenames:
        metafunc.parametrize("trajectory", [name for name in names if name.startswith("trajectory_")], indirect=True)
