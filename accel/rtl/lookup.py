"""Tables as logic: constants that are nearly all alike."""

from __future__ import annotations

import numpy as np
from amaranth.hdl import Const, Module, Signal, Value


def choose(m: Module, name: str, values: list[int], index: Signal) -> Value:
    """The entry of a list of constants."""
    return look_up(m, name, np.array([values]), Const(0, 1), index)


def look_up(m: Module, name: str, table: np.ndarray, row: Value, column: Value) -> Value:
    """The entry of a table, shape (rows, columns), most of whose rows and columns are alike: logic for the others."""
    shape = range(int(table.min()), int(table.max()) + 1)
    if table.min() == table.max():
        return Const(int(table[0, 0]), shape)
    kinds, kind_of_row = np.unique(table, axis=0, return_inverse=True)
    kind_of_row = kind_of_row.ravel()
    usual_kind = int(np.bincount(kind_of_row).argmax())
    kind = Signal(range(len(kinds)), name=f"{name}_kind")
    m.d.comb += kind.eq(usual_kind)
    with m.Switch(row):
        for k in range(len(kinds)):
            if k != usual_kind:
                with m.Case(*(int(i) for i in np.flatnonzero(kind_of_row == k))):
                    m.d.comb += kind.eq(k)
    vectors, vector_of_column = np.unique(kinds, axis=1, return_inverse=True)
    vector_of_column = vector_of_column.ravel()
    usual_vector = int(np.bincount(vector_of_column).argmax())
    value = Signal(shape, name=name)

    def entries(vector: np.ndarray) -> None:
        usual = int(np.bincount(np.unique(vector, return_inverse=True)[1].ravel()).argmax())
        usual_value = int(np.unique(vector)[usual])
        m.d.comb += value.eq(usual_value)
        with m.Switch(kind):
            for k, v in enumerate(vector):
                if v != usual_value:
                    with m.Case(k):
                        m.d.comb += value.eq(int(v))

    with m.Switch(column):
        for v in range(vectors.shape[1]):
            if v != usual_vector:
                with m.Case(*(int(i) for i in np.flatnonzero(vector_of_column == v))):
                    entries(vectors[:, v])
        with m.Default():
            entries(vectors[:, usual_vector])
    return value
