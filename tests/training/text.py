"""A small language to learn: a few nouns and verbs, speech in quotes, paragraphs."""

import random

NOUNS = [
    "fox",
    "cat",
    "king",
    "queen",
    "boy",
    "girl",
    "ship",
    "house",
    "forest",
    "captain",
    "dog",
    "bird",
    "river",
    "baker",
]
VERBS = ["saw", "found", "loved", "called", "followed", "lost", "kept", "met"]
ADJECTIVES = ["old", "little", "red", "brave", "wise", "tired", "happy", "dark"]


def tales(paragraphs: int, seed: int = 0) -> str:
    chosen = random.Random(seed)

    def sentence() -> str:
        who, whom = chosen.choice(NOUNS), chosen.choice(NOUNS)
        what = chosen.choice(VERBS)
        text = (
            f"The {chosen.choice(ADJECTIVES)} {who} {what} the {chosen.choice(ADJECTIVES)} {whom}"
        )
        return f'"{text}," said the {who}.' if chosen.random() < 0.3 else f"{text}."

    return "\n\n".join(
        " ".join(sentence() for _ in range(chosen.randint(2, 6))) for _ in range(paragraphs)
    )
