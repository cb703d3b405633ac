"""Command line interface: one module per command.

The module's docstring is the text of `--help`, `add_arguments` defines the options, and `run` does
the work.
"""
