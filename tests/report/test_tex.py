"""Any text as LaTeX: well-formed whatever it is, compiled by a real TeX, and read back from its page."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pypdf
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.report.tex import escape

COMMAND = re.compile(r"\\(?:[A-Za-z]+|.)")
HOSTILE = st.text() | st.text(alphabet="\\{}$&#%_^~<>|\"'`[]-,!? \n\u0301\u00a0²₂σ≤−“”éx")


def well_formed(tex: str) -> None:
    """That nothing in it is a command but what is meant, and braces are in pairs."""
    assert tex.isascii() and "\n" not in tex
    bare = COMMAND.sub(lambda found: "" if found[0] in (r"\{", r"\}") else "x", tex)
    assert not set("\\$&#%_") & set(bare)
    assert "^" not in bare.replace("{}^{", "")
    depth = 0
    for char in bare:
        depth += (char == "{") - (char == "}")
        assert depth >= 0
    assert depth == 0


@settings(deadline=None, max_examples=300)
@given(HOSTILE)
def test_any_text_is_well_formed(text: str) -> None:
    found = escape(text)
    well_formed(found)
    assert found.count("~") - found.count(r"\~") == text.count("\u00a0")


@settings(deadline=None)
@given(HOSTILE, st.text(alphabet="abc 123", min_size=1))
def test_what_is_plain_stays_as_it_is(text: str, plain: str) -> None:
    assert escape(plain) == re.sub(" +", " ", plain)
    assert re.sub(" +", " ", plain).strip() in escape(f"{text} {plain}")


@pytest.mark.parametrize(
    ("text", "tex"),
    [
        ("50 % of a_b & c#d", r"50 \% of a\_b \& c\#d"),
        (r"\input{x}$1^2~3", r"\textbackslash{}input\{x\}\$1\textasciicircum{}2\textasciitilde{}3"),
        ("σ ≤ 2", r"\ensuremath{\sigma} \ensuremath{\le} 2"),
        ("−1.2×10⁻⁵", r"\ensuremath{-}1.2\ensuremath{\times}10\textsuperscript{\ensuremath{-}5}"),
        ("x₁₂²", r"x\textsubscript{12}\textsuperscript{2}"),
        ("Kégl, Müller, x\u0304", r"K\'{e}gl, M\"{u}ller, \={x}"),
        ("“a” ‘b’ – — --", r"``a'' `b' -- --- -{}-"),
        ("½ ﬁ Ａ", "1/2 fi A"),
        ("[1]", "{[}1{]}"),
        ("中😀", r"(U+4E2D)\allowbreak{}(U+1F600)\allowbreak{}"),
        ("a\n\n b\x00\u200d", "a b"),
    ],
)
def test_known_answers(text: str, tex: str) -> None:
    assert escape(text) == tex


@pytest.fixture(scope="module")
def pdflatex() -> str:
    found = shutil.which("pdflatex")
    if not found:
        pytest.skip("needs a TeX: apt-get install texlive-latex-recommended")
    return found


def test_every_character_compiles_and_a_page_says_what_was_meant(
    pdflatex: str, tmp_path: Path
) -> None:
    blocks = [range(0x20, 0x3400), range(0xA720, 0xA800), range(0xFB00, 0x10000), [0x1F600, 0xD800]]
    every = [chr(code) for block in blocks for code in block]
    said = "100 % of a & c#d, \\x {y} ~z^ <t> |u| $v \"w\" --x 'q' [n]"
    lines = [r"\documentclass{article}\begin{document}\sloppy", escape(said), r"\newpage"]
    lines += [f"{escape(char)}\\par" for char in every]
    lines += [escape(f"e{char}\u0301{char}-{char}") + r"\par" for char in every[:600]]
    (tmp_path / "x.tex").write_text("\n".join([*lines, r"\end{document}"]))
    done = subprocess.run(
        [pdflatex, "-interaction=nonstopmode", "-halt-on-error", "x.tex"], cwd=tmp_path,
        capture_output=True, check=False, timeout=200,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:].decode(errors="replace")
    page = pypdf.PdfReader(tmp_path / "x.pdf").pages[0].extract_text()
    page = page.translate(str.maketrans("”’˜ˆ", "\"'~^"))  # as the fonts name them
    assert "".join(said.split()) in "".join(page.split())
