"""The page of merges needs nothing but itself, says every number, and can be read without seeing or a mouse."""

import re
from collections import Counter
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from mu_lightning.monitoring.page import merges_page, write_page

Make = Callable[..., dict[str, Any]]
VOID = {"meta", "link", "br", "hr", "img", "input"}


class Page(HTMLParser):
    """The page's elements and text; fails on tags that do not nest."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] not in ("style", "script") and data.strip():
            self.text.append(" ".join(data.split()))

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture
def html(merge_record: Make) -> str:
    targets = ("af-ZA", "sq-AL")
    history = [
        merge_record(1, targets=targets),
        merge_record(2, targets=targets, gain=-0.1, committed=False, reason="plateau & drift"),
        merge_record(3, targets=targets, gain=0.1),
        merge_record(4, targets=targets, gain=0.2, committed=False),
    ]
    history[2]["targets"]["sq-AL"]["weights"] = {"m0": 0.75, "m1": 0.125, "m2": 0.125}
    return merges_page(history, "<my> run")


@pytest.fixture
def page(html: str) -> Page:
    return Page(html)


def test_it_asks_for_nothing_from_elsewhere(html: str, page: Page) -> None:
    policy = next(one["content"] for one in page.all("meta") if one.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert policy.startswith("default-src 'none'")
    links = [value for _, one in page.elements for key, value in one.items() if key in ("href", "src")]
    assert {link for link in links if link and not link.startswith("#")} == {"merges.csv"}
    assert "url(" not in html.replace("url(#", "")
    assert "@import" not in html


def test_every_reference_leads_to_something_and_no_id_stands_twice(html: str, page: Page) -> None:
    ids = Counter(one["id"] for _, one in page.elements if "id" in one)
    assert max(ids.values()) == 1
    referred = {one["href"] for _, one in page.elements if (one.get("href") or "").startswith("#")}
    referred |= {f"#{one['aria-labelledby']}" for _, one in page.elements if "aria-labelledby" in one}
    referred |= set(re.findall(r"url\((#[\w-]+)\)", html))
    assert {f"#merge-{index}" for index in (1, 2, 3, 4)} < referred
    assert {one for one in referred if one and one[1:] not in ids} == set()


def test_it_says_what_each_merge_changed(page: Page) -> None:
    text = " ".join(page.text)
    assert "Merges of <my> run" in text
    assert "Merge 2, epoch 4: af-ZA 51.0 → 41.0 ( −10.0 ), sq-AL 51.0 → 41.0 ( −10.0 ) rolled back" in text
    assert text.count("plateau & drift") == 3, "in the table, in the merge's words and in the schedule's decision"
    assert "2 of 4" in text
    assert "af-ZA, latest merged model 61.0 merge 3 af-ZA, best merged model 61.0 merge 3" in text, (
        "not the rolled-back"
    )
    assert "Merge weights for sq-AL" in text
    assert "Merge weights for af-ZA" not in text, "they never change"
    for words in ("0.125", "0.750", "0.50", "every-epochs", "Accuracy on the members' own locales"):
        assert words in text


def test_without_a_committed_merge_there_is_no_merged_model_to_name(merge_record: Make) -> None:
    text = " ".join(Page(merges_page([merge_record(1, committed=False)], "run")).text)
    assert "af-ZA, latest merged model none" in text
    assert "best merged model" not in text


def test_distances_are_colored_against_the_largest_of_all_merges(merge_record: Make) -> None:
    near, far = {"m0|m1": 0.25}, {"m0|m1": 1.0}
    html = merges_page([merge_record(1, 2, distances=far, drift=1.0), merge_record(2, 2, distances=near)], "run")
    assert (
        re.findall(r'<td style="--share:([\d.]+)">([\d.]+)</td>', html)
        == [("1.000", "1.00")] * 2 + [("0.250", "0.25")] * 2
    )


def test_a_targets_chart_names_its_own_members_alone(merge_record: Make) -> None:
    record = merge_record(1, 2, targets=("af-ZA", "sq-AL"))
    record["targets"]["sq-AL"] |= {"weights": {"it-IT": 1.0}, "before": {"it-IT": 0.5, "ensemble": 0.5}}
    legends = re.findall(r'<ul class="legend".*?</ul>', merges_page([record], "run"), re.DOTALL)
    assert [[name in legend for name in ("m0", "it-IT")] for legend in legends] == [[True, False], [False, True]]


def test_it_can_be_read_with_the_keyboard_and_a_screen_reader(page: Page) -> None:
    assert page.all("html") == [{"lang": "en"}]
    assert [one for one in page.all("svg") if not (one.get("role") == "img" and one.get("aria-label"))] == [
        one for one in page.all("svg") if one.get("aria-hidden") == "true"
    ]
    scrolling = [one for one in page.all("div") if one.get("class") == "scroll"]
    assert scrolling
    assert all(one["tabindex"] == "0" and one["role"] == "region" and one["aria-label"] for one in scrolling)
    assert all(one.get("scope") in ("col", "row") for one in page.all("th"))
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch(r"h\d", tag)]
    assert levels == [1, 2, 2, 2]
    assert next(one for tag, one in page.elements if tag == "a") == {"class": "skip", "href": "#all"}
    assert [one["type"] for one in page.all("button")] == ["button", "button"]


def test_it_has_colors_for_light_and_dark_with_enough_contrast(html: str) -> None:
    light, dark = (dict(re.findall(r"--(\w+): (#\w+)", part)) for part in html.split("prefers-color-scheme: dark", 1))
    assert {*light} <= {*dark}
    for colors in (light, dark):
        for name in ("text", "quiet", "link", "up", "down"):
            assert contrast(colors[name], colors["back"]) >= 4.5, name
        for place in range(10):
            assert contrast(colors[f"m{place}"], colors["back"]) >= 3, f"m{place}"


def contrast(one: str, other: str) -> float:
    """The contrast of two colors by WCAG 2."""

    def luminance(color: str) -> float:
        digits = color[1:] if len(color) == 7 else "".join(2 * digit for digit in color[1:])
        parts = [int(digits[place : place + 2], 16) / 255 for place in (0, 2, 4)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize(("merges", "members"), [(1, 1), (1, 2), (200, 9)])
def test_a_short_and_a_long_run_make_a_whole_page(
    tmp_path: Path, merge_record: Make, merges: int, members: int
) -> None:
    write_page([merge_record(index + 1, members) for index in range(merges)], tmp_path / "merges.html", "run")
    page = Page((tmp_path / "merges.html").read_text(encoding="utf-8"))
    assert len(page.all("details")) == merges
    assert [one for one in page.all("details") if "open" in one] == [page.all("details")[-1]]
    assert [path.name for path in tmp_path.iterdir()] == ["merges.html"]
