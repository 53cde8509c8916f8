"""What pyproject.toml cannot say: a wheel has the project's studies, as `harness/_studies`, and
their published runs, as `harness/_published`.

In a checkout they stay where they are, and an editable installation finds them there.
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
        for folder, name, files in (
            ("studies", "_studies", "*.py"),
            ("reports/published", "_published", "**/*.*"),
        ):
            into = Path(self.build_lib) / "harness" / name
            shutil.rmtree(into, ignore_errors=True)
            for path in Path(folder).glob(files):
                place = into / path.relative_to(folder)
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, place)


setup(cmdclass={"build_py": WithStudies})
