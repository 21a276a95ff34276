"""Tables line up on the terminal and parse as Markdown."""

from mu_lightning.utilities.tables import markdown_table, text_table

HEADER = ("name", "accuracy")
ROWS = [("native", "0.8"), ("best source (nl-NL)", "0.75")]


def test_the_first_column_stands_left_and_the_others_right() -> None:
    assert text_table(HEADER, ROWS).splitlines() == [
        "name                 accuracy",
        "-------------------  --------",
        "native                    0.8",
        "best source (nl-NL)      0.75",
    ]


def test_a_table_without_rows_is_its_header() -> None:
    assert text_table(HEADER, []) == "name  accuracy\n----  --------"


def test_markdown_has_the_same_cells_and_aligns_numbers_to_the_right() -> None:
    lines = markdown_table(HEADER, ROWS).splitlines()
    assert lines[1] == "| --- | ---: |"
    cells = [tuple(cell.strip() for cell in line.strip("|").split("|")) for line in lines]
    assert [cells[0], *cells[2:]] == [HEADER, *ROWS]
