"""What maintainers run from the root of the repository; nothing here is in the wheel.

miniature    generates the rows of `hyperformer_cli/bundled/` and pretrains its nano models
run_digests    digests of what the commands compute, to compare two versions of the package
"""
