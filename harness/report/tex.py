"""Any text as LaTeX that plain pdflatex compiles, in whatever encoding its fonts have."""

from __future__ import annotations

import re
import unicodedata

# What LaTeX, or a font of its oldest encoding, takes for something else.
_ASCII = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#",
    "%": r"\%", "_": r"\_", "^": r"\textasciicircum{}", "~": r"\textasciitilde{}",
    "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", "`": r"\`{}",
    "[": "{[}", "]": "{]}",
}  # fmt: skip
_TEXT = {
    "\u00a0": "~", "\u202f": r"\,", "\u2009": r"\,", "“": "``", "”": "''", "„": ",,",
    "‘": "`", "’": "'", "–": "--", "—": "---",
    "\u2010": "-", "\u2011": "-", "…": r"\ldots{}", "§": r"\S{}", "¶": r"\P{}",
    "©": r"\copyright{}", "£": r"\pounds{}", "ß": r"\ss{}", "æ": r"\ae{}",
    "Æ": r"\AE{}", "œ": r"\oe{}", "Œ": r"\OE{}", "ø": r"\o{}", "Ø": r"\O{}", "ł": r"\l{}",
    "Ł": r"\L{}", "ı": r"\i{}", "⁄": "/",
}  # fmt: skip
_MATH = {
    "−": "-", "×": r"\times", "÷": r"\div", "±": r"\pm", "∓": r"\mp", "·": r"\cdot", "⋅": r"\cdot",
    "∗": r"\ast", "∘": r"\circ", "⊙": r"\odot", "⊕": r"\oplus", "⊗": r"\otimes", "≤": r"\le",
    "≥": r"\ge", "≪": r"\ll", "≫": r"\gg", "≠": r"\ne", "≈": r"\approx", "≡": r"\equiv",
    "∼": r"\sim", "∝": r"\propto", "∞": r"\infty", "√": r"\surd", "∑": r"\sum", "∏": r"\prod",
    "∫": r"\int", "∂": r"\partial", "∇": r"\nabla", "∈": r"\in", "∉": r"\notin", "⊂": r"\subset",
    "⊆": r"\subseteq", "∪": r"\cup", "∩": r"\cap", "∅": r"\emptyset", "∀": r"\forall",
    "∃": r"\exists", "¬": r"\neg", "∧": r"\wedge", "∨": r"\vee", "→": r"\rightarrow",
    "←": r"\leftarrow", "↑": r"\uparrow", "↓": r"\downarrow", "↔": r"\leftrightarrow",
    "⇒": r"\Rightarrow", "⇐": r"\Leftarrow", "⇔": r"\Leftrightarrow", "⌊": r"\lfloor",
    "⌋": r"\rfloor", "⌈": r"\lceil", "⌉": r"\rceil", "⟨": r"\langle", "⟩": r"\rangle",
    "«": r"\ll", "»": r"\gg", "•": r"\bullet", "°": r"{}^{\circ}", "‖": r"\Vert",
    "′": r"{}^{\prime}", "ℓ": r"\ell", "ϵ": r"\epsilon", "ς": r"\varsigma", "ϕ": r"\phi",
    "ϑ": r"\vartheta", "✓": r"\surd", "✕": r"\times",
}  # fmt: skip
_GREEK = {
    "α": "alpha", "β": "beta", "γ": "gamma", "δ": "delta", "ε": "varepsilon", "ζ": "zeta",
    "η": "eta", "θ": "theta", "ι": "iota", "κ": "kappa", "λ": "lambda", "μ": "mu", "ν": "nu",
    "ξ": "xi", "π": "pi", "ρ": "rho", "σ": "sigma", "τ": "tau", "υ": "upsilon", "φ": "varphi",
    "χ": "chi", "ψ": "psi", "ω": "omega", "Γ": "Gamma", "Δ": "Delta", "Θ": "Theta",
    "Λ": "Lambda", "Ξ": "Xi", "Π": "Pi", "Σ": "Sigma", "Υ": "Upsilon", "Φ": "Phi", "Ψ": "Psi",
    "Ω": "Omega",
}  # fmt: skip
# Letters of the Greek alphabet that are printed as those of the Latin one.
_TEXT |= dict(zip("ΑΒΕΖΗΙΚΜΝΟΡΤΧο", "ABEZHIKMNOPTXo", strict=True))
_MATH |= {letter: f"\\{name}" for letter, name in _GREEK.items()}
_ACCENTS = {
    "\u0300": "`", "\u0301": "'", "\u0302": "^", "\u0303": "~", "\u0304": "=", "\u0306": "u",
    "\u0307": ".", "\u0308": '"', "\u030a": "r", "\u030b": "H", "\u030c": "v", "\u0323": "d",
    "\u0327": "c", "\u0331": "b",
}  # fmt: skip
# Characters that a font joins into another where they are neighbours.
_JOINING = {("-", "-"), ("'", "'"), ("`", "`"), (",", ","), ("!", "`"), ("?", "`")}
_SPACE = re.compile(r"[^\S\u00a0\u202f]+")


class Tex(str):
    """Text that is LaTeX already."""

    __slots__ = ()


def escape(text: str) -> Tex:
    """Text as LaTeX of ASCII alone, for running text, captions and cells of tables.

    Line ends are spaces. What pdflatex has no sign for (Chinese, emoji) is printed as its number,
    (U+1F600); signs of control and direction are left out.
    """
    pieces: list[tuple[str, str]] = []  # where it stands ("", "super", "sub"), and the LaTeX of it
    for char in unicodedata.normalize("NFC", _SPACE.sub(" ", text)):
        if char in _ACCENTS:
            place, piece = pieces.pop() if pieces else ("", "")
            pieces.append((place, _accented(piece, char)))
        else:
            pieces += _pieces(char)
    out, now = "", ""
    for place, piece in [*pieces, ("", "")]:
        if place != now:
            out += ("}" if now else "") + (f"\\text{place}script{{" if place else "")
            now = place
        out += ("{}" if (out[-1:], piece[:1]) in _JOINING else "") + piece
    return Tex(out)


def _accented(piece: str, mark: str) -> str:
    return f"\\{_ACCENTS[mark]}{{{piece}}}"


def _pieces(char: str) -> list[tuple[str, str]]:
    """One character, or what it is made of."""
    if " " <= char <= "~":
        return [("", _ASCII.get(char, char))]
    if char in _TEXT:
        return [("", _TEXT[char])]
    if char in _MATH:
        return [("", f"\\ensuremath{{{_MATH[char]}}}")]
    if unicodedata.category(char) in ("Cc", "Cf") or "\ufe00" <= char <= "\ufe0f":
        return []
    kind, made = _made_of(char)
    if kind in ("super", "sub"):
        return [(kind, piece) for one in made for _, piece in _pieces(one)]
    if len(made) == 2 and made[1] in _ACCENTS:
        return [(place, _accented(piece, made[1])) for place, piece in _pieces(made[0])]
    if made and not any(map(unicodedata.combining, made)):
        return [piece for one in made for piece in _pieces(one)]
    return [("", f"(U+{ord(char):04X})\\allowbreak{{}}")]


def _made_of(char: str) -> tuple[str, list[str]]:
    """How Unicode takes a character apart: in which way ("super", "fraction", …), and into what."""
    words = unicodedata.decomposition(char).split()
    kind = words.pop(0).strip("<>") if words and words[0].startswith("<") else ""
    return kind, [chr(int(code, 16)) for code in words]
