"""The steps of a task as functions, from ingesting sequences to the report.

A command parses its options, calls one of these functions and prints the result. docs/python.md
lists the function of each command; their names can differ, as in `init` and `propose`.
"""
