"""Which product takes which form, and the ranges that calibration found for it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from archive.checkpoint import ModelShape
from archive.products import Form, Range

HEAD = "lm_head"
LAYER_PRODUCTS = ("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj")


def product_names(shape: ModelShape) -> list[str]:
    """Return the names of all matrix products, in the order in which they are computed."""
    layers = range(shape.n_layer)
    return [f"h.{layer}.{product}" for layer in layers for product in LAYER_PRODUCTS] + [HEAD]


@dataclass(frozen=True, eq=False)
class Plan:
    """A form for every product, and of the key-value cache.

    `ranges` are of the products' inputs and may be empty for fp32. A cache of bytes wants weights
    whose keys and values count in its levels (`archive.levels`).
    """

    forms: Mapping[str, Form]
    ranges: Mapping[str, Range]
    bytes_in_cache: bool = False

    @property
    def cache(self) -> str:
        """What the key-value cache holds."""
        return "int8" if self.bytes_in_cache else "float32"

    @property
    def precision(self) -> str:
        """Name for people: the commonest form, and how many products take another one."""
        counts = Counter(self.forms.values()).most_common()
        main = counts[0][0].value
        others = [f"{count} of {len(self.forms)} {form.short}" for form, count in counts[1:]]
        return f"{main} ({', '.join(others)})" if others else main


def uniform_plan(shape: ModelShape, form: Form, ranges: Mapping[str, Range]) -> Plan:
    """Give every product the same form."""
    return Plan({name: form for name in product_names(shape)}, ranges)
