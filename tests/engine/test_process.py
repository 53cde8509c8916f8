"""What a process sets of its machine, and puts back."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from harness.engine import process
from harness.plan import forecast
from harness.plan.packing import Pack, Packer
from harness.study import Trial, catalog


def test_a_dry_run_takes_one_thread_and_leaves_as_many_as_there_were(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = catalog.find("tiny")
    study = catalog.load(source)
    during = []
    pack = Packer.pack

    def watched(self: Packer, trials: list[Trial]) -> list[Pack]:
        during.append(torch.get_num_threads())
        return pack(self, trials)

    monkeypatch.setattr(Packer, "pack", watched)
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        forecast.dry_run(study, source, "smoke", 2)
        assert set(during) == {1}
        assert torch.get_num_threads() == 3
        with pytest.raises(ZeroDivisionError), process.one_thread():
            raise ZeroDivisionError
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
