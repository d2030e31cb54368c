"""The page's server: what it tells, what it writes down, and whom it turns away."""

from __future__ import annotations

import base64
import http.client
import io
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from PIL import Image

from sweeplora.errors import UserError
from sweeplora.report.prefer.server import PreferServer
from sweeplora.report.prefer.session import Session
from sweeplora.rundir.preferences import read_judgements
from tests.report.studies import a_preview, a_study, a_trial

COLOURS = ((200, 0, 0), (0, 160, 0), (0, 0, 200))


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """Three trials, each with pictures of its own colour for two prompts, and the base model's before them."""
    folder = a_study(tmp_path)
    for number, colour in enumerate(COLOURS):
        run = a_trial(folder, number, {"network.dim": 2**number}, 0.1 * (1 + number))
        for prompt, text in enumerate(("a red apple", "a blue boat")):
            a_preview(run, 0, (250, 250, 0), prompt, text)
            a_preview(run, 20, colour, prompt, text)
    return folder


@pytest.fixture
def page(study: Path) -> Iterator[PreferServer]:
    session = Session(study, ("val/loss",), Random(0))
    with PreferServer(session, 0) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield server
        server.shutdown()
    session.close()


def ask(page: PreferServer, what: str, body: Any = None, **headers: str) -> tuple[int, Any]:
    """A request as the page sends it, with some of its headers replaced: status and JSON (or bytes)."""
    connection = http.client.HTTPConnection("127.0.0.1", page.server_port, timeout=120)
    usual = {"Host": page.host, "Origin": f"http://{page.host}", "Content-Type": "application/json"}
    usual |= {name.replace("_", "-"): value for name, value in headers.items()}
    sent = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    connection.request("GET" if body is None else "POST", f"/{page.token}/{what}", sent, usual)
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    is_json = answer.headers.get_content_type() == "application/json"
    return answer.status, json.loads(content) if is_json else content


def colour_of(address: str) -> int:
    """Which trial's colour the middle of a side's first picture has."""
    image = Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2]))).convert("RGB")
    pixel = image.getpixel((image.width // 4, image.height // 3))
    assert isinstance(pixel, tuple)
    return min(range(3), key=lambda one: sum(abs(a - b) for a, b in zip(pixel, COLOURS[one], strict=True)))


def test_a_pick_is_written_down_for_the_trial_whose_pictures_were_on_that_side(page: PreferServer, study: Path) -> None:
    for round_, picked in enumerate(("left", "right", "tie")):
        status, facts = ask(page, "pair")
        assert status == 200 and facts["count"] == round_
        sides = colour_of(facts["left"]), colour_of(facts["right"])
        status, after = ask(page, "pick", {"pair": facts["pair"], "picked": picked})
        last = read_judgements(study)[-1]
        assert status == 200 and after["count"] == round_ + 1 and last.picked == picked
        assert (int(last.left[:3]), int(last.right[:3])) == sides


def test_no_trial_is_named_before_it_was_picked_and_both_are_named_after(page: PreferServer) -> None:
    status, html = ask(page, "")
    assert status == 200 and b"trial 0" not in html and b"http://" not in html and b"https://" not in html
    _, facts = ask(page, "pair")
    kept = {key: value for key, value in facts.items() if key not in ("left", "right")}
    assert kept == {"pair": 0, "count": 0, "trials": 3, "sure": None, "lacking": 0, "told": ""}
    sides = colour_of(facts["left"]), colour_of(facts["right"])
    _, after = ask(page, "pick", {"pair": 0, "picked": "right"})
    named = [f"trial {one} (dim {2**one})" for one in reversed(sides)]
    assert after["told"] == f"You picked {named[0]} over {named[1]}."


def test_undo_takes_the_last_pick_back_and_shows_its_pair_again(page: PreferServer, study: Path) -> None:
    _, facts = ask(page, "pair")
    first = {colour_of(facts["left"]), colour_of(facts["right"])}
    ask(page, "pick", {"pair": facts["pair"], "picked": "left"})
    status, after = ask(page, "undo", {})
    assert status == 200 and after["count"] == 0 and read_judgements(study) == []
    assert {colour_of(after["left"]), colour_of(after["right"])} == first
    assert ask(page, "undo", {})[1]["count"] == 0  # there is nothing more to take back


def test_a_pick_of_a_pair_that_is_no_longer_shown_does_not_count(page: PreferServer, study: Path) -> None:
    _, facts = ask(page, "pair")
    assert ask(page, "pick", {"pair": facts["pair"], "picked": "left"})[0] == 200
    status, current = ask(page, "pick", {"pair": facts["pair"], "picked": "left"})  # the key was pressed twice
    assert (status, current["count"]) == (409, 1) and len(read_judgements(study)) == 1


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (("pair", None, {"Host": "evil.example"}), 403),
        (("pair", None, {"Host": "localhost"}), 403),
        (("pick", {"pair": 0, "picked": "left"}, {"Host": "evil.example"}), 403),
        (("pick", {"pair": 0, "picked": "left"}, {"Origin": "http://evil.example"}), 403),
        (("pick", {"pair": 0, "picked": "left"}, {"Origin": "null"}), 403),
        (("pick", {"pair": 0, "picked": "left"}, {"Content_Type": "text/plain"}), 400),
        (("pick", {"pair": 0, "picked": "middle"}, {}), 400),
        (("pick", {"pair": "0", "picked": "left"}, {}), 400),
        (("pick", {"picked": "left"}, {}), 400),
        (("pick", b"[1]", {}), 400),
        (("pick", b"{", {}), 400),
        (("pick", b" " * 5000, {}), 400),
        (("other", {}, {}), 404),
        (("../etc/passwd", None, {}), 404),
    ],
)
def test_other_pages_and_nonsense_are_turned_away(
    page: PreferServer, study: Path, request_: tuple[str, Any, dict[str, str]], status: int
) -> None:
    what, body, headers = request_
    assert ask(page, what, body, **headers)[0] == status
    assert read_judgements(study) == []
    assert ask(page, "pair")[0] == 200


def test_without_the_secret_there_is_nothing(page: PreferServer) -> None:
    for path in ("/", "/pair", f"/{'x' * 22}/", f"/{'x' * 22}/pair", "/%ff/pair", "/\xfc/pair", "*"):
        with socket.create_connection(("127.0.0.1", page.server_port), timeout=120) as connection:
            connection.sendall(f"GET {path} HTTP/1.0\r\nHost: {page.host}\r\n\r\n".encode("latin-1"))
            assert connection.recv(20).startswith(b"HTTP/1.0 404")


def test_the_page_may_ask_its_own_server_alone(page: PreferServer) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", page.server_port, timeout=120)
    connection.request("GET", f"/{page.token}/", headers={"Host": page.host})
    policy = connection.getresponse().headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "connect-src 'self'" in policy and "frame-ancestors 'none'" in policy
    connection.close()
    assert page.server_address[0] == "127.0.0.1"


def test_ending_says_the_result_and_the_server_stops(study: Path) -> None:
    session = Session(study, ("val/loss",), Random(0))
    with PreferServer(session, 0) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        _, facts = ask(server, "pair")
        ask(server, "pick", {"pair": facts["pair"], "picked": "left"})
        status, ended = ask(server, "end", {})
        thread.join(timeout=120)
        assert not thread.is_alive()
    session.close()
    assert status == 200 and ended["lines"][0].startswith("you prefer trial ")


def test_a_taken_port_and_a_study_without_two_trials_are_refused(
    study: Path, page: PreferServer, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=f"--port={page.server_port}: cannot be listened on"):
        PreferServer(page.session, page.server_port)
    alone = a_study(tmp_path, "alone")
    a_preview(a_trial(alone, 0, {}, 0.1), 20, COLOURS[0])
    a_trial(alone, 1, {}, 0.1)
    with pytest.raises(UserError, match="it has 1 complete trials with previews, and two are needed"):
        Session(alone, ("val/loss",), Random(0))
    a_preview(a_trial(alone, 2, {}, 0.1), 20, COLOURS[0], text="another prompt")
    with pytest.raises(UserError, match="none of which share a prompt"):
        Session(alone, ("val/loss",), Random(0))


def test_a_trial_that_ends_while_the_page_is_open_is_compared_too(page: PreferServer, study: Path) -> None:
    run = a_trial(study, 3, {"network.dim": 8}, 0.5)
    for prompt, text in enumerate(("a red apple", "a blue boat")):
        a_preview(run, 20, (90, 90, 90), prompt, text)
    for _ in range(3):
        ask(page, "pick", {"pair": ask(page, "pair")[1]["pair"], "picked": "tie"})
    assert any(name.startswith("003-") for one in read_judgements(study) for name in one[:2])
