"""The page of a report in a real browser: on a phone, on a wide screen and on paper, with hostile names in it."""

import itertools
import json
import os
import shutil
from pathlib import Path
from urllib.parse import unquote, urlparse

import pytest
from selenium import webdriver
from selenium.common.exceptions import NoAlertPresentException
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.select import Select

from src.analysis.claims.claim_file import read_claims
from src.analysis.report.page import render_page, write_report
from src.analysis.report.report import make_report
from src.analysis.report.sections import Section, Table
from src.cli.overrides import CONF
from src.display.gallery import write_gallery
from tests.analysis import sweeps
from tests.analysis.recorded import replicates
from tests.display.examples import example

SWEEP = "<img src=x onerror=alert(1)>"
IMAGE = "<script>alert(1)</script>"
REASON = "RuntimeError: " + "/a/path/without/a/space" * 10
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
PHONE, SCREEN, PAPER = 360, 1280, 703  # CSS pixels; the last are the 186 mm of A4 between the page's margins
RIGHT_ENDS = """
    return [...document.querySelectorAll(arguments[0])].filter(element => !element.closest(arguments[1]))
        .map(element => element.getBoundingClientRect().right)
"""

SCRIPTS = "return [...document.scripts].map(script => script.id)"
OWN_SCRIPTS = ["curve-data", ""]


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """A headless Chromium of its own; nothing is downloaded for it."""
    chromium, driver = _installed(*CHROMIUM), _installed("chromedriver")
    if not (chromium and driver):
        say = pytest.fail if os.environ.get("SEGSWEEP_NEEDS_BROWSER") == "1" else pytest.skip
        say("Chromium or chromedriver is missing; on Debian: apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    with webdriver.Chrome(options=options, service=Service(driver)) as running:
        yield running


@pytest.fixture(scope="module")
def full_page(tmp_path_factory):
    """Of three settings with claims, effects, curves, images, a contact sheet and a failed run."""
    sweep = tmp_path_factory.mktemp("full") / SWEEP
    replicates(sweep, "augmentation=none", "scheduler=cosine", mean=0.75, images=8)
    replicates(sweep, "augmentation=flip_jitter", "scheduler=cosine", mean=0.8, images=8)
    best, *_ = replicates(sweep, "augmentation=flip_jitter", "scheduler=onecycle", mean=0.85, images=8)
    groups = {name: [example(48, 64, stem=IMAGE)] for name in ("worst", "median", "best")}
    write_gallery(best.folder / "evaluation" / "test", groups, [], best.folder.name)
    for scores in sweep.glob("*/test_images.csv"):
        scores.write_text(scores.read_text().replace("Pet_3,", f"{IMAGE},"))
    sweeps.fail(sweep, REASON, model="resnet34_unet")
    report = make_report([sweep], [read_claims(CONF / "claims" / "report_a.yaml")])
    return write_report(report, sweep / "report")


@pytest.fixture(scope="module")
def strange_page(tmp_path_factory):
    """Of runs in whose files every text that is free is a script: names, tags, notes, reasons, images, breeds, code."""
    sweep = tmp_path_factory.mktemp("strange") / SWEEP
    replicates(sweep, "augmentation=none", mean=0.75, images=8)
    best, *_ = replicates(sweep, "augmentation=flip_jitter", mean=0.8, images=8)
    write_gallery(
        best.folder / "evaluation" / "test", {"worst": [example(48, 64, stem=IMAGE)]}, [], f"{best.folder.name} {IMAGE}"
    )
    sweeps.fail(sweep, f"ValueError: {IMAGE}", model=IMAGE.replace("/", "\\"))
    for folder in [file.parent for file in sweep.glob("*/run.json")]:
        run = json.loads((folder / "run.json").read_text())
        strange = {"tags": [IMAGE], "notes": IMAGE, "device": IMAGE, "git": {"commit": "</p>" + IMAGE, "changed": True}}
        strange |= {"versions": {IMAGE: IMAGE}, "machine": {"system": IMAGE, "cores": IMAGE, "host": IMAGE}}
        choices = run["choices"] | {"model": IMAGE, "augmentation": run["choices"].get("augmentation", "") + IMAGE}
        strange |= {"choices": choices, "numerics": {"name": IMAGE}}
        (folder / "run.json").write_text(json.dumps({**run, **strange}))
        (folder / "overrides.yaml").write_text(json.dumps([f"notes={IMAGE}", '"><script>alert(1)</script>']))
        if (scores := folder / "test_images.csv").exists():
            scores.write_text(scores.read_text().replace("Pet_3,", f"{IMAGE}_3,"))  # a stem is <breed>_<number>
    report = make_report([sweep], [read_claims(CONF / "claims" / "report_a.yaml")])
    return write_report(report, sweep / "report")


@pytest.fixture(scope="module")
def empty_page(tmp_path_factory):
    """Of a sweep of which no run has finished."""
    sweep = tmp_path_factory.mktemp("empty") / "sweep"
    sweeps.fail(sweep, REASON)
    sweeps.plan(sweep, {"seed": 0}, {"seed": 1})
    return write_report(make_report([sweep]), sweep / "report")


@pytest.fixture(
    params=[("full_page", PHONE), ("full_page", SCREEN), ("empty_page", PHONE), ("empty_page", SCREEN)],
    ids=lambda param: f"{param[0]}-{param[1]}",
)
def shown(request, browser):
    """The browser with a page in it, at one width."""
    name, width = request.param
    return _opened(browser, request.getfixturevalue(name), width)


@pytest.fixture
def full(browser, full_page):
    """The browser with the full page on a wide screen."""
    return _opened(browser, full_page, SCREEN)


def test_it_loads_without_a_complaint_and_without_asking_the_network(shown):
    assert shown.get_log("browser") == []
    messages = [json.loads(entry["message"])["message"] for entry in shown.get_log("performance")]
    requests = [one["params"] for one in messages if one["method"] == "Network.requestWillBeSent"]
    asked = [one["request"]["url"] for one in requests if one["documentURL"] == shown.current_url]
    assert shown.current_url in asked
    assert [url for url in asked if url != shown.current_url and not url.startswith("data:")] == []


def test_nothing_is_wider_than_the_screen_but_what_scrolls_by_itself(shown):
    width = shown.execute_script("return document.documentElement.clientWidth")
    assert shown.execute_script("return document.documentElement.scrollWidth") <= width
    assert max(shown.execute_script(RIGHT_ENDS, "body *", ".scroll *")) <= width + 0.5


def test_headings_begin_with_one_title_and_jump_over_no_level(shown):
    levels = [int(heading.tag_name[1]) for heading in shown.find_elements(By.CSS_SELECTOR, "h1, h2, h3, h4, h5, h6")]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))


def test_every_link_leads_to_a_place_in_the_page_or_to_a_file_of_a_run(shown):
    links = [link.get_dom_attribute("href") for link in shown.find_elements(By.TAG_NAME, "a")]
    places = {element.get_dom_attribute("id") for element in shown.find_elements(By.CSS_SELECTOR, "[id]")}
    assert "#main" in links and "#settings" in links
    page = Path(unquote(urlparse(shown.current_url).path))
    assert [one for one in links if one[:1] == "#" and one[1:] not in places] == []
    assert [one for one in links if one[:1] != "#" and not (page.parent / unquote(one)).exists()] == []
    config = next(page.parent.parent.glob("*/config.yaml"))
    assert f"../{config.parent.name}/config.yaml" in map(unquote, links)


def test_no_part_of_the_page_is_empty(shown):
    for section in shown.find_elements(By.TAG_NAME, "section"):
        assert section.find_elements(By.CSS_SELECTOR, "p, table, img, dl"), section.text
    galleries = shown.find_elements(By.CLASS_NAME, "figures")
    assert [gallery for gallery in galleries if not gallery.get_property("textContent").strip()] == []


def test_tables_can_be_read_and_scrolled_without_eyes_or_mouse(shown):
    tables = shown.find_elements(By.TAG_NAME, "table")
    assert tables
    for table in tables:
        region = table.find_element(By.XPATH, "..")
        assert region.get_dom_attribute("tabindex") == "0" and region.get_dom_attribute("role") == "region"
        assert region.get_dom_attribute("aria-label") == table.find_element(By.TAG_NAME, "caption").text
        cells = table.find_elements(By.TAG_NAME, "th")
        assert {cell.get_dom_attribute("scope") for cell in cells} == {"col", "row"}


def test_every_picture_is_shown_and_described(full):
    pictures = full.find_elements(By.TAG_NAME, "img")
    # scores, parallel coordinates, effects, factors image by image, curves, the contact sheet
    assert len(pictures) == 16
    for picture in pictures:
        assert full.execute_script("return arguments[0].complete && arguments[0].naturalWidth > 0", picture)
        caption = picture.find_element(By.XPATH, "following-sibling::figcaption").get_property("textContent")
        assert len(caption) > 20 and picture.get_dom_attribute("alt") == caption


def test_the_contact_sheet_of_a_run_of_the_best_setting_can_be_read_on_a_phone_too(full):
    sheet = full.find_element(By.CSS_SELECTOR, "#images ~ .scroll .sheet img")
    assert "onecycle-flip_jitter-seed0" in sheet.get_dom_attribute("alt")
    assert full.execute_script("return arguments[0].naturalWidth", sheet) == 1200
    _resize(full, PHONE)
    inner, outer = full.execute_script(
        "const own = arguments[0].closest('.scroll'); return [own.scrollWidth, own.clientWidth]", sheet
    )
    assert sheet.size["width"] >= 670 and inner > outer  # it scrolls by itself


def test_names_stay_text(full):
    assert full.title == f"{SWEEP}: segsweep report"
    assert full.find_element(By.TAG_NAME, "h1").text == SWEEP
    assert IMAGE in [cell.text for cell in full.find_elements(By.CSS_SELECTOR, "#images ~ * th")]
    assert full.execute_script(SCRIPTS) == OWN_SCRIPTS
    assert full.find_elements(By.CSS_SELECTOR, "img[src=x]") == []


def test_scripts_in_any_file_of_a_run_are_harmless_text(browser, strange_page):
    shown = _opened(browser, strange_page, SCREEN)
    with pytest.raises(NoAlertPresentException):
        browser.switch_to.alert.accept()
    assert browser.get_log("browser") == []
    assert shown.execute_script(SCRIPTS) == OWN_SCRIPTS
    assert IMAGE in shown.find_element(By.CLASS_NAME, "legend").text  # the names of curves, from JSON in the page
    assert shown.find_elements(By.CSS_SELECTOR, "img[src=x], iframe, object, embed, [onerror], [onload]") == []
    text = shown.find_element(By.TAG_NAME, "body").get_property("textContent")
    assert text.count(IMAGE) > 10  # shown as it was written
    for place in ("#settings", "#images", "#runs", "#repeat"):
        section = shown.find_element(By.CSS_SELECTOR, place).find_element(By.XPATH, "..")
        assert IMAGE in section.get_property("textContent"), place


def test_a_figure_opened_by_itself_runs_no_script(browser, strange_page):
    figures = sorted((strange_page.parent / "figures").glob("*.svg"))
    assert figures
    for figure in figures:
        shown = _opened(browser, figure, SCREEN)
        with pytest.raises(NoAlertPresentException):
            browser.switch_to.alert.accept()
        assert shown.execute_script("return document.querySelectorAll('script').length") == 0


def test_the_answer_comes_first_and_then_the_tables_from_the_question_to_the_method(full):
    assert "Best mean test Dice: unet, adamw, onecycle" in full.find_element(By.CSS_SELECTOR, "header .answer").text
    sections = [one.get_dom_attribute("aria-labelledby") for one in full.find_elements(By.TAG_NAME, "section")]
    assert sections == [
        *("settings", "pairs", "effects", "curves", "images", "runs", "claims", "printed", "repeat", "methods")
    ]


def test_verdicts_are_words_with_their_numbers_and_claims_without_runs_are_one_line(full):
    verdicts, comparisons = (
        [row.text for row in table.find_elements(By.CSS_SELECTOR, "tbody tr")]
        for table in full.find_elements(By.CSS_SELECTOR, "#claims ~ .tables table")
    )
    assert [row.split()[:2] for row in verdicts[:4]] == [[f"A{number}", "undecided"] for number in (1, 2, 3)] + [
        ["A4", "holds"]
    ]
    assert "OneCycle beats cosine on test Dice for UNet" in verdicts[3]
    (compared,) = [row for row in comparisons if row.startswith("A4 ")]
    for expected in ("points", "3 + 3 8 images", "+0.22 points"):
        assert expected in compared


def test_a_table_is_sorted_by_number_and_filtered_by_words(full):
    (table,) = full.find_elements(By.CSS_SELECTOR, "#settings ~ .tables table")
    head = next(one for one in table.find_elements(By.CSS_SELECTOR, "thead th") if one.text.startswith("test Dice"))
    column = full.execute_script("return arguments[0].cellIndex", head)
    dice = []
    for expected in ("ascending", "descending"):
        head.find_element(By.TAG_NAME, "button").send_keys(Keys.ENTER)
        assert head.get_dom_attribute("aria-sort") == expected
        rows = table.find_elements(By.CSS_SELECTOR, "tbody tr")
        dice.append([float(row.find_elements(By.XPATH, "*")[column].text[:6]) for row in rows if "±" in row.text])
    assert dice[0] == sorted(dice[0]) == dice[1][::-1] and len(set(dice[0])) == 3
    (runs,) = full.find_elements(By.CSS_SELECTOR, "#runs ~ .tables table")
    runs.find_element(By.TAG_NAME, "input").send_keys("ONECYCLE seed1")
    assert [row.text[:8] for row in runs.find_elements(By.CSS_SELECTOR, "tbody tr") if row.text] == ["unet-bce"]
    assert runs.find_element(By.TAG_NAME, "output").text == "1 of 10 rows"


def test_a_time_and_a_negative_number_are_sorted_as_such_and_empty_cells_last(browser, tmp_path):
    cells = ["1m 10s", "9s", "", "1h 00m", "-"]
    tables = [
        Table("times", {"time": cells}, sortable=True),
        Table("points", {"p": ["−1.5", "0.2", "−20"]}, sortable=True),
    ]
    page = tmp_path / "index.html"
    page.write_text(render_page("a", "b", [], [Section("settings", "Settings", tables=tables)]))
    shown = _opened(browser, page, SCREEN)
    for button in shown.find_elements(By.CSS_SELECTOR, "thead button"):
        button.click()
    times, points = shown.find_elements(By.TAG_NAME, "tbody")
    assert times.text.split("\n") == ["9s", "1m 10s", "1h 00m", "-"] and points.text.split("\n") == [
        "−20",
        "−1.5",
        "0.2",
    ]
    assert shown.get_log("browser") == []


def test_curves_are_switched_off_hovered_zoomed_and_of_any_metric(full):
    plot = full.find_element(By.CLASS_NAME, "plot")
    svg = plot.find_element(By.CSS_SELECTOR, ".frame > svg")
    assert not full.find_element(By.CSS_SELECTOR, ".static").is_displayed()

    def number_of_lines():
        return len(svg.find_elements(By.CSS_SELECTOR, "path[stroke]"))

    assert number_of_lines() == 3
    plot.find_elements(By.CSS_SELECTOR, ".legend input")[0].click()
    assert number_of_lines() == 2
    Select(plot.find_elements(By.TAG_NAME, "select")[0]).select_by_visible_text("learning rate")
    svg.send_keys(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
    values = plot.find_element(By.CLASS_NAME, "values")
    assert values.text.startswith("epoch 2\nlearning rate\n") and values.text.count("0.0008333") == 2  # 0.001 * 5 / 6
    ActionChains(full).move_to_element(svg).perform()
    assert values.text.startswith("epoch 3\n")
    Select(plot.find_elements(By.TAG_NAME, "select")[2]).select_by_visible_text("lines")
    assert number_of_lines() == 6  # of two settings with three seeds
    ActionChains(full).move_to_element(svg).click_and_hold().move_by_offset(300, 0).release().perform()
    low, high = plot.find_elements(By.CSS_SELECTOR, "input[type=number]")
    assert 2.5 < float(low.get_property("value")) < 3.5 and 4 < float(high.get_property("value")) < 6
    ActionChains(full).double_click(svg).perform()
    assert low.get_property("value") == high.get_property("value") == ""
    assert full.get_log("browser") == []


def test_dark_pages_have_light_text_and_inverted_figures(full):
    full.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": "dark"}]}
    )
    paper, ink, figure, sheet = full.execute_script(
        "return [[document.body, 'backgroundColor'], [document.body, 'color'], "
        "[document.querySelector('.figures img'), 'filter'], [document.querySelector('.sheet img'), 'filter']]"
        ".map(([element, key]) => getComputedStyle(element)[key])"
    )
    full.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    assert (paper, ink) == ("rgb(15, 19, 24)", "rgb(230, 237, 243)")
    assert figure.startswith("invert(") and sheet == "none"  # photos keep their colors


def test_without_scripts_figures_stand_in_for_the_curves(browser, full_page):
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    shown = _opened(browser, full_page, SCREEN)
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
    assert shown.find_element(By.CSS_SELECTOR, ".static img").is_displayed()
    assert not shown.find_element(By.CLASS_NAME, "plot").is_displayed()
    assert shown.find_elements(By.TAG_NAME, "button") == []


def test_the_first_tab_stop_skips_to_the_content(full):
    full.find_element(By.TAG_NAME, "body").send_keys(Keys.TAB)
    stop = full.switch_to.active_element
    assert stop.get_dom_attribute("href") == "#main" and stop.rect["x"] >= 0


def test_the_widest_table_scrolls_by_itself_on_a_phone(full):
    _resize(full, PHONE)
    inner, outer = full.execute_script(
        "const own = document.querySelector('#settings ~ .tables .scroll'); return [own.scrollWidth, own.clientWidth]"
    )
    assert inner > outer


def test_nothing_is_cut_off_on_paper(full):
    _resize(full, PAPER)
    full.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    assert max(full.execute_script(RIGHT_ENDS, "main *", "nothing")) <= PAPER + 0.5
    full.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})


def _installed(*names):
    return next((path for name in names if (path := shutil.which(name))), None)


def _opened(browser, page, width):
    for log in ("browser", "performance"):
        browser.get_log(log)  # what came before is no longer of interest
    _resize(browser, width)
    browser.get(page.as_uri())
    return browser


def _resize(browser, width):
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width == PHONE}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
