"""The gate table against the reference simulator, which was written from the contract alone."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.circuits.gates import GATES, GateType, matrix, pauli_factors
from orchestrator.circuits.ir import Gate
from tests import reference

ROWS = [row for rows in GATES.values() for row in rows.values() if row.matrix]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.gateset}-{row.name}")
@given(data=st.data())
def test_matrix_is_that_of_the_contract(row: GateType, data: st.DataObject) -> None:
    """Each gate's matrix is the contract's, phases included, for any parameters."""
    values = tuple(data.draw(st.floats(max(param.low, -20), min(param.high, 20))) for param in row.params)
    gate = Gate(row.name, tuple(range(row.targets)), params=values)
    assert np.allclose(matrix(gate, row.gateset), reference.matrix(gate, row.gateset), rtol=0, atol=1e-13)


@pytest.mark.parametrize(
    ("gate", "same"),
    [
        (Gate("gpi", (0,), params=(0.0,)), Gate("x", (0,))),
        (Gate("gpi", (0,), params=(0.25,)), Gate("y", (0,))),
        (Gate("gpi2", (0,), params=(0.25,)), Gate("ry", (0,), params=(math.pi / 2,))),
        (Gate("gpi2", (0,), params=(0.5,)), Gate("rx", (0,), params=(-math.pi / 2,))),
        (Gate("ms", (0, 1), params=(0.0, 0.0, 0.25)), Gate("xx", (0, 1), params=(math.pi / 2,))),
        (Gate("zz", (0, 1), params=(0.1,)), Gate("zz", (0, 1), params=(0.2 * math.pi,))),
    ],
)
def test_native_gates_in_turns_equal_qis_gates_in_radians(gate: Gate, same: Gate) -> None:
    """The contract's examples of native gates that are QIS gates hold."""
    assert np.allclose(matrix(gate, "native"), matrix(same, "qis"), rtol=0, atol=1e-15)


def test_pauliexp_reads_terms_from_the_right_in_listed_order() -> None:
    """The rightmost letter acts on targets[0]; factors come in the order of the terms."""
    gate = Gate("pauliexp", (4, 2), params=(0.4, 0.5, -0.25), terms=("XZ", "IY"))
    assert pauli_factors(gate) == [
        (0.2, (("Z", 4), ("X", 2))),
        (-0.1, (("Y", 4),)),
    ]


def test_pauliexp_has_no_fixed_matrix() -> None:
    """Asking for the matrix of a pauliexp is an error, not a guess."""
    with pytest.raises(ValueError, match="fixed size"):
        matrix(Gate("pauliexp", (0,), params=(1.0, 1.0), terms=("X",)), "qis")
