"""Readers of the formats that GPT-2 checkpoints have, one a file.

Each gives the same thing, a `StoredModel`: a config, tensors that are read one at a time as
float32, and where the tokenizer lies. `names.py` and `layout.py` turn a StoredModel's tensors into
those of transformers' GPT2LMHeadModel; `open.py` chooses the reader by what lies there.
"""
