"""Who runs a study into a tracking server: a lease in a tag, since no lock file is seen by all."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time

from harness.ledger.client import MlflowClient
from harness.study import BadInput

TAG = "harness.lease"
LASTS = 60.0  # seconds after the last renewal, should its holder vanish
RENEWED = 15.0  # seconds between renewals
SETTLED = 0.5  # seconds in which two that take it at the same moment see each other


class Lease:
    """Held from its making until `release`, by a thread that renews it.

    MLflow has no lock: of two that ask within half a second the later writer has it, and the other
    sees so. The hosts' clocks are taken to agree within some seconds.

    Args:
        client: Of the store.
        experiment: The study's.
        study: Its name.

    Raises:
        BadInput: another process has it.
    """

    def __init__(self, client: MlflowClient, experiment: str, study: str) -> None:
        self.client, self.experiment = client, experiment
        self.mine = f"{socket.gethostname()} process {os.getpid()}"
        self._over = threading.Event()
        self._refuse(study)
        self._write()
        time.sleep(SETTLED)
        self._refuse(study)
        threading.Thread(target=self._renew, name="lease", daemon=True).start()

    def release(self) -> None:
        """Let others have it; a store that is away frees it in time."""
        self._over.set()
        with contextlib.suppress(Exception):
            if self._holder()[0] == self.mine:
                self.client.set_experiment_tag(self.experiment, TAG, "")

    def _refuse(self, study: str) -> None:
        holder, until = self._holder()
        if holder not in ("", self.mine) and time.time() < until and not _gone(holder):
            raise BadInput(
                f"study {study} is being run into this store by {holder}; allowed: one run of it at "
                f"a time. Wait for it; should it have vanished, its lease ends after {LASTS:.0f} s"
            )

    def _holder(self) -> tuple[str, float]:
        """Who has it, and until when in seconds since 1970."""
        text = str(self.client.get_experiment(self.experiment).tags.get(TAG, ""))
        holder, _, until = text.rpartition(" until ")
        try:
            return holder, float(until)
        except ValueError:
            return "", 0.0

    def _write(self) -> None:
        text = f"{self.mine} until {time.time() + LASTS:.0f}"
        self.client.set_experiment_tag(self.experiment, TAG, text)

    def _renew(self) -> None:
        while not self._over.wait(RENEWED):
            with contextlib.suppress(Exception):  # while the store is away nobody can take it
                self._write()


def _gone(holder: str) -> bool:
    """Whether it was a process of this machine and is no more."""
    host, _, number = holder.partition(" process ")
    if host != socket.gethostname() or not number.isdigit():
        return False
    try:
        os.kill(int(number), 0)
    except ProcessLookupError:
        return True
    except OSError:
        pass
    return False
