"""The report of a results folder and an N-by-N matrix, as HTML, Markdown, tables and figures.

`gathering` collects results, `comparisons` compares them, one module per section creates the content, and `write`
renders all formats from the same sections.
"""
