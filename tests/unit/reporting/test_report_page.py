"""The report's page in Chromium: 49 targets and 30 methods fit a desktop and a phone, light, dark and on paper."""

import asyncio
import base64
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import pytest

import cli
from mu_lightning.evaluation.metrics import score
from mu_lightning.locales import LOCALES
from mu_lightning.results.identity import Identity
from mu_lightning.results.results import Result, write_results

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


CHROMIUM = next((path for name in NAMES if (path := shutil.which(name))), None)
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no chromium is installed: apt-get install chromium")


class Page:
    """A page in a browser of its own; everything it complains of or asks the network for is kept.

    Attributes:
        complaints: console errors and warnings, and exceptions.
        requests: addresses that the page asked for.
    """

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._last = 0
        self._events: list[dict[str, Any]] = []
        self.complaints: list[str] = []
        self.requests: list[str] = []

    async def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Sends a command and waits for its answer."""
        self._last += 1
        await self._socket.send_json({"id": self._last, "method": method, "params": params})
        while True:
            message = await self._socket.receive_json(timeout=60)
            if message.get("id") == self._last:
                assert "error" not in message, message
                result: dict[str, Any] = message["result"]
                return result
            self._take(message)

    async def open(self, path: Path, width: int, dark: bool = False) -> None:
        """Opens a file at a width in CSS pixels."""
        for domain in ("Page", "Runtime", "Log", "Network"):
            await self.call(f"{domain}.enable")
        await self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 600
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        await self.call("Emulation.setEmulatedMedia", features=[scheme])
        self._events.clear()
        await self.call("Page.navigate", url=path.resolve().as_uri())
        while not any(event["method"] == "Page.loadEventFired" for event in self._events):
            self._take(await self._socket.receive_json(timeout=60))

    async def run(self, script: str) -> Any:
        """The value of a JavaScript expression."""
        answer = await self.call("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    async def picture(self, path: Path, whole: bool = True) -> None:
        """Writes what the page looks like as PNG."""
        answer = await self.call("Page.captureScreenshot", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(answer["data"]))

    async def printed(self) -> bytes:
        """The page on paper, as PDF."""
        answer = await self.call("Page.printToPDF", preferCSSPageSize=True)
        return base64.b64decode(answer["data"])

    def _take(self, event: dict[str, Any]) -> None:
        self._events.append(event)
        params = event.get("params", {})
        if event["method"] == "Runtime.exceptionThrown":
            self.complaints.append(str(params["exceptionDetails"]))
        elif event["method"] == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
            self.complaints.append(str(params["entry"]))
        elif event["method"] == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning", "assert"):
            self.complaints.append(str(params["args"]))
        elif event["method"] == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])


class Browser:
    """``async with Browser(chromium) as page``: a page; the browser ends with the block."""

    def __init__(self, program: str) -> None:
        self._program = program

    async def __aenter__(self) -> Page:
        self._profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        flags = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run")
        self._process = subprocess.Popen(
            [
                self._program,
                *flags,
                "--remote-debugging-port=0",
                f"--user-data-dir={self._profile.name}",
                "about:blank",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        port = await self._port()
        self._session = aiohttp.ClientSession()
        async with self._session.get(f"http://127.0.0.1:{port}/json") as answer:
            (target, *_) = [one for one in await answer.json() if one["type"] == "page"]
        self._socket = await self._session.ws_connect(target["webSocketDebuggerUrl"], max_msg_size=0)
        return Page(self._socket)

    async def __aexit__(self, *error: object) -> None:
        await self._socket.close()
        await self._session.close()
        self._process.terminate()
        self._process.wait(timeout=30)
        self._profile.cleanup()

    async def _port(self) -> int:
        file = Path(self._profile.name) / "DevToolsActivePort"
        until = time.monotonic() + 60
        while time.monotonic() < until:
            if file.is_file() and (text := file.read_text()).strip():
                return int(text.splitlines()[0])
            assert self._process.poll() is None, "the browser ended at once"
            await asyncio.sleep(0.1)
        raise TimeoutError("the browser did not start within a minute")


@pytest.fixture(scope="module")
def page(
    tmp_path_factory: pytest.TempPathFactory, add_matrix: Callable[..., Path], identity: Callable[..., Identity]
) -> Path:
    """The page of a report on 49 targets and 30 methods, with a 49 x 49 matrix."""
    folder = tmp_path_factory.mktemp("large")
    generator = np.random.default_rng(0)
    targets = list(LOCALES)[:49]
    ids, labels = np.array([str(row) for row in range(40)]), np.zeros(40, dtype=int)
    kinds = [("linear", {"parameters": {"number": number}}) for number in range(12)]
    kinds += [("ensemble", {"vote_method": f"vote_{number}"}) for number in range(3)]
    for number, (what, more) in enumerate(kinds):
        for preweight in ("uriel", "equal"):
            results = []
            for target in targets:
                sources = [tag for tag in targets if tag != target][:5]
                weights = dict(zip(sources, (0.3, 0.25, 0.2, 0.15, 0.1), strict=True))
                predictions = (generator.random(40) > 0.6).astype(int)
                found = identity(what, target, sources, preweight=preweight, **more)
                results.append(Result(found, score(target, ids, labels, predictions), details={"weights": weights}))
            cost = {"seconds": 2.0, "peak_bytes": 2**30, "model_bytes": 2**28}
            recipe = {"command": "sweep", "problem": {}, "models": {}}
            write_results(folder / "results" / f"{number}-{preweight}", results, {"cost": cost, "recipe": recipe})
    right = {source: {target: generator.random(40) < 0.5 for target in targets} for source in targets}
    matrix = add_matrix(folder / "nxn", right, labels=1)
    assert (
        cli.main(["report", str(folder / "results"), "--nxn", str(matrix), "--output-dir", str(folder / "report")]) == 0
    )
    return folder / "report" / "report.html"


# Whatever sticks out to the right, save what stands in a box of its own that scrolls.
STICKING_OUT = """
[...document.querySelectorAll("body *")]
  .filter((one) => !one.closest(".scroll, .drawing, pre, .print, .unseen, .skip"))
  .filter((one) => one.getBoundingClientRect().right > document.documentElement.clientWidth + 1)
  .map((one) => `${one.tagName} ${one.className} ${one.textContent.slice(0, 40)}`)
"""
TOO_FAINT = """
(() => {
  const light = (text) => {
    const [r, g, b] = text.match(/[\\d.]+/g).slice(0, 3).map((part) => {
      const share = Number(part) / 255;
      return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (one) => {
    for (; one; one = one.parentElement) {
      const color = getComputedStyle(one).backgroundColor;
      if (color !== "rgba(0, 0, 0, 0)") return color;
    }
    return "rgb(255, 255, 255)";
  };
  return [...document.querySelectorAll("h1, h2, p, li, a, th, td, small, figcaption, td i, code")].filter((one) => {
    const [dark, bright] = [light(getComputedStyle(one).color), light(behind(one))].sort((a, b) => a - b);
    return (bright + 0.05) / (dark + 0.05) < 4.5;
  }).map((one) => one.outerHTML.slice(0, 80)).slice(0, 5);
})()
"""


@needs_chromium
@pytest.mark.parametrize("width", [1280, 400])
def test_nothing_sticks_out_nothing_complains_and_nothing_is_fetched(page: Path, width: int) -> None:
    async def look() -> None:
        async with Browser(str(CHROMIUM)) as tab:
            for dark in (False, True):
                await tab.open(page, width, dark)
                assert await tab.run("document.documentElement.scrollWidth <= innerWidth")
                assert await tab.run(STICKING_OUT) == []
                assert await tab.run(TOO_FAINT) == []  # WCAG 2.2, 1.4.3
                shade = await tab.run("getComputedStyle(document.body).backgroundColor")
                assert shade == ("rgb(20, 23, 27)" if dark else "rgb(255, 255, 255)")
            # The wide table scrolls in its own box, and its first column stays in sight.
            first = 'document.querySelector("#table-scores .scroll")'
            assert await tab.run(f"{first}.scrollWidth > {first}.clientWidth * 2")
            left = f'{first}.querySelector("tbody th").getBoundingClientRect().left'
            before = await tab.run(left)
            await tab.run(f"{first}.scrollLeft = 900")
            assert await tab.run(left) == before
            assert tab.complaints == []
            assert {one for one in tab.requests if not one.startswith("data:")} == {page.resolve().as_uri()}

    asyncio.run(look())


@needs_chromium
def test_tables_are_sorted_by_their_headers_from_the_keyboard(page: Path) -> None:
    async def sort() -> None:
        async with Browser(str(CHROMIUM)) as tab:
            await tab.open(page, 1280)
            table = 'document.querySelector("#table-scores table")'
            column = f"[...{table}.tBodies[0].rows].map((row) => row.cells[5].dataset.value)"
            await tab.run(f'{table}.tHead.rows[0].cells[5].querySelector("button").focus()')
            for kind in ("keyDown", "keyUp"):
                await tab.call("Input.dispatchKeyEvent", type=kind, key="Enter", code="Enter", text="\r",
                               windowsVirtualKeyCode=13)  # fmt: skip
            down = [float(value) for value in await tab.run(column)]
            assert down == sorted(down, reverse=True)
            assert await tab.run(f'{table}.tHead.rows[0].cells[5].getAttribute("aria-sort")') == "descending"
            await tab.run(f'{table}.tHead.rows[0].cells[5].querySelector("button").click()')
            assert [float(value) for value in await tab.run(column)] == sorted(down)
            await tab.run(f'{table}.tHead.rows[0].cells[0].querySelector("button").click()')
            names = await tab.run(f"[...{table}.tBodies[0].rows].map((row) => row.cells[0].innerText)")
            assert names[0].startswith("best of all sources")
            assert tab.complaints == []

    asyncio.run(sort())


@needs_chromium
def test_on_paper_wide_tables_are_cut_into_parts_that_fit(page: Path) -> None:
    async def prints() -> None:
        async with Browser(str(CHROMIUM)) as tab:
            await tab.open(page, 1030)  # A4 landscape less its margins, at 96 pixels an inch
            await tab.call("Emulation.setEmulatedMedia", media="print")
            assert await tab.run("document.documentElement.scrollWidth <= innerWidth")
            parts = await tab.run('document.querySelectorAll("#table-scores .print table").length')
            assert parts == 6  # 51 columns of values, ten a part
            wide = '[...document.querySelectorAll(".print table")].filter((one) => one.offsetWidth > innerWidth).length'
            assert await tab.run(wide) == 0
            assert (await tab.printed()).startswith(b"%PDF")

    asyncio.run(prints())
