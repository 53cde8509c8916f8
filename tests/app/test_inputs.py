"""Whatever is put in, a clear error or the right thing comes out: study values, arguments, files.

`pytest --hypothesis-profile=long tests/app/test_inputs.py` draws a hundred times as many examples.
"""

from __future__ import annotations

import gzip
import hashlib
import struct
import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness import (
    Arm,
    Budget,
    Claim,
    Data,
    Float,
    Int,
    Metric,
    Published,
    Study,
)
from harness.claims import above
from harness.execution import read_rows
from harness.execution.filed import digest
from harness.figures import intervals
from harness.ledger import rows
from harness.parts import data as data_
from harness.parts.data import files, images, load, sequences
from harness.parts.data.files import decompressed
from harness.parts.data.images import IMAGES, parse_idx
from harness.study import BadInput, By, DataError, InvalidStudy
from tests.conftest import TINY, harness
from tests.study.test_study import make

SLOW = 100 if settings.get_current_profile_name() == "long" else 1


def examples(count: int) -> settings:
    """So many examples; a hundred times as many in the long form."""
    return settings(
        max_examples=count * SLOW, deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )  # fmt: skip


# --- study values --------------------------------------------------------------------------------


ODD = st.one_of(
    st.none(), st.booleans(), st.integers(-2, 5), st.floats(), st.text(max_size=6), st.binary(max_size=3),
    st.sampled_from([
        "high", "low", "a", "depth", "lr", "valid_loss", "smoke", "[1]", "[2]", " ", "\n", "x\ny",
        "\ud800", "../x", "class", 10**400, np.float64("nan"), np.int64(3), object, print,
        Float(0.1, 1.0), Int(1, 2), Arm(), Metric("u"), Budget(1, 1), By("depth", {1: 2, 4: 3}),
        above("valid_loss", 1.0, arm="a", depth=1), intervals("f", "c", metric="valid_loss"),
        Claim("S.", "[1]", above("valid_loss", 1.0, arm="a", depth=1)),
        Published("1 %", "from memory"), pd.DataFrame({"a": [1]}), np.zeros(2),
    ]),
)  # fmt: skip
VALUE = st.recursive(
    ODD,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.sampled_from(["a", "lr", "depth", "smoke", "", "b c", 3, None]), inner, max_size=3)
    ),
    max_leaves=4,
)  # fmt: skip

FIELDS = {
    Metric: ("unit", "better", "worst", "log", "label"),
    Arm: ("settings", "nuisance", "held", "label"),
    Budget: ("draws", "seeds", "most_seeds", "finalists", "final_seeds", "width", "depth"),
    Published: ("words", "trust", "value"),
    Claim: ("statement", "source", "check", "id", "figure", "published"),
    By: ("factor", "values"),
}
SOUND: dict[Any, dict[str, Any]] = {
    Metric: {"unit": "u"},
    Arm: {},
    Budget: {"draws": 1, "seeds": 2},
    Published: {"words": "1 %", "trust": "from memory"},
    Claim: {"statement": "S.", "source": "[1]", "check": above("valid_loss", 1.0, arm="a", depth=1)},
    By: {"factor": "depth", "values": {1: 2, 4: 3}},
}  # fmt: skip


def one_line(error: BadInput) -> None:
    said = str(error)
    assert said
    assert len(said.splitlines()) == 1, said
    assert len(said) < 2000


@pytest.mark.parametrize("kind", FIELDS, ids=lambda kind: kind.__name__)
@examples(60)
@given(st.data())
def test_a_part_of_a_study_is_valid_or_says_in_a_line_why_not(kind: type, data: Any) -> None:
    changes = data.draw(st.dictionaries(st.sampled_from(FIELDS[kind]), VALUE, max_size=3))
    try:
        made = kind(**SOUND[kind] | changes)
    except InvalidStudy as error:
        one_line(error)
        return
    if kind is Claim:  # and a study takes it, or says why not
        try:
            make(claims=(made,))
        except InvalidStudy as error:
            one_line(error)


@examples(150)
@given(st.data())
def test_a_study_is_valid_or_says_in_a_line_why_not(data: Any) -> None:
    names = sorted(Study.__dataclass_fields__)
    changes = data.draw(st.dictionaries(st.sampled_from(names), VALUE, min_size=1, max_size=3))
    try:
        study = make(**changes)
    except InvalidStudy as error:
        one_line(error)
        return
    for scale in study.budgets:  # what is valid can be asked everything
        for arm, cell in study.cells(scale):
            assert study.draws(scale, arm, cell) + study.seeds(scale, cell) > 0
            assert set(cell) <= set(study.settings(scale, arm, cell))
            study.space(arm)
            study.label(arm)
    assert len(set(study.columns())) == len(study.columns())
    for claim in study.claims:
        study.cite(claim.source)


# --- the command line ----------------------------------------------------------------------------

WORDS = st.one_of(
    st.text(max_size=12),
    st.sampled_from([
        "", " ", "-", "--", "-x", "--json", "..", "../x", "../../etc/passwd", "/etc/passwd", "a/b", "tiny/",
        "./tiny", "x.py", "../x.py", "/dev/null", "~nobody/x.py", "~", "a\0b", "a\0b.py", "\udcff", "\udcff.py",
        "x" * 300, "x" * 5000 + ".py", "tiny\n", "tiny.py", "TINY", "ｔｉｎｙ", "tiny~1", "tiny@smoke", "tiny@x",
        "tiny~99999999999999999999", "tiny~-1", "tiny@smoke~²", "'; DROP TABLE runs; --", "<script>",
        "[bold]x[/]", "[/]", "%s", "{0}", "$HOME", "$(touch hacked)", "nan", "1e999",
    ]),
)  # fmt: skip
COMMANDS = (
    ("list",), ("show",), ("plan",), ("run",), ("run", "--inline"), ("report",), ("compare", "tiny"),
    ("replay",), ("import",), ("ui", "--port"), ("run", "tiny", "--scale"), ("report", "tiny", "--scale"),
    ("plan", "tiny", "--scale"), ("run", "tiny", "--inline", "--pack-size"), ("doctor",),
    ("run", "tiny", "--rows"), ("run", "nothing", "--inline", "--rows"),
)  # fmt: skip


@examples(30)
@given(st.sampled_from(COMMANDS), WORDS)
def test_arguments_never_lead_to_a_traceback_or_out_of_the_project(
    project: Path, command: tuple[str, ...], word: str
) -> None:
    outside = sorted(project.parent.iterdir())
    if command == ("ui", "--port") and word.strip().isdecimal():
        return  # would serve
    done = harness(*command, word)
    said = done.stderr
    assert done.returncode == 2 or word in ("--", "--help", "--json", "tiny", "tiny.py"), (
        said,
        done.stdout,
    )
    assert "Traceback" not in said + done.stdout
    if done.returncode == 2:
        assert len(said.strip().splitlines()) == 1, said
    assert sorted(project.parent.iterdir()) == outside
    inside = {path.name for path in project.iterdir()}
    assert inside <= {
        ".harness",
        "studies",
        "reports",
        "mlflow.db",
        "mlflow.db-wal",
        "mlflow.db-shm",
        "mlruns",
    }
    assert {path.name for path in (project / "reports").rglob("*")} <= {"tiny", "smoke", "default"}


# --- rows files ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A rows file of the tiny study."""
    folder = tmp_path_factory.mktemp("trained")
    for name in ("studies", "reports"):
        (folder / name).mkdir()
    (folder / "studies" / "tiny.py").write_text(TINY)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        done = harness("run", "tiny", "--scale", "smoke", "--inline", "--rows", "r.parquet")
        assert done.returncode == 0, done.stderr
    return (folder / "r.parquet").read_bytes()


@examples(60)
@given(st.data())
def test_a_damaged_rows_file_is_refused_or_reads_the_same(
    trained: bytes, tmp_path: Path, data: Any
) -> None:
    path = tmp_path / "r.parquet"
    path.write_bytes(trained)
    whole = read_rows(path)[0]
    damaged = bytearray(trained)
    if data.draw(st.booleans()):
        del damaged[data.draw(st.integers(0, len(trained) - 1)) :]
    else:
        for place in data.draw(st.lists(st.integers(0, len(trained) - 1), min_size=1, max_size=4)):
            damaged[place] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(bytes(damaged))
    try:
        frame = read_rows(path)[0]
    except BadInput as error:
        one_line(error)
        return
    pd.testing.assert_frame_equal(frame, whole, check_exact=True)


WRONG = {
    "arm": (lambda f: f.assign(arm="nobody"), "it has arm='nobody'"),
    "phase": (lambda f: f.assign(phase=3), "it has phase='3'"),
    "status": (lambda f: f.assign(status=None), "it has status='None'"),
    "column": (lambda f: f.drop(columns="seed"), "it has no column 'seed'"),
    "seed": (lambda f: f.assign(seed="x"), "invalid literal"),
    "loss": (lambda f: f.assign(loss="x"), "could not convert"),
}


@pytest.mark.parametrize("what", WRONG)
def test_rows_that_do_not_fit_are_not_imported(project: Path, trained: bytes, what: str) -> None:
    change, words = WRONG[what]
    Path("r.parquet").write_bytes(trained)
    frame = rows.load(Path("r.parquet"))
    changed = change(frame)
    changed.attrs = frame.attrs | {"digest": digest(changed)}
    changed.to_parquet("r.parquet", index=False)
    done = harness("import", "r.parquet")
    assert done.returncode == 2, done.stderr
    assert words in done.stderr
    assert not Path("mlflow.db").exists()


def test_rows_do_not_choose_the_code_that_is_run(project: Path, trained: bytes) -> None:
    Path("r.parquet").write_bytes(trained)
    frame = rows.load(Path("r.parquet"))
    (project / "studies" / "tiny.py").rename(project / "evil.py")
    frame.attrs["study"] = str(project / "evil.py")
    frame.to_parquet("r.parquet", index=False)
    done = harness("import", "r.parquet")
    assert done.returncode == 2
    assert "study 'tiny', which is not in studies/" in done.stderr
    done = harness("import", "r.parquet", "--study", "evil.py")
    assert done.returncode == 2
    assert "--study is 'evil'; allowed: 'tiny'" in done.stderr
    (project / "evil.py").rename(project / "tiny.py")
    assert harness("import", "r.parquet", "--study", "tiny.py").returncode == 0


# --- data files ----------------------------------------------------------------------------------


def test_a_file_that_unpacks_without_end_is_refused_at_its_limit(monkeypatch) -> None:
    monkeypatch.setattr(files, "LARGEST", 2**20)
    bomb = gzip.compress(bytes(2**26))
    tracemalloc.start()
    found, flaw = decompressed(bomb)
    assert tracemalloc.get_traced_memory()[1] < 2**23
    tracemalloc.stop()
    assert flaw == "unpacks to more than 1,048,576 bytes"
    assert len(found) == 2**20 + 1
    assert len(decompressed(bomb[:-9])[0]) <= 2**20 + 1


def test_a_file_too_large_is_not_read(tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "mnist" / "train-images-idx3-ubyte.gz"
    path.parent.mkdir()
    with path.open("wb") as file:
        file.truncate(2**40)  # takes no room on the disk
    monkeypatch.setattr(files, "LARGEST", 2**20)
    monkeypatch.setenv("HARNESS_DATA", str(tmp_path))
    data_.forget()
    with pytest.raises(DataError, match="is larger than 1,048,576 bytes"):
        load(Data("mnist"))


def damage(data: Any, content: bytes) -> bytes:
    """The content, cut short, with bits turned, or with bytes put in."""
    changed = bytearray(content)
    kind = data.draw(st.sampled_from(["cut", "turn", "insert"]))
    place = data.draw(st.integers(0, len(content) - 1))
    if kind == "cut":
        del changed[place:]
    elif kind == "turn":
        changed[place] ^= 1 << data.draw(st.integers(0, 7))
    else:
        changed[place:place] = data.draw(st.binary(min_size=1, max_size=8))
    return bytes(changed)


READERS = {  # a data set, its file, and what reads the content once it has been checked
    "mnist": ("mnist", "train-images-idx3-ubyte.gz", "harness.parts.data.images.parse_idx"),
    "jsb_chorales": ("jsb_chorales", "JSB_Chorales.mat", "scipy.io.loadmat"),
    "tinyshakespeare": ("text", "tinyshakespeare.txt", "harness.parts.data.sequences.characters"),
    "etth1_24": ("ett", "ETTh1.csv", "harness.parts.data.series.transformer"),
}


@pytest.mark.parametrize("name", READERS)
@examples(25)
@given(st.data())
def test_no_reader_sees_a_file_that_is_not_the_pinned_one(
    tmp_path: Path, name: str, data: Any
) -> None:
    folder, file, reader = READERS[name]
    content = bytes(range(256)) * 4
    packed = gzip.compress(content, mtime=0) if file.endswith(".gz") else content
    sha = hashlib.sha256(content).hexdigest()
    (tmp_path / folder).mkdir(exist_ok=True)
    damaged = damage(data, packed)
    (tmp_path / folder / file).write_bytes(damaged)
    data_.forget()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HARNESS_DATA", str(tmp_path))
        if name == "mnist":
            patch.setitem(IMAGES, name, ("", (sha,) * 4))
        else:
            patch.setitem(sequences.FILES, name, replace(sequences.FILES[name], digest=sha))

        def seen(*given: Any, **named: Any) -> Any:
            raise AssertionError("a reader was given an unchecked file")

        patch.setattr(reader, seen)
        whole = decompressed(damaged) == (content, "") if file.endswith(".gz") else False
        kwargs = {"length": 5} if name in ("tinyshakespeare", "etth1_24") else {}
        if whole:  # a turned bit in gzip's header, its time say, changes nothing
            return
        with pytest.raises(DataError) as caught:
            load(Data(name, **kwargs))
        one_line(caught.value)
        assert file in str(caught.value)


def test_idx_of_nothing_is_refused() -> None:
    shape = (0, 2**32 - 1, 2**32 - 1, 2)  # which numpy would not take
    with pytest.raises(DataError, match="holds 0 values; its header says 0 x 4294967295 x"):
        parse_idx(b"\x00\x00\x08\x04" + struct.pack(">4I", *shape))


@examples(150)
@given(st.data())
def test_idx_is_refused_or_has_exactly_the_bytes_of_the_file(data: Any) -> None:
    shape = data.draw(st.lists(st.sampled_from([0, 1, 2, 3, 2**16, 2**31, 2**32 - 1]), max_size=4))
    size = int(np.prod(shape, dtype=object)) if shape else 0
    body = data.draw(st.binary(max_size=24)) if size > 24 or size == 0 else bytes(range(size))
    content = b"\x00\x00\x08" + bytes([len(shape)]) + struct.pack(f">{len(shape)}I", *shape) + body
    content = damage(data, content) if data.draw(st.booleans()) else content
    try:
        array = parse_idx(content)
    except DataError as error:
        one_line(error)
        return
    assert array.tobytes() == content[4 + 4 * content[3] :]
    assert list(array.shape) == list(
        struct.unpack(f">{content[3]}I", content[4 : 4 + 4 * content[3]])
    )


def test_the_bundled_digits_are_checked_too(tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "digits.csv.gz"
    path.write_bytes(gzip.compress(b"1,2,3\n"))
    monkeypatch.setattr(images, "_bundled", lambda *parts: path)
    data_.forget()
    with pytest.raises(DataError, match=r"is another file: .*reinstall scikit-learn"):
        load(Data("digits"))
    data_.forget()


def test_a_rows_file_is_the_same_whatever_bits_its_nans_have() -> None:
    """A GPU's NaN has other bits than the processor's, and a file keeps none of them."""
    odd = np.array([0x7FFFFFFFE0000000, 0xFFF8000000000000], dtype=np.uint64).view(np.float64)
    frame = pd.DataFrame({"loss": odd, "trial": ["a", "b"]})
    assert digest(frame) == digest(frame.assign(loss=np.nan))
    assert digest(frame) != digest(frame.assign(loss=[np.nan, 1.0]))
