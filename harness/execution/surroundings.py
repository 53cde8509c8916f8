"""What runs set of the process that they are in, put back when they are over.

Ray and MLflow are told by variables of the environment and by levels of loggers, and their imports
change both, and filters of warnings, too. A command ends with its process; a notebook goes on.
"""

from __future__ import annotations

import contextlib
import logging
import os
import warnings
from collections.abc import Iterator


@contextlib.contextmanager
def left_as_found() -> Iterator[None]:
    """Whatever is run within, environment, loggers and filters of warnings are then as before.

    A logger that was made within goes by those above it afterwards.
    """
    environment, levels = dict(os.environ), _levels()
    try:
        with warnings.catch_warnings():
            yield
    finally:
        for name in set(os.environ) - set(environment):
            del os.environ[name]
        os.environ.update(environment)
        for logger in _levels():
            logger.setLevel(levels.get(logger, logging.NOTSET))


def _levels() -> dict[logging.Logger, int]:
    """Every logger there is and its own level."""
    named = [
        one for one in logging.root.manager.loggerDict.values() if isinstance(one, logging.Logger)
    ]
    return {logger: logger.level for logger in (logging.root, *named)}
