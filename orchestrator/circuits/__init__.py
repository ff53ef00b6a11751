"""Circuits: the IR, gates and their matrices, validation and limits, native compilation, formats in and out."""
