"""The page's own files: whole, from nowhere else, and never reading text as HTML."""

import itertools
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from paintsundo.app.cropping import kept_region
from paintsundo.app.rest import api
from paintsundo.app.ui.page import ASSETS, STYLES, scripts
from paintsundo.pipelines.interpolation import frame_positions
from paintsundo.pipelines.keyframe_placement import PLACEMENTS, placed_steps

TEXTS = [*sorted(ASSETS.glob("*.js")), *sorted(ASSETS.glob("*.css")), *sorted(ASSETS.glob("*.svg"))]
NODE = shutil.which("node")
needs_node = pytest.mark.skipif(NODE is None, reason="no node: the browser tests see the same modules at work")


def without_comments(text: str) -> str:
    return re.sub(r"/\*.*?\*/|^\s*//.*$", "", text, flags=re.S | re.M)


def run_js(source: str) -> Any:
    """What a module printed as JSON; `ASSETS` in it is the folder of the page's modules."""
    assert NODE is not None
    ran = subprocess.run(
        [NODE, "--input-type=module", "-e", source.replace("ASSETS", ASSETS.as_uri())],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)


def test_all_that_the_page_asks_for_is_there() -> None:
    assert (ASSETS / "main.js").is_file()
    assert all((ASSETS / name).is_file() for name in (*STYLES, "icon.svg"))
    reached, waiting = set(), ["main.js"]
    while waiting:
        name = waiting.pop()
        if name not in reached:
            reached.add(name)
            waiting += re.findall(r'from "\./([\w.]+)"', (ASSETS / name).read_text(encoding="utf-8"))
    assert reached == {file.name for file in scripts()}  # none is missing, none is left over


@pytest.mark.parametrize("file", TEXTS, ids=lambda file: file.name)
def test_nothing_comes_from_elsewhere(file: Path) -> None:
    text = file.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
    assert not re.search(r"https?:|[\"'(]//|@import|url\(", without_comments(text))


@pytest.mark.parametrize("file", scripts(), ids=lambda file: file.name)
def test_text_is_never_read_as_html_or_code(file: Path) -> None:
    markup = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|srcdoc|createContextualFragment"
    assert not re.search(rf"{markup}|\beval\(|new Function", file.read_text(encoding="utf-8"))


def test_every_icon_that_is_asked_for_is_drawn() -> None:
    drawn = set(re.findall(r"^  (\w+): \"M", (ASSETS / "icons.js").read_text(encoding="utf-8"), flags=re.M))
    asked = set()
    for file in scripts():
        text = file.read_text(encoding="utf-8")
        asked |= set(re.findall(r"\bicon\(\"(\w+)\"\)|iconButton\(\"(\w+)\"|icon: \"(\w+)\"", text))
    assert {name for names in asked for name in names if name} <= drawn


def test_every_address_that_the_page_calls_is_served() -> None:
    # The routes' functions are made, not called: no engine is needed.
    served = {(method, route.path) for route in api(None).routes for method in route.methods}  # type: ignore[arg-type, attr-defined]
    text = (ASSETS / "api.js").read_text(encoding="utf-8")
    called = re.findall(r'call\("(\w+)", (?:run\(id(?:, [`"]([^`"]*)[`"])?\)|[`"]([^`"?]*))', text)
    called += [("GET", path, "") for path in re.findall(r"new URL\(run\(id, [`\"]([^`\"?]*)", text)]
    assert len(called) > 20
    for method, of_run, path in called:
        whole = f"/api/v1/{path}" if path else f"/api/v1/runs/X{of_run}"
        pattern = re.compile(re.sub(r"\$\{\w+\}", "X", whole))
        matches = [
            route for other, route in served if other == method and pattern.fullmatch(re.sub(r"\{\w+\}", "X", route))
        ]
        either = [route for other, route in served if other == method and route.endswith("{action}")]
        assert matches or (either and of_run in ("/film", "/cancel", "/resume")), (method, whole)


@needs_node
@pytest.mark.parametrize("file", scripts(), ids=lambda file: file.name)
def test_modules_are_well_formed(file: Path) -> None:
    ran = subprocess.run([str(NODE), "--check", str(file)], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr


@needs_node
def test_presets_are_those_of_the_command_line() -> None:
    names = [name for name in PLACEMENTS if name != "listed"]
    source = f"""
import {{ placed }} from "ASSETS/steps.js";
const names = {json.dumps(names)};
console.log(JSON.stringify(names.map((name) => Array.from({{ length: 32 }}, (_, index) => placed(name, index + 1)))));
"""
    told = run_js(source)
    assert told == [[placed_steps(name, count) for count in range(1, 33)] for name in names]


@needs_node
def test_steps_that_are_dragged_or_typed() -> None:
    source = """
import { moved, parse, place, stepAt, tidy, widestGap } from "ASSETS/steps.js";
console.log(JSON.stringify({
  past: moved([100, 200, 300], 0, 200),
  beyond: moved([100, 200], 1, 5000),
  below: moved([100, 200], 0, -3),
  tidy: tidy([7.4, 900, 7, 2000, -1]),
  gap: widestGap([100, 200, 900]),
  ends: [place(999), place(0), stepAt(0), stepAt(1), stepAt(-2)],
  there: [0, 1, 500, 999].map((step) => stepAt(place(step))),
  typed: parse("999, 5 5;0", 8),
  odd: parse("a<b>", 9).problem,
  refused: [parse("1 2 3", 2), parse("1000", 9), parse(" ", 9)].map(({ problem, steps }) => Boolean(problem) && !steps),
}));
"""
    told = run_js(source)
    assert told["past"] == {"steps": [199, 200, 300], "step": 199}  # neighbours are never swallowed
    assert told["beyond"] == {"steps": [100, 999], "step": 999}
    assert told["below"] == {"steps": [0, 200], "step": 0}
    assert told["tidy"] == [0, 7, 900, 999]
    assert told["gap"] == 550
    assert told["ends"] == [0, 1, 999, 0, 999]
    assert told["there"] == [0, 1, 500, 999]
    assert told["typed"] == {"steps": [0, 5, 999]}
    assert told["odd"].startswith("“a<b>” is not an operation step")
    assert told["refused"] == [True, True, True]


@needs_node
@pytest.mark.parametrize(("width", "height"), [(256, 256), (312, 208), (128, 640)])
def test_the_region_that_is_shown_is_the_one_that_is_kept(width: int, height: int) -> None:
    source = f"""
import {{ fitSentence, region }} from "ASSETS/geometry.js";
const picture = {{ width: 400, height: 300 }};
const frame = {{ width: {width}, height: {height} }};
const regions = ["crop", "pad"].map((fit) => region(picture, frame, fit));
const sentences = [fitSentence(picture, frame, "crop"), fitSentence(picture, picture, "pad")];
console.log(JSON.stringify([...regions, ...sentences]));
"""
    kept, padded, sentence, whole = run_js(source)
    left, top, right, bottom = kept_region((400, 300), width, height)
    assert [kept["x"], kept["y"]] == pytest.approx([left * 400, top * 300])
    assert [kept["x"] + kept["width"], kept["y"] + kept["height"]] == pytest.approx([right * 400, bottom * 300])
    assert padded["x"] <= 1e-9
    assert padded["y"] <= 1e-9
    assert padded["width"] / padded["height"] == pytest.approx(width / height)
    assert re.fullmatch(r"\d+ % of the (width|height) is cut off\.", sentence)
    assert whole == "The whole picture is kept."


@needs_node
def test_frames_of_finished_pairs_are_found_where_the_film_has_them() -> None:
    pairs, frames = 3, 16
    total = pairs * (frames - 1)
    done = [True, False, True]  # pairs from the finished end
    source = f"""
import {{ isThere, layout, operationSteps }} from "ASSETS/frames.js";
const origins = ["picture", "generated", "upload", "blank"];
const keyframes = origins.map((origin, index) => ({{ origin, operation_step: [0, 400, null, null][index] }}));
const plan = layout({{ keyframes, pairs_done: {json.dumps(done)}, frames_total: {total}, has_film: false }});
const frames = Array.from({{ length: {total} }}, (_, frame) => isThere(plan.pieces, frame));
const places = plan.places.map(([frame, {{ origin }}]) => [frame, origin]);
console.log(JSON.stringify([frames, places, operationSteps(plan.places, {total}), layout({{}})]));
"""
    there, places, steps, nothing = run_js(source)
    expected = [False] * total
    for pair, finished in enumerate(done):
        for _, position in frame_positions(pair, pairs, frames):
            expected[position] = finished
    assert there == expected
    firsts = [frame_positions(pair, pairs, frames)[0][1] for pair in range(pairs)]
    assert places == [[0, "blank"], [firsts[2], "upload"], [firsts[1], "generated"], [firsts[0], "picture"]]
    assert steps[0] == 999
    assert steps[-1] == 0
    assert steps[firsts[1]] == 400
    assert all(one >= other for one, other in itertools.pairwise(steps))
    assert nothing == {"total": 0, "pieces": [], "places": []}


@needs_node
def test_films_play_in_both_directions_and_stop_at_their_ends() -> None:
    source = """
import { Clock, clockText, timeLeft } from "ASSETS/clock.js";
const clock = new Clock(4);
clock.last = 10;
clock.play();
clock.advance(1);
const forward = clock.frame;
clock.speed = 8;
clock.advance(1);
const end = [clock.frame, clock.playing];
clock.play();
const again = clock.frame;
clock.pause();
clock.direction = -1;
clock.speed = 0.5;
clock.seek(0);
clock.play();
const fromTheEnd = clock.frame;
clock.advance(1);
const back = clock.frame;
clock.seek(99);
const none = new Clock();
none.play();
const texts = [clockText(65), ...[null, 0.2, 20, 130, 8000].map(timeLeft)];
console.log(JSON.stringify({ forward, end, again, fromTheEnd, back, last: clock.frame, empty: none.playing, texts }));
"""
    told = run_js(source)
    assert told["forward"] == 4
    assert told["end"] == [10, False]
    assert told["again"] == 0
    assert told["fromTheEnd"] == 10
    assert told["back"] == 8
    assert told["last"] == 10
    assert told["empty"] is False
    assert told["texts"] == [
        "1:05",
        "",
        "a moment left",
        "about 20 seconds left",
        "about 2 minutes left",
        "about 2 hours left",
    ]


@needs_node
def test_a_prompt_is_divided_into_words_and_put_together_again() -> None:
    source = """
import { join, split } from "ASSETS/words.js";
const words = split("1girl,  solo ,(red, blue:1.2), solo,\\nhat,");
console.log(JSON.stringify([words, split(""), join(split("a, <b>c</b>"))]));
"""
    words, none, again = run_js(source)
    assert words == ["1girl", "solo", "(red, blue:1.2)", "hat"]
    assert none == []
    assert again == "a, <b>c</b>"


@needs_node
def test_what_two_runs_were_set_to_differently() -> None:
    source = """
globalThis.document = { createElementNS: () => ({}) };
globalThis.matchMedia = () => ({});
const { differences } = await import("ASSETS/side_by_side.js");
const one = { seed: 1, steps: 5, prompt: "", width: null, buckets: null };
const other = { seed: 2, steps: 5, prompt: "a", width: 64, buckets: [[1, 2]], extra_one: [1] };
console.log(JSON.stringify(differences(one, other)));
"""
    assert run_js(source) == [
        ["seed", "1", "2"],
        ["prompt", "none", "a"],
        ["width", "as the picture", "64"],
        ["buckets", "as the keyframes", "[[1,2]]"],
        ["extra one", "none", "1"],
    ]
