"""report.html: what is in it, what is text and never markup, and that it needs nothing from elsewhere."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from sweeplora.__main__ import main
from sweeplora.rundir.lock import hold
from tests.report.studies import BASE, a_preview, a_study, a_trial

EVIL = '</script><script>alert("x")</script><img src=http://x.example/>'


class Seen(HTMLParser):
    """Start tags with their attributes, and the text of each element's kind."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: dict[str, list[str]] = {}
        self._inside = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))
        self._inside = tag

    def handle_data(self, data: str) -> None:
        self.text.setdefault(self._inside, []).append(data)

    @property
    def data(self) -> dict[str, Any]:
        """What the page's script draws."""
        place = next(i for i, (tag, attributes) in enumerate(self._scripts) if attributes.get("id") == "data")
        told: dict[str, Any] = json.loads(self.text["script"][place])
        return told

    @property
    def _scripts(self) -> list[tuple[str, dict[str, str | None]]]:
        return [one for one in self.tags if one[0] == "script"]


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three complete trials, one failed, one pruned; names and prompts that would be markup."""
    monkeypatch.chdir(tmp_path)
    command = ("/x/sweeplora/__main__.py", "+sweep=ranks", "tracking.uri=http://me:hunter2@host:5000")
    folder = a_study(tmp_path / "runs", space={"network.dim": "choice(2, 4, 8)"}, command=command)
    for number, value in enumerate((0.3, 0.2, 0.1)):
        run = a_trial(folder, number, {"network.dim": 2 << number, "optimizer": EVIL}, value)
        a_preview(run, 0, BASE, text=EVIL)
        a_preview(run, 20, (9, 9, 200), text=EVIL)
    a_trial(folder, 3, {"network.dim": 2, "optimizer": "lion"}, None, "failed")
    a_trial(folder, 4, {"network.dim": 4, "optimizer": "lion"}, None, "pruned")
    return folder


def written(folder: Path) -> str:
    assert main(["report", folder.name]) == 0
    return (folder / "report.html").read_text()


def test_names_and_prompts_are_text_and_nothing_is_asked_from_elsewhere(study: Path) -> None:
    text = written(study)
    seen = Seen(text)
    assert [attributes.get("id") for tag, attributes in seen.tags if tag == "script"] == ["data", None]
    for _, attributes in seen.tags:
        for name in ("src", "href"):
            where = attributes.get(name)
            assert where is None or where.startswith(("data:", "#", "./")), where
        assert not any(name.startswith("on") for name in attributes)
    policy = next(attributes["content"] for tag, attributes in seen.tags if "http-equiv" in attributes)
    assert policy is not None and "default-src 'none'" in policy
    assert "url(" not in text and "@import" not in text and "hunter2" not in text
    assert seen.data["trials"][0]["params"]["optimizer"] == EVIL  # the script gets it whole
    assert any(EVIL in cell for cell in seen.text["td"])


def test_it_has_verdict_leaderboard_pictures_losses_and_the_command(study: Path) -> None:
    text = written(study)
    seen = Seen(text)
    assert "one seed: differences below" in text and "<b>trial 2</b>" in text
    rows = [attributes for tag, attributes in seen.tags if tag == "tr" and "data-trial" in attributes]
    assert [row["data-trial"] for row in rows] == ["2", "1", "0", "3", "4"]
    images = [attributes for tag, attributes in seen.tags if tag == "img"]
    kinds = [str(image["src"])[:15] for image in images]
    assert kinds.count("data:image/jpeg") == 4 and kinds.count("data:image/png;") >= 2  # a prompt, three trials; plots
    trial = seen.data["trials"][0]
    expected = [[0, 0.5], [10, pytest.approx(0.3)], [20, pytest.approx(0.1)]]
    assert trial["lines"]["val/loss"] == expected
    assert seen.data["base"] == pytest.approx(0.5)
    commands = seen.text["pre"]
    assert "python -m sweeplora +sweep=ranks tracking.uri=http://host:5000" in commands
    assert "python -m sweeplora +sweep=ranks tracking.uri=http://host:5000 sweep.confirm.top=3" in commands
    assert any("why 3" in said for said in seen.text["span"]) and "why 3" in " ".join(seen.text["li"])
    for name in ("prompt-00", "trial-002", "trial-001", "trial-000"):
        assert (study / f"sheets/{name}.png").is_file()


def test_what_needs_a_script_or_a_mouse_is_there_without(study: Path) -> None:
    assert main(["report", "ranks"]) == 0
    text = (study / "report.html").read_text()
    unscripted = [part.partition("</noscript>")[0] for part in text.split("<noscript>")[1:]]
    assert len(unscripted) == 2 and all("which this browser does not run" in part for part in unscripted)
    sheets = [attributes for tag, attributes in Seen(text).tags if attributes.get("class") == "sheet"]
    assert sheets and all(one["tabindex"] == "0" and one["role"] == "button" for one in sheets)


def test_a_running_study_and_one_without_a_complete_trial_have_a_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = a_study(tmp_path / "runs", state="running")
    text = written(folder)
    assert "No trial is complete yet." in text and '<span class="state interrupted">' in text
    a_trial(folder, 0, {"network.dim": 2}, None, "running")
    with hold(folder / "driver.lock"):
        text = written(folder)
    assert "This study still runs" in text and "status ranks --watch" in text
    assert Seen(text).data["trials"][0]["lines"]["loss"][-1] == [20, pytest.approx(1 / 21)]


def test_links_lead_to_the_files_from_wherever_the_page_is(study: Path, tmp_path: Path) -> None:
    (tmp_path / "else where").mkdir()
    assert main(["report", "ranks", "--out", "else where/page.html"]) == 0
    page = tmp_path / "else where/page.html"
    links = re.findall(r'href="(\./[^"]+)">weights', page.read_text())
    assert len(links) == 3 and all((page.parent / link).resolve().is_file() for link in links)
    assert not (study / "report.html").exists()


def test_a_page_is_written_over_a_page_alone(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", "ranks", "--out", "page.htm"]) == 0
    page = Path("page.htm").read_bytes()
    assert main(["report", "ranks", "--out", "page.htm"]) == 0  # one of ours
    assert len(Path("page.htm").read_bytes()) == len(page)
    mine = {name: f"{name} is mine" for name in ("mine.md", "mine.html", "x.png", "runs/ranks/own.html")}
    for name, text in mine.items():
        Path(name).write_text(text)
    Path("link.html").symlink_to("nowhere")
    config = study / "study.json"
    before = config.read_bytes()
    capsys.readouterr()
    for name in (*mine, "runs/ranks/study.json", "page", "new.png", "link.html", "runs/ranks/sheets"):
        assert main(["report", "ranks", "--out", name]) == 2, name
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith(f"--out={name}: "), name
    assert {name: Path(name).read_text() for name in mine} == mine
    assert config.read_bytes() == before and not Path("new.png").exists() and Path("link.html").is_symlink()
    (study / "report.html").write_text("<html>of an earlier version</html>")
    assert main(["report", "ranks", "--out", "runs/ranks/report.html"]) == 0


def test_what_cannot_be_is_refused_in_one_line(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", "ranks", "--rows", "network.alpha"]) == 2
    assert "--rows=network.alpha: was not searched" in capsys.readouterr().err
    assert main(["report", "ranks", "--out", "nowhere/page.html"]) == 2
    assert "--out=nowhere/page.html: give a file in a folder that exists" in capsys.readouterr().err
    assert main(["report", "rank"]) == 2
    assert "nearest: ranks" in capsys.readouterr().err
    assert not (study / "report.html").exists()


def test_the_verdict_is_the_terminals_with_the_error_rate_that_was_left(study: Path) -> None:
    from sweeplora.report.leaderboard import read_leaderboard
    from sweeplora.report.verdict import judge
    from sweeplora.rundir.record import read_study, write_study

    record = read_study(study)
    assert record is not None
    board = read_leaderboard(study, study.name, ("val/loss",))
    said = {}
    for alpha in (None, 0.005):
        record.alpha = alpha
        write_study(study, record)
        found = judge(board, {}, *([] if alpha is None else [alpha]))
        assert found is not None and found.lines[0] in written(study)
        said[alpha] = found.lines[0]
    assert said[None] != said[0.005]


def test_comparisons_by_eye_have_a_part_of_their_own(study: Path) -> None:
    from tests.report.test_preferences import judged

    assert "python -m sweeplora prefer ranks" in " ".join(Seen(written(study)).text["pre"])
    judged(study, *[(0, 2, "left"), (1, 2, "left"), (0, 1, "left")] * 4)
    text = written(study)
    seen = Seen(text)
    assert EVIL not in text
    place = text.index('<table id="preferences">')
    ranked = re.findall(r'<tr data-trial="(\d)">', text[place : text.index("</table>", place)])
    assert ranked == ["0", "1", "2"]
    assert any("you prefer trial 0; val/loss prefers trial 2" in line for line in seen.text["li"])
    assert "preferred" in seen.text["button"]
    values = [dict(attributes).get("data-v") for tag, attributes in seen.tags if tag == "td"]
    assert sum(value is not None and value.isdigit() and 0 < int(value) < 100 for value in values) >= 3
