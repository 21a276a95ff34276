"""The report: what a results folder and an N-by-N matrix say, as HTML, Markdown, tables and figures.

`gathering` puts results side by side, `comparisons` compares them, the modules named after sections say what there is
to say, and `write` renders it all: every format from the same sections.
"""
