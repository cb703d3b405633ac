"""The steps of a task as functions, from ingesting sequences to the report.

Each command of the same name parses its options, calls the function and prints the result.
"""
