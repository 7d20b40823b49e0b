"""Reads PyTorch's files in a confined process of its own.

Started by torch_file.py as a script, with the files as arguments; imports nothing of this project.
`torch.load(weights_only=True)` runs no code of a pickle but builds tensors and plain values. Should
that ever fail, the process has no network, opens no file to write, starts no other, and ends at a
bound of memory.

Protocol: one line of JSON says what the files hold, or {"error": ...}. Then, for each line on
stdin, which is a tensor's name, that tensor as float32 on stdout. stdin's end is its end.
"""

from __future__ import annotations

import ctypes
import json
import os
import re
import resource
import sys
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import torch

# Beside the files: what torch needs to work, and the copies of one tensor.
HEADROOM_BYTES = 2_000_000_000
COPIES = 2
NEW_NETWORK = 0x40000000  # CLONE_NEWNET
FORBIDDEN = re.compile(
    r"socket\.|subprocess\.|os\.(system|exec|posix_spawn|spawn|fork|remove|rename|mkdir|rmdir|link|"
    r"symlink|truncate|chmod|chown|kill|putenv)|shutil\.|pty\.|ftplib\.|urllib\.|http\.|ctypes\."
)
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
# Where training scripts keep the tensors among other things, in this order.
STATE_KEYS = ("model", "state_dict", "model_state_dict", "module")
CONFIG_KEYS = ("model_args", "config")
DTYPES = {
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.float64: "F64",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}


class RefusedError(Exception):
    """A file is not read; the message says why."""


class Config:
    """Stands for the dataclass GPTConfig of a training script: its values, none of its code."""


def confine(file_bytes: int) -> None:
    """Give up whatever reading does not need; cannot be undone."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).unshare(NEW_NETWORK)
    limits = {resource.RLIMIT_FSIZE: 0, resource.RLIMIT_CORE: 0, resource.RLIMIT_NPROC: 0}
    with suppress(OSError):  # only Linux reports what there is by now
        with open("/proc/self/statm") as file:
            now = int(file.read().split()[0]) * resource.getpagesize()
        limits[resource.RLIMIT_AS] = now + COPIES * file_bytes + HEADROOM_BYTES
    for limit, value in limits.items():
        with suppress(OSError, ValueError):
            resource.setrlimit(limit, (value, value))
    sys.addaudithook(_refuse_others)


def _refuse_others(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "open":
        _, mode, flags = arguments
        is_writing = bool(flags & WRITING) if isinstance(flags, int) else "r" not in str(mode)
        if is_writing:
            raise PermissionError("no file is written here")
    elif FORBIDDEN.match(event):
        raise PermissionError(f"{event} is not for this process")


def load(path: str) -> Any:
    """Return what a file holds: plain values and tensors, which stay on the disk if they can."""
    with open(path, "rb") as file:
        is_zip = file.read(4) == b"PK\x03\x04"
    if is_zip:
        _check_zip(path)
        _allow_config(path)
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=is_zip)
    except MemoryError:
        raise RefusedError("it needs more memory than its size accounts for") from None
    except Exception as error:  # torch, its unpickler and its zip reader raise their own
        words = " ".join(str(error).split())
        named = re.search(r"(?:GLOBAL|Unsupported class|import) ([\w.]+)", words)
        if named:
            raise RefusedError(f"NEEDS {named[1]}") from None
        if "alloc" in words or "memory" in words.lower():
            raise RefusedError("it needs more memory than its size accounts for") from None
        raise RefusedError("it is broken, cut short or not a file of torch.save") from None


def _check_zip(path: str) -> None:
    """Torch stores without compression: anything else may be larger than it looks."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        raise RefusedError("it is broken or cut short") from None
    if any(entry.filename.endswith("/constants.pkl") for entry in entries):
        raise RefusedError(
            "it is TorchScript, a program, which is never run here: save the model's own weights, "
            "with model.save_pretrained(DIR)"
        )
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise RefusedError("its parts are compressed, as torch.save never does")
    if sum(entry.file_size for entry in entries) > os.path.getsize(path):
        raise RefusedError("its parts are larger than the file")


def _allow_config(path: str) -> None:
    with suppress(Exception):  # load says what is wrong with the file
        needed = torch.serialization.get_unsafe_globals_in_checkpoint(path)
        names = [name for name in needed if name.rpartition(".")[2] == "GPTConfig"]
        torch.serialization.add_safe_globals([(Config, name) for name in names])


def tensors_of(value: Any) -> dict[str, torch.Tensor]:
    """Return the tensors of a state dict, wherever a training script put it."""
    candidates = [value]
    if isinstance(value, Mapping):
        candidates += [value.get(key) for key in STATE_KEYS]
    for candidate in candidates:
        if found := _matrices(candidate):
            return found
    others = [value[key] for key in value] if isinstance(value, Mapping) else []
    states = [found for other in others if (found := _matrices(other))]
    if len(states) == 1:  # under a name of someone's own
        return states[0]
    raise RefusedError("it holds no state dict of a model")


def _matrices(value: Any) -> dict[str, torch.Tensor]:
    """The tensors of a mapping, if a matrix is among them."""
    if not isinstance(value, Mapping):
        return {}
    found = {
        name: tensor
        for name, tensor in value.items()
        if isinstance(name, str) and isinstance(tensor, torch.Tensor)
    }
    return found if any(tensor.dim() == 2 for tensor in found.values()) else {}


def plain_values(value: Any) -> dict[str, Any]:
    """Return what JSON can say of the configs in a training script's checkpoint."""
    found = {}
    for key in CONFIG_KEYS if isinstance(value, Mapping) else ():
        part = value.get(key)
        kind = "GPTConfig" if isinstance(part, Config) else "dict"
        values = vars(part) if isinstance(part, Config) else part
        if isinstance(values, Mapping):
            plain = {
                name: entry
                for name, entry in values.items()
                if isinstance(name, str) and isinstance(entry, (int, float, str, type(None)))
            }
            found[key] = {"kind": kind, "values": plain}
    return found


def describe(tensors: Mapping[str, torch.Tensor], file_bytes: int) -> dict[str, Any]:
    """Return shape and dtype of each tensor; refuses those that are larger than the files."""
    for name, tensor in tensors.items():
        if tensor.numel() * tensor.element_size() > file_bytes:
            raise RefusedError(f"{name} is larger than the file")
        if tensor.layout is not torch.strided:
            raise RefusedError(f"{name} is a sparse tensor")
    return {
        name: [list(tensor.shape), DTYPES.get(tensor.dtype, str(tensor.dtype))]
        for name, tensor in tensors.items()
    }


def main(paths: list[str]) -> None:
    """Say what the files hold, then give tensors until stdin ends."""
    torch.set_num_threads(1)
    file_bytes = sum(map(os.path.getsize, paths))
    confine(file_bytes)
    tensors: dict[str, torch.Tensor] = {}
    configs: dict[str, Any] = {}
    out = sys.stdout.buffer
    for path in paths:
        try:
            value = load(path)
            configs |= plain_values(value)
            tensors |= tensors_of(value)
            described = describe(tensors, file_bytes)
        except RefusedError as error:
            out.write(json.dumps({"error": str(error), "file": path}).encode() + b"\n")
            return
    out.write(json.dumps({"tensors": described, "configs": configs}).encode() + b"\n")
    out.flush()
    for line in sys.stdin.buffer:
        tensor = tensors[json.loads(line)]
        values: Any = tensor.detach().to(torch.float32).contiguous().numpy()
        out.write(values.reshape(-1).view("u1"))
        out.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
