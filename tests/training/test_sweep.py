from pathlib import Path

from tests.training.conftest import ROOT
from training.corpus import split
from training.model import load_model
from training.reading.document import Reading
from training.reading.read import read_documents
from training.samples import Sampling, distinct_4grams, write
from training.sweep import MIN_DISTINCT, sweep
from training.vocabulary import load_tokenizer

EMBEDDED = str(ROOT / "models" / "gpt2-tales")


def test_a_setting_that_loops_is_never_chosen(text: Path) -> None:
    corpus = split(read_documents([str(text)], Reading()))
    cold, warm = Sampling(0.01, 0.5, 1.0), Sampling(0.9, 0.95, 1.1)
    found = sweep(
        load_model(EMBEDDED), load_tokenizer(EMBEDDED), corpus, 0, completions=2, grid=(cold, warm)
    )
    assert found is not None
    looks = dict(found.candidates)
    assert looks[cold].distinct_4grams < MIN_DISTINCT < looks[warm].distinct_4grams
    assert found.best == warm


def test_the_embedded_model_does_not_loop_at_its_defaults() -> None:
    model, tokenizer = load_model(EMBEDDED), load_tokenizer(EMBEDDED)
    defaults = model.generation_config
    sampling = Sampling(defaults.temperature, defaults.top_p, defaults.repetition_penalty)
    prompt = tokenizer.encode("Once upon a time", add_special_tokens=False)
    completions = write(model, tokenizer, [prompt] * 4, sampling, 120, seed=0)
    assert sum(map(distinct_4grams, completions)) / len(completions) > 0.9
