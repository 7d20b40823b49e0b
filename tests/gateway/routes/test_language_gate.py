"""LANGUAGE_GATE: English passes, what is plainly not is told or refused."""

from __future__ import annotations

import pytest

from gateway.routes.language_gate import foreign_language
from tests.gateway.conftest import Service, StartService

GERMAN = "Es war einmal ein kleines Mädchen, das mit seiner Mutter im Wald lebte"


@pytest.mark.parametrize(
    "text",
    [
        "Once upon a time there was a little girl",
        "The cat sat on",
        "Hello",
        "",
        "12345 67890 !!!",
        "Tim had a pet snail named Sam",
        "Mia baked a cake",
        "def fibonacci(n):\n    if n < 2:\n        return n",
        "In a shocking finding, scientists discovered a herd of unicorns",
        "Łódź",
        "\ud800",
        "\U0001f600" * 30,
    ],
)
def test_english_and_what_is_too_short_to_tell_passes(text: str) -> None:
    assert foreign_language(text) is None


@pytest.mark.parametrize(
    ("text", "language"),
    [
        (GERMAN, "de"),
        ("Il était une fois une petite fille qui vivait à la campagne", "fr"),
        ("Había una vez una niña pequeña que vivía en el bosque", "es"),
        ("Жила-была маленькая девочка", "ru"),
        ("从前有一个小女孩", "zh"),
        ("昔々あるところにおじいさんが", "ja"),
    ],
)
def test_other_languages_are_told(text: str, language: str) -> None:
    assert foreign_language(text) == language


def test_by_default_a_header_warns(service: Service) -> None:
    warned = service.complete(GERMAN, max_tokens=2)
    assert warned.status_code == 200 and warned.headers["x-language-warning"] == "de"
    assert "x-language-warning" not in service.complete(max_tokens=2).headers


def test_refused_as_the_service_it_replaces_refused(start_service: StartService) -> None:
    refusing = start_service(LANGUAGE_GATE="refuse")
    plain = refusing.post("/generate", json={"input": GERMAN})
    assert plain.status_code == 200
    assert plain.json()["body"] == {
        "query": GERMAN,
        "generated": "lang_det_err",
        "result": "lang_det_err",
    }
    for reply in (
        refusing.complete(GERMAN),
        refusing.complete(["One", GERMAN * 3]),  # type: ignore[arg-type]
        refusing.post("/predictions/gpt2", data=GERMAN.encode()),
    ):
        assert reply.status_code == 400
        assert reply.json()["error"]["code"] == "lang_det_err"
    assert refusing.complete().status_code == 200
