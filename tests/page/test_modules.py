"""The page's modules that need no screen, run in the browser they are made for."""

from __future__ import annotations

from playwright.sync_api import Page

EVENTS = (
    ": hello\r\n\r\n"
    'data: {"text": "caf\u00e9 \u2014 \U0001f98a"}\n\n'
    ": bye\n\n"
    "event: message\ndata: one\ndata: two\n\n"
    "data:[DONE]\r\n\r\n"
)
WANTED = ['{"text": "caf\u00e9 \u2014 \U0001f98a"}', "one\ntwo", "[DONE]"]


def test_events_are_read_however_the_bytes_are_split(page: Page) -> None:
    read = """async text => {
        const { readEvents } = await import("/page/script/event-stream.js");
        const bytes = new TextEncoder().encode(text);
        const results = new Set();
        for (let size = 1; size <= bytes.length; size += 1) {
            const body = new ReadableStream({
                start(controller) {
                    for (let i = 0; i < bytes.length; i += size) {
                        controller.enqueue(bytes.slice(i, i + size));
                    }
                    controller.close();
                },
            });
            const events = [];
            for await (const event of readEvents(body)) events.push(event);
            results.add(JSON.stringify(events));
        }
        return [...results].map(result => JSON.parse(result));
    }"""
    assert page.evaluate(read, EVENTS) == [WANTED]


def test_words_keep_their_certainty_where_the_text_around_them_is_edited(page: Page) -> None:
    edit = """async () => {
        const { Manuscript } = await import("/page/script/manuscript.js");
        const { Piece } = await import("/page/script/piece.js");
        const piece = new Piece();
        for (const text of [" a", " small", " fox"]) {
            piece.add({ text, tokens: [{ text, logprob: -1, ranking: [] }], finish: null });
        }
        const written = new Manuscript("There was").append(piece);
        const words = ({ text, tokens }) => tokens.map(({ start, end }) => text.slice(start, end));
        return [
            words(written),
            words(written.edit("Here there was a small fox")),
            words(written.edit("There was a big fox")),
            words(written.edit("There was a small fox.")),
        ];
    }"""
    assert page.evaluate(edit) == [
        [" a", " small", " fox"],
        [" a", " small", " fox"],
        [" a", " fox"],
        [" a", " small", " fox"],
    ]


def test_tokens_that_make_one_character_together_are_one_unit(page: Page) -> None:
    read = """async () => {
        const { readTokens } = await import("/page/script/tokens.js");
        return readTokens({
            text: " \u00e9",
            logprobs: {
                tokens: ["bytes: \\\\xc3", "bytes:\\\\xa9"],
                token_logprobs: [-1, -0.5],
                top_logprobs: [{ "bytes: \\\\xc3": -1, " a": -2 }, null],
            },
        });
    }"""
    assert page.evaluate(read) == [{"text": " \u00e9", "logprob": -1.5, "ranking": []}]


def test_a_link_holds_text_seed_and_settings_and_nothing_is_sent_to_the_server(
    page: Page,
) -> None:
    there_and_back = """async values => {
        const { makeLink, readLink } = await import("/page/script/link.js");
        const link = new URL(makeLink("https://example.org/sub/#old", values));
        return [link.origin + link.pathname + link.search, readLink(link.hash)];
    }"""
    values = {
        "text": "A & B\n#1 \u00e9",
        "seed": 5,
        "max_tokens": 30,
        "temperature": 0.7,
        "top_p": 1,
    }
    assert page.evaluate(there_and_back, values) == ["https://example.org/sub/", values]


def test_endings_are_found_where_people_see_them(page: Page) -> None:
    ends = """async cases => {
        const { endOf } = await import("/page/script/guidance/endings.js");
        return cases.map(([text, until, count]) => {
            const end = endOf(text, until, count);
            return end === null ? null : text.slice(0, end);
        });
    }"""
    cases = [
        ((" went home. Then", "sentence", 1), " went home."),
        ((" went home.", "sentence", 1), None),
        ((" saw Mr. Fox and J. Hare. Then", "sentence", 1), " saw Mr. Fox and J. Hare."),
        ((" paid 3.5 pounds. Then", "sentence", 1), " paid 3.5 pounds."),
        ((' said "Stop!" and left. He', "sentence", 1), ' said "Stop!"'),
        ((" one. Two? Three", "sentence", 2), " one. Two?"),
        (("\u732b\u3067\u3059\u3002\u72ac", "sentence", 1), "\u732b\u3067\u3059\u3002"),
        ((" one.\n\nTwo", "paragraph", 1), " one."),
        (("\n\none.\ntwo.\nthree", "paragraph", 2), "\n\none.\ntwo."),
        ((" one. Two.", "paragraph", 1), None),
    ]
    assert page.evaluate(ends, [case for case, _ in cases]) == [end for _, end in cases]


def test_notes_stand_where_they_are_said_to(page: Page) -> None:
    compose = """async cases => {
        const { compose } = await import("/page/script/guidance/composing.js");
        return cases.map(([text, notes]) => compose(text, notes));
    }"""
    cases: list[tuple[str, dict[str, str], str]] = [
        ("one", {}, "one"),
        ("one", {"memory": " M "}, "M\n\none"),
        ("one", {"note": "N"}, "N\none"),
        ("one\ntwo\nthree\nfour", {"note": "N"}, "one\nN\ntwo\nthree\nfour"),
        ("one\n\ntwo\n\nthree\n\nfour\n\n", {"note": "N"}, "one\n\nN\n\ntwo\n\nthree\n\nfour\n\n"),
        ("", {"memory": "M", "note": "N"}, "M\n\nN\n"),
    ]
    wanted = [prompt for _, _, prompt in cases]
    assert page.evaluate(compose, [[text, notes] for text, notes, _ in cases]) == wanted
