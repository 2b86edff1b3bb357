"""Diagnosis: from typed evidence to causes and a verdict. Pure: no I/O and no clock."""
