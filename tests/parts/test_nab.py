"""NAB: series brought to a length, their labels, and hostile files."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.parts.data import Data, at_hand, forget, load, nab
from harness.study import DataError


def file(rows: int) -> bytes:
    lines = [f"2014-04-{1 + n // 24:02d} {n % 24:02d}:00:00,{n}" for n in range(rows)]
    return "\n".join(["timestamp,value", *lines]).encode()


def contents(rows: int = 240) -> dict[str, bytes]:
    window = [["2014-04-06 00:00:00.000000", "2014-04-06 23:00:00.000000"]]  # rows 120 to 143
    labels = {name.partition("/")[2]: window for name in nab.SERIES}
    return {nab.LABELS: json.dumps(labels).encode()} | dict.fromkeys(nab.SERIES, file(rows))


def test_points_are_means_of_rows_and_outliers_where_one_is() -> None:
    window = [["2014-04-06 00:00:00.000000", "2014-04-06 23:00:00.000000"]]
    x, y = nab.series(file(240), window, 100)  # 2.4 rows a point
    assert x[0] == pytest.approx((0 + 1 + 0.4 * 2) / 2.4)
    assert y.nonzero()[0].tolist() == list(range(50, 60))
    x, y = nab.series(file(240), window, 480)  # half a row a point
    assert x[:4].tolist() == [0, 0, 1, 1]
    assert y.nonzero()[0].tolist() == list(range(240, 288))


def test_parts_follow_each_other_and_are_scaled_by_the_first() -> None:
    arrays = nab.arrays(contents(), 240)
    assert [a.shape for a in arrays] == [(49, n) for n in (72, 72, 24, 24, 144, 144)]
    assert arrays[0].mean() == pytest.approx(0, abs=1e-5)
    assert arrays[0].std() == pytest.approx(1, abs=1e-5)
    row = np.concatenate([a[0] for a in arrays[::2]])
    np.testing.assert_allclose(np.diff(row), np.diff(row)[0], rtol=1e-3)
    assert not arrays[1].any()
    assert arrays[5].any()


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(sorted(nab.FILES)), st.integers(0, 400), st.binary(max_size=8))
def test_changed_bytes_are_refused_or_read(name: str, place: int, other: bytes) -> None:
    whole = contents()
    changed = whole[name][:place] + other + whole[name][place + len(other) + 1 :]
    try:
        arrays = nab.arrays(whole | {name: changed}, 100)
    except DataError:
        return
    assert len(arrays) == 6


def test_a_pinned_file_that_was_changed_is_refused_by_name(tmp_path, monkeypatch) -> None:
    for name, content in contents().items():
        (tmp_path / "nab" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "nab" / name).write_bytes(content)
    monkeypatch.setenv("HARNESS_DATA", str(tmp_path))
    forget()
    assert at_hand("nab")
    with pytest.raises(DataError, match=r"combined_windows\.json is another file"):
        load(Data("nab", length=100))
    (tmp_path / "nab" / nab.SERIES[3]).unlink()
    monkeypatch.setattr("pooch.os_cache", lambda name: tmp_path / "cache")
    assert not at_hand("nab")


def test_a_length_is_given() -> None:
    with pytest.raises(DataError, match="allowed: at least 100 for nab"):
        Data("nab")
    assert Data("nab", length=100).most == len(nab.SERIES)


def test_real_series() -> None:
    folder = os.environ.get("HARNESS_DATA")
    if not folder or not (Path(folder) / "nab").is_dir():
        pytest.skip("needs nab in HARNESS_DATA")
    forget()
    splits = load(Data("nab", length=1000))
    assert splits.train[0].shape == (49, 300)
    assert splits.test[0].shape == (49, 600)
    assert all(half[1][: nab.CLEAN].sum() == 0 for half in (splits.train, splits.valid))
    assert (splits.test[1].sum(1) > 0).all()
    assert torch.isfinite(splits.test[0]).all()
