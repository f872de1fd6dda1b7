"""Floor 3: weights that go out. A trained run in other formats, each compared with the run before it is kept."""
