"""What pyproject.toml cannot say: a wheel has the project's studies, as `harness/_studies`.

In a checkout they stay in `studies/`, where an editable installation finds them.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class WithStudies(build_py):
    """Builds the package, and copies the studies into it."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:
            return
        into = Path(self.build_lib) / "harness" / "_studies"
        shutil.rmtree(into, ignore_errors=True)
        shutil.copytree("studies", into, ignore=shutil.ignore_patterns("__pycache__"))


setup(cmdclass={"build_py": WithStudies})
