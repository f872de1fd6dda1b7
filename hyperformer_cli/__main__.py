"""`python -m hyperformer_cli` is the console script `hyperformer`."""

from hyperformer_cli.cli.main import main

if __name__ == "__main__":
    main()
