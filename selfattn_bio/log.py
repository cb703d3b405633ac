"""The logger of the package: progress has level INFO.

A program that imports the package configures logging to see it, for example with
`logging.basicConfig(level="INFO", format="%(message)s")`. Commands print it.
"""
