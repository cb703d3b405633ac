"""HTML pages, figures, tables and sentences about the results of a task."""
