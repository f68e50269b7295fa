"""A person at the page: what they do, and what must never happen to them."""

import os
import re
import time
from pathlib import Path
from typing import Any

from playwright.sync_api import APIResponse, Browser, BrowserContext, Download, Locator, Page, Response, expect

# Milliseconds; a loaded machine of two cores is slow, and nothing here waits longer than it must.
WAIT = 1000 * int(os.environ.get("PAINTSUNDO_BROWSER_SECONDS", "120"))
RETRIES = 3
SCREENSHOTS = os.environ.get("PAINTSUNDO_SCREENSHOTS")  # a folder: write the pictures of docs/page.md there
DESK = {"width": 1280, "height": 860}
PHONE = {"width": 390, "height": 844}

expect.set_options(timeout=WAIT)


class Visitor:
    """One visitor with cookies of their own.

    Attributes:
        faults: what a page must never do: a script's error, a request elsewhere, an answer that is no sentence.
        refusals: sentences with which the server refused something.
    """

    def __init__(self, browser: Browser, address: str, **options: Any) -> None:
        self.address = address
        options = {"viewport": DESK, "accept_downloads": True, "reduced_motion": "reduce", **options}
        self.context: BrowserContext = browser.new_context(**options)
        self.context.set_default_timeout(WAIT)
        self.faults: list[str] = []
        self.refusals: list[str] = []
        self.page = self.new_page()

    def new_page(self) -> Page:
        """Another tab of the same visitor."""
        page = self.context.new_page()
        page.on("pageerror", lambda error: self.faults.append(f"script error: {error}"))
        page.on("request", lambda request: self._asked(request.url))
        page.on("response", self._answered)
        page.on("console", lambda said: self._said(said.type, said.text))
        page.on("dialog", lambda dialog: dialog.accept())
        return page

    def _asked(self, url: str) -> None:
        if not url.startswith((self.address, "data:", "blob:")):
            self.faults.append(f"asked elsewhere: {url}")

    def _answered(self, response: Response) -> None:
        if response.status >= 500:
            self.faults.append(f"{response.status} from {response.url}")

    def _said(self, kind: str, text: str) -> None:
        if kind == "error" and "Failed to load resource" not in text:  # refusals are told by the page
            self.faults.append(f"console: {text}")

    def close(self) -> None:
        self.context.close()

    # Going about

    def arrive(self, path: str = "/") -> "Visitor":
        self.page.goto(self.address + path)
        expect(self.at("#pu-page")).to_be_visible()
        return self

    def at(self, selector: str, **having: Any) -> Locator:
        return self.page.locator(selector, **having)

    def go(self, tab: str) -> None:
        """picture, keyframes, film or runs."""
        self.at(f"#pu-tab-{tab}").click()
        expect(self.at(f"#pu-room[data-view={tab}]")).to_be_attached()

    def until(self, expression: str, argument: Any = None) -> None:
        """Wait until a script's expression, or function of the argument, holds.

        Playwright's `wait_for_function` asks again by `eval`, which the page's Content-Security-Policy forbids.
        """
        deadline = time.monotonic() + WAIT / 1000
        while not self.page.evaluate(expression, argument):
            assert time.monotonic() < deadline, f"never came true: {expression}"
            self.page.wait_for_timeout(50)

    def run_id(self) -> str:
        return str(self.page.evaluate("location.hash")).lstrip("#").split("/")[0]

    def get(self, path: str) -> Any:
        """JSON of the REST service, with this visitor's cookie."""
        return self.fetch(f"{self.address}/api/v1/{path}").json()

    def fetch(self, address: str) -> APIResponse:
        """An answer to this visitor's cookie. Asked anew where the server closed the kept connection just then."""
        return self.context.request.get(address, max_retries=RETRIES)

    def status(self) -> Any:
        return self.get(f"runs/{self.run_id()}/status")

    def change(self, settings: dict[str, Any]) -> None:
        """Settings that a test needs and that have controls tested elsewhere; the page is opened anew with them."""
        answer = self.context.request.patch(
            f"{self.address}/api/v1/runs/{self.run_id()}",
            data=settings,
            headers={"origin": self.address},
            max_retries=RETRIES,
        )
        assert answer.ok, answer.text()
        self.page.reload()
        expect(self.at("#pu-room")).to_be_visible()

    # The three steps

    def upload(self, file: Path) -> None:
        self.at("#pu-picture").set_input_files(file)
        expect(self.at("#pu-next")).to_be_enabled()
        expect(self.at("#pu-tags .chip").first).to_be_visible()

    def draw(self) -> None:
        """Keyframes, to their end."""
        self.go("keyframes")
        self.at("#pu-make-keyframes").click()
        self.wait_for_keyframes()

    def wait_for_keyframes(self) -> None:
        expect(self.at("#pu-next-film").or_(self.failed()).first).to_be_visible()
        self.went_well()
        expect(self.at("#pu-keyframes .card.unfinished")).to_have_count(0)

    def film(self) -> None:
        """The film, to its end."""
        self.go("film")
        self.at("#pu-make-film").click()
        self.wait_for_film()

    def wait_for_film(self, minutes: float = WAIT / 60_000) -> None:
        expect(self.at("#pu-download-mp4").or_(self.failed()).first).to_be_visible(timeout=minutes * 60_000)
        self.went_well()
        expect(self.at("#pu-download-mp4")).to_have_attribute("href", re.compile("export"))

    def failed(self) -> Locator:
        """The sentence of a run that did not work."""
        return self.at("#pu-status.failed")

    def went_well(self) -> None:
        assert self.failed().count() == 0, self.failed().first.inner_text()

    def download(self, kind: str) -> Path:
        with self.page.expect_download() as coming:
            self.at(f"#pu-download-{kind}").click()
        return saved(coming.value)

    def trouble(self) -> Locator:
        return self.at("#pu-error .notice p")

    def shot(self, name: str, whole: bool = False) -> None:
        """A picture of the page for docs/page.md, where such are asked for."""
        if SCREENSHOTS:
            Path(SCREENSHOTS).mkdir(parents=True, exist_ok=True)
            self.page.screenshot(path=Path(SCREENSHOTS) / f"{name}.png", full_page=whole)


def saved(download: Download) -> Path:
    """A download under the name that the browser gives it."""
    file = Path(download.path())
    named = file.with_name(f"{file.name}-{download.suggested_filename}")
    return named if named.exists() else file.rename(named)
