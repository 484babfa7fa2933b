"""The page as a browser shows it, in real headless Chromium."""

import json
import shutil
from urllib.parse import quote

import pytest
from ui_serving import serving

EVIL = "<img src=x onerror=alert(1)>"


@pytest.fixture
def views(runs):
    made = runs[1]
    return {
        "#/runs": "Runs",
        "#/run/first": "first",
        "#/run/failed": "failed",
        f"#/run/{quote(EVIL)}": EVIL,
        "#/log/first/train": "Log of train",
        "#/artifacts": "Artifacts",
        "#/artifacts?text=train": "Artifacts with “train”",
        **{f"#/artifact/{made[stage]}": None for stage in made},
        f"#/lineage/{made['export']}": "Lineage of engine · export",
        f"#/compare/{made['train']}/{made['export']}": "What differs",
        "#/models": "Models",
        "#/model/aircraft/1": "aircraft, version 1",
    }


@pytest.mark.parametrize(("width", "dark"), [(1400, False), (400, True)], ids=["wide-light", "narrow-dark"])
def test_every_view_stands_and_asks_nobody_else(address, browser, views, width, dark):
    browser.look(width=width, dark=dark)
    browser.open(address)
    for view, title in views.items():
        browser.go(view)
        assert title is None or browser.run("document.querySelector('h1').textContent") == title
        assert browser.run("document.documentElement.scrollWidth") <= width, view
        assert browser.run("document.querySelectorAll('img[src=x], [onerror], main script').length") == 0, view
    assert browser.errors == []
    assert {request.split("/")[2] for request in browser.requests} == {address.split("/")[2]}
    luminance = "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).reduce((a, b) => a + Number(b), 0)"
    assert (browser.run(luminance) < 3 * 128) == dark


def test_markup_in_names_is_shown_as_it_is_spelt(address, browser, runs):
    browser.open(f"{address}#/artifact/{runs[1]['train']}")
    assert EVIL in browser.run("document.querySelector('h1').textContent")
    browser.go("#/log/first/train")
    assert browser.run("document.querySelector('pre').textContent") == f"epoch 1\n{EVIL}\n"
    browser.go("#/run/failed")
    assert EVIL in browser.run("document.querySelector('.alert').textContent")


def test_the_policy_stops_script_that_gets_into_the_page(address, browser):
    browser.open(address)
    for attack in (
        "document.body.innerHTML = '<b>x</b>'",
        "document.createElement('a').setAttribute('onclick', 'window.hit = 1')",
        "eval('1')",
        "document.createElement('script').src = 'data:text/javascript,'",
    ):
        assert (
            browser.run(f"(() => {{ try {{ {attack}; return 'done'; }} catch {{ return 'blocked'; }} }})()")
            == "blocked"
        )
    assert browser.run("fetch('https://example.org/').then(() => 'sent', () => 'blocked')") == "blocked"


def test_every_control_has_a_name_and_every_view_one_heading(address, browser, views):
    controls = "a, button, input, select, svg[role], table, dialog, pre"
    nameless = f"""[...document.querySelectorAll('{controls}')].filter((node) => {{
      if (node.hidden || node.getAttribute('aria-hidden') === 'true') return false;
      const label = node.id && document.querySelector(`label[for="${{node.id}}"]`);
      const said = node.getAttribute('aria-label') || label?.textContent || node.closest('label')?.textContent;
      return !(said || node.textContent).trim();
    }}).map((node) => node.outerHTML.slice(0, 200))"""
    browser.open(address)
    for view in views:
        browser.go(view)
        assert browser.run(nameless) == [], view
        assert browser.run("document.querySelectorAll('h1').length") == 1
        assert browser.run("[...document.images].every((image) => image.alt)") is True


def test_the_keyboard_reaches_the_stages_and_opens_them(address, browser, runs):
    browser.open(f"{address}#/run/first")
    seen = []
    for _ in range(40):
        browser.press("Tab", 9)
        seen.append(
            browser.run("document.activeElement.getAttribute('aria-label') || document.activeElement.textContent")
        )
        if str(seen[-1]).startswith("train, succeeded"):
            break
    else:
        pytest.fail(f"the stage was not reached: {seen}")
    assert seen[0] == "Skip to the content"
    outline = "getComputedStyle(document.activeElement.querySelector('rect')).strokeWidth"
    assert browser.run(outline) == "3px"
    browser.press("Enter", 13, "\r")
    browser.until(
        f"location.hash === '#/artifact/{runs[1]['train']}' && "
        "document.querySelector('h1')?.textContent.includes('checkpoint')"
    )
    assert browser.run("document.activeElement.tagName") == "H1"  # a screen reader goes on from the heading


def test_slash_goes_to_the_search_and_enter_searches(address, browser):
    browser.open(address)
    browser.press("/", 191, "/")
    assert browser.run("document.activeElement.id") == "find"
    for letter in "bench":
        browser.press(letter, ord(letter.upper()), letter)
    browser.press("Enter", 13, "\r")
    browser.until("document.querySelector('h1')?.textContent === 'Artifacts with “bench”'")
    assert browser.run("document.querySelectorAll('tbody tr').length") == 1


def test_boxes_lie_on_the_pictures_and_a_picture_can_be_enlarged_and_closed(address, browser, runs):
    browser.open(f"{address}#/artifact/{runs[1]['evaluate']}")
    browser.until("document.querySelector('.pictures img')?.complete")
    boxes = "(figure) => [...figure.querySelectorAll('rect')].map((box) => box.getAttribute('class')).sort()"
    kinds = f"[...document.querySelectorAll('.pictures figure')].slice(0, 2).map({boxes})"
    assert browser.run(kinds) == [["found", "invented"], ["missed"]]
    place = """(() => {
      const image = document.querySelector('.pictures img').getBoundingClientRect();
      const box = document.querySelector('.pictures rect.found').getBoundingClientRect();
      return [box.x - image.x, box.y - image.y, box.width, box.height].map((v) => Math.round((64 * v) / image.width));
    })()"""
    assert browser.run(place) == [8, 8, 32, 16]
    browser.run("document.querySelector('.pictures button').focus()")
    browser.press("Enter", 13, "\r")
    browser.until("document.querySelector('dialog[open]')")
    browser.press("Escape", 27)
    browser.until("!document.querySelector('dialog')")
    browser.run("document.getElementById('boxes').click()")
    assert browser.run("getComputedStyle(document.querySelector('.pictures svg')).display") == "none"
    browser.run("[...document.querySelectorAll('button')].find((b) => b.textContent === 'Next').click()")
    browser.until("document.querySelectorAll('.pictures figure').length === 2")


def test_a_run_that_goes_on_is_followed(browser, runs, tmp_path):
    root = tmp_path / "runs"
    shutil.copytree(runs[0] / "failed", root / "live")
    path = root / "live" / "run.json"
    record = json.loads(path.read_text()) | {"state": "RUNNING", "run_id": "live"}
    record["stages"][0] |= {"state": "RUNNING", "error": None}
    path.write_text(json.dumps(record))
    (root / "live" / "logs").mkdir()
    event = {"event": "progress", "time": 1, "description": "rendering", "done": 3, "total": 8, "note": ""}
    (root / "live" / "logs" / "render.events.jsonl").write_text(json.dumps(event) + "\n")
    from aerodet.pipelines.record import lock_run

    with serving("--in", str(root)) as other:
        with lock_run(root / "live"):
            browser.open(f"{other}#/run/live")
            assert browser.run("document.querySelector('.node.run .line').textContent") == "3 of 8"
            assert browser.run("document.querySelector('.node.pending .name').textContent") == "train"
            record["stages"][0] |= {"state": "SUCCEEDED", "seconds": 12.0}
            path.write_text(json.dumps(record))
            browser.until("document.querySelector('.node.ok .line')?.textContent === '12 s'")
        browser.until("document.querySelector('.facts .pill').textContent === 'stopped'")
    assert browser.errors == []


def test_two_runs_are_chosen_and_compared(browser, runs, tmp_path):
    root = tmp_path / "runs"
    for name in ("first", "second"):
        shutil.copytree(runs[0] / "first", root / name)
    bundle = root / "second" / "artifacts" / "export" / "bundle" / "provenance.json"
    bundle.write_text(bundle.read_text().replace(runs[1]["export"], "f" * 64).replace(runs[1]["train"], "d" * 64))
    with serving("--in", str(root)) as other:
        browser.open(f"{other}#/runs")
        assert browser.run("document.querySelector('.tools .button').hidden") is True
        browser.run("document.querySelectorAll('tbody input').forEach((box) => box.click())")
        browser.run("document.querySelector('.tools .button').click()")
        browser.until("document.querySelector('h1')?.textContent === 'What differs'")
        assert browser.run("[...document.querySelectorAll('h2')].map((h) => h.textContent)").count("Data") == 1


def test_a_server_that_went_away_is_said(browser, runs):
    with serving("--in", str(runs[0])) as other:
        browser.open(other)
    browser.go("#/artifacts")
    assert "does not answer" in browser.run("document.querySelector('.alert').textContent")


def test_a_view_that_does_not_exist_is_said(address, browser):
    browser.open(f"{address}#/constructor/x")
    assert browser.run("document.querySelector('.alert').textContent") == "There is no such page."
