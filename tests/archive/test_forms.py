"""Forms that few checkpoints take: some layers otherwise than others, tensors in a file apart."""

from __future__ import annotations

import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import yaml

from archive import files, package, packing
from archive.calibration import calibrate, candidate_plans
from archive.checkpoint import Checkpoint, load_checkpoint
from archive.gate import FORMS
from archive.graph import build_graph
from archive.packing import Target
from archive.plan import HEAD, uniform_plan
from archive.products import Form
from archive.settings import Settings, packaging_defaults
from archive.text import read_passages
from tests.archive.checkpoints import EMBEDDED_MODEL, twin_with_loud_units, write_checkpoint
from tests.archive.slots import Slots
from tests.handler.engines import Rig
from tests.handler.engines import packed as unpacked_archive


@pytest.fixture(scope="module")
def embedded() -> Checkpoint:
    return load_checkpoint(EMBEDDED_MODEL, "gpt2-tales")


def test_a_layer_whose_range_a_few_rows_stretch_is_taken_by_rows(embedded: Checkpoint) -> None:
    windows = read_passages(embedded, None).calibration[:2]
    twin = twin_with_loud_units(embedded, 1.0)
    calibration = calibrate(twin.shape, twin.weights, windows)
    loud = "h.2.mlp.c_proj"
    seen = calibration.inputs[loud]
    stretched = replace(seen, high=seen.high * 50)
    calibration = replace(calibration, inputs={**calibration.inputs, loud: stretched})
    static, mixed, *_ = candidate_plans(twin.shape, calibration)
    assert set(static.forms.values()) == {Form.STATIC_7BIT}
    assert mixed.forms[loud] is Form.ROWS_7BIT
    assert mixed.forms["h.2.mlp.c_fc"] is Form.STATIC_7BIT
    assert mixed.precision.startswith("int8 static 7-bit (")
    expected = Slots(
        build_graph(twin.shape, twin.weights, uniform_plan(twin.shape, Form.FP32, {})),
        twin.shape,
        1,
    ).run(windows[0][None], np.array([0]))
    graph = build_graph(twin.shape, calibration.weights_for(mixed), mixed)
    found = Slots(graph, twin.shape, 1).run(windows[0][None], np.array([0]))
    assert (found.argmax(-1) == expected.argmax(-1)).mean() > 0.9


@pytest.mark.parametrize("form", FORMS.values())
def test_a_float_head_shares_its_table_with_the_embedding(embedded: Checkpoint, form: Form) -> None:
    windows = read_passages(embedded, None).calibration[:1]
    calibration = calibrate(embedded.shape, embedded.weights, windows)
    plan = uniform_plan(embedded.shape, form, calibration.ranges)
    plan = replace(plan, forms={**plan.forms, HEAD: Form.FP32})
    graph = build_graph(embedded.shape, calibration.weights_for(plan), plan)
    vocabulary = embedded.shape.vocab_size
    tables = [t for t in graph.graph.initializer if vocabulary in t.dims]
    assert len(tables) == 1 and tables[0].data_type == onnx.TensorProto.FLOAT


def test_an_archive_with_its_tensors_apart_is_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What a model beyond 2 GB takes: here the bounds are lowered to a small model's size.
    monkeypatch.setattr(files.save_graph, "__defaults__", (100_000,))
    monkeypatch.setattr(packing, "STARTUP_BYTES_PER_SECOND", 10_000)
    write_checkpoint(tmp_path / "model")
    target = Target("apart", "1.0", tmp_path / "store")
    path = package.package_model(Settings(str(tmp_path / "model"), target, precision="fp32"))
    with zipfile.ZipFile(path) as archive:
        archive.extractall(tmp_path / "apart")
    assert (tmp_path / "apart" / "model" / "model.onnx.data").stat().st_size > 1_000_000
    config = yaml.safe_load((tmp_path / "apart" / "model-config.yaml").read_text())
    assert config["startupTimeout"] > 120 + 100  # a larger model may take longer to start
    assert "packaging" not in config
    together = unpacked_archive(
        tmp_path / "store", "together", "--precision", "fp32", model=tmp_path / "model"
    )
    texts = []
    for directory in (tmp_path / "apart", together):
        rig = Rig(directory, slots=2)
        texts.append(rig.write(rig.sequence("Once upon a time", max_tokens=12))[0].text)
        rig.close()
    assert texts[0] == texts[1] != ""


def test_precision_may_be_set_in_the_configuration(tmp_path: Path) -> None:
    path = tmp_path / "model-config.yaml"
    path.write_text("packaging: {precision: rows-8bit}\n")
    assert packaging_defaults(path) == {"precision": "rows-8bit", "cache": "auto"}
    path.write_text("packaging: {precision: int2}\n")
    with pytest.raises(packing.PackagingError, match=r"packaging\.precision is 'int2'; auto, "):
        packaging_defaults(path)
