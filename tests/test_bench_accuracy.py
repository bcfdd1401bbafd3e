"""Top-1, AUC, and the journal of samples."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import BenchError, Dataset, from_list
from bench.accuracy import Journal, Row, area_under_curve, open_journal, read_rows, summarise

DATASET = from_list("three", [("a.bin", b"1", 0), ("b, c.bin", b"2", 1), ("d.bin", b"3", 1)], 2)
ROWS = [
    Row("a.bin", 0, "0", ("0.900", "0.100")),
    Row("b, c.bin", 1, "0", ("0.600", "0.400")),
    Row("d.bin", 1, "1", ("0.200", "0.800")),
]


@given(st.lists(st.tuples(st.integers(0, 4), st.booleans()), max_size=30))
def test_area_under_curve_is_the_share_of_pairs_in_order(pairs: list[tuple[int, bool]]) -> None:
    positive = [score for score, label in pairs if label]
    negative = [score for score, label in pairs if not label]
    area = area_under_curve(np.array([p[0] for p in pairs]), np.array([p[1] for p in pairs], bool))
    if not positive or not negative:
        assert area is None
    else:
        wins = sum((a > b) + (a == b) / 2 for a in positive for b in negative)
        assert area == wins / (len(positive) * len(negative))


def test_summary(tmp_path: Path) -> None:
    found = summarise(Journal(tmp_path, {"mismatches": ["d.bin"]}, ROWS), 2, checked=True)
    assert (found.samples, found.checked, found.mismatches) == (3, 3, ("d.bin",))
    assert found.top1 == 2 / 3
    assert found.auc == 1.0
    scores = [Row(f"{i}", i % 2, s, (s,)) for i, s in enumerate(["1.0", "3.0", "3.0", "2.0"])]
    found = summarise(Journal(tmp_path, {"mismatches": []}, scores), 2, checked=False)
    assert (found.top1, found.auc, found.checked) == (None, 2.5 / 4, 0)


def test_journal(tmp_path: Path) -> None:
    path = tmp_path / "samples.csv"
    journal = open_journal(tmp_path, DATASET, checked=True)
    assert path.read_text() == "file,label,predicted,scores\n"
    journal.add(ROWS[0], True)
    journal.add(ROWS[1], False)
    assert path.read_text() == 'file,label,predicted,scores\na.bin,0,0,0.900 0.100\n"b, c.bin",1,0,0.600 0.400\n'
    whole = path.read_bytes()
    # Cut anywhere: what was whole is read, the rest is done again, and a mismatch is only counted with its sample.
    for length in range(len(b"file,label,predicted,scores\n"), len(whole) + 1):
        path.write_bytes(whole[:length])
        rows = open_journal(tmp_path, DATASET, checked=True).rows
        assert rows == ROWS[: whole[:length].count(b"\n") - 1]
        binding = json.loads((tmp_path / "samples.json").read_text())
        assert binding["mismatches"] == [row.file for row in rows[1:]]
        binding["mismatches"] = ["b, c.bin"]
        (tmp_path / "samples.json").write_text(json.dumps(binding))
    assert not list(tmp_path.glob("*-old-*"))
    # Unchecked samples do not pass for checked ones, nor one data set for another.
    assert open_journal(tmp_path, DATASET, checked=False).rows == []
    assert (tmp_path / "samples-old-1.csv").read_bytes() == whole
    other = Dataset("three", 2, DATASET.samples[::-1])
    assert open_journal(tmp_path, other, checked=False).rows == []
    assert (tmp_path / "samples-old-2.csv").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,label,predicted,scores\na.bin,0\n", "2: not a sample ('a.bin,0'); move the file away"),
        ("file,label,predicted,scores\na.bin,x,0,1.0\n", "2: not a sample ('a.bin,x,0,1.0'); move the file away"),
        ("file,label,predicted,scores\na.bin,0,0,one\n", "2: not a sample ('a.bin,0,0,one'); move the file away"),
        ("a.bin,0,0,1.000\n", "1: the header file,label,predicted,scores is missing; move the file away"),
    ],
)
def test_a_journal_somebody_edited(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "samples.csv"
    path.write_text(text)
    with pytest.raises(BenchError) as caught:
        read_rows(path)
    assert str(caught.value) == f"{path}:{message}"
