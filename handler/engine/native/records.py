"""The structs of model.h and decode.h, as the C code reads them."""

from __future__ import annotations

import ctypes

MAX_CHANNELS = 1024
PRECISIONS = {"float32": 0, "int8": 1, "int4": 2}
# Weights of four bits lie in pairs.
PRECISION_OF = {"float32": "float32", "int8": "int8", "uint8": "int4"}


class Linear(ctypes.Structure):
    """`Linear` of model.h."""

    _fields_ = [
        *(
            (name, ctypes.c_void_p)
            for name in ("weight", "multiple", "scale", "sum", "bias", "peaks", "gram")
        ),
        *((name, ctypes.c_int32) for name in ("inputs", "outputs", "precision")),
    ]


class Decode(ctypes.Structure):
    """`Decode` of decode.h."""

    _fields_ = [
        *((name, ctypes.c_int32) for name in ("most", "done")),
        *((name, ctypes.c_void_p) for name in ("uniform", "token", "ended", "until")),
        ("began", ctypes.c_int64),
        ("goes_on", ctypes.c_bool),
    ]


class Layer(ctypes.Structure):
    """`Layer` of model.h."""

    _fields_ = [
        *((name, ctypes.c_void_p) for name in ("gain_1", "bias_1", "gain_2", "bias_2")),
        *((name, Linear) for name in ("qkv", "projection", "expand", "contract")),
        ("attention_scale", ctypes.c_float),
    ]


class Model(ctypes.Structure):
    """`Model` of model.h."""

    _fields_ = [
        *(
            (name, ctypes.c_int32)
            for name in (
                *("layers", "heads", "width", "inner", "vocabulary", "positions"),
                *("width_pad", "inner_pad", "channels_pad", "positions_pad"),
                *(
                    "cache_precision",
                    "tokens_are_half",
                    "activation",
                    "slots",
                    "max_rows",
                    "threads",
                ),
            )
        ),
        ("epsilon", ctypes.c_float),
        *(
            (name, ctypes.c_void_p)
            for name in ("layer", "token_embedding", "position_embedding", "gain", "bias")
        ),
        ("head", Linear),
        ("cache", ctypes.c_void_p),
    ]
