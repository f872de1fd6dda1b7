"""What things cost: `python -m benchmarks` measures all of it, `python -m benchmarks step` one benchmark alone.

Each file is one benchmark: its docstring says what is measured, `measure` returns one row per line of its table, and
`COLUMNS` names what a row holds. `miniature_yardstick.py` is a program of its own.
"""
