"""Running expectations: the only module that calls Great Expectations."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

# Great Expectations reads its switch at import.
os.environ["GX_ANALYTICS_ENABLED"] = "false"
os.environ.setdefault("DO_NOT_TRACK", "true")

import great_expectations as gx
import numpy as np
import numpy.typing as npt
import pandas as pd
from great_expectations.expectations import expectation as gx_expectation
from great_expectations.expectations.registry import get_expectation_impl

from ml_platform.contracts.model import Expectation

# It spells the name of an expectation's class anew dozens of times in each validation: a tenth of its cost.
gx_expectation.camel_to_snake = cache(gx_expectation.camel_to_snake)
# And its configuration 72 times, for each argument that it looks up: a third of the cost.
_spell = gx_expectation.Expectation.configuration.fget

_EVERY_ROW = {
    "result_format": "COMPLETE",
    "include_unexpected_rows": False,
    "partial_unexpected_count": 0,
}
_MET_OR_NOT = {"result_format": "BOOLEAN_ONLY"}
_OBSERVED = {"result_format": "BASIC", "partial_unexpected_count": 0}
_OF_THREAD = threading.local()


def _spelled_once(expectation: Any) -> Any:
    """The configuration of an expectation: the same object throughout one validation of this thread."""
    spelled: dict[int, tuple[Any, Any]] | None = getattr(_OF_THREAD, "spelled", None)
    if spelled is None:
        return _spell(expectation)
    if id(expectation) not in spelled:
        # With the expectation, so that no other can have its id before the validation ends.
        spelled[id(expectation)] = expectation, _spell(expectation)
    return spelled[id(expectation)][1]


gx_expectation.Expectation.configuration = property(_spelled_once)


@contextlib.contextmanager
def _spelling() -> Iterator[None]:
    """A validation, which changes no expectation."""
    _OF_THREAD.spelled = {}
    try:
        yield
    finally:
        del _OF_THREAD.spelled


@dataclass(frozen=True)
class Outcome:
    """What an expectation found.

    Attributes:
        success: Whether it was met.
        rows: Positions of the rows that break it; empty for expectations about a table.
        observed: The measured value, for expectations about a table.
        error: Why it could not be judged; empty when it could.
    """

    success: bool
    rows: npt.NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    observed: Any = None
    error: str = ""


class Validator:
    """Validates frames in a context of its own; see :func:`validator`.

    Never share one between threads: Great Expectations would judge one thread's frame for another.
    """

    def __init__(self) -> None:
        context = gx.get_context(mode="ephemeral")
        context.variables.progress_bars = {"globally": False}
        source = context.data_sources.add_pandas("delivery")
        self._rows = source.add_dataframe_asset("rows").add_batch_definition_whole_dataframe("all")

    def rows(self, frame: pd.DataFrame, expectations: Mapping[str, Expectation]) -> dict[str, Outcome]:
        """Validate a frame against expectations about rows.

        Which rows break an expectation is asked only of those that are not met: it triples the cost, and
        nearly all are met.

        Args:
            frame: Data with a RangeIndex; its index is what :attr:`Outcome.rows` returns.
            expectations: By an id of the caller's choice.

        Returns:
            An outcome for each id. One that crashes, or that Great Expectations leaves out, has an error.
        """
        found = self._run(frame, expectations, _MET_OR_NOT)
        broken = {name: expectations[name] for name, o in found.items() if not o.success}
        return found | self._run(frame, broken, _EVERY_ROW)

    def table(self, frame: pd.DataFrame, expectations: Mapping[str, Expectation]) -> dict[str, Outcome]:
        """Validate a frame against expectations about the whole of it, as :meth:`rows` does."""
        return self._run(frame, expectations, _OBSERVED)

    def _run(
        self, frame: pd.DataFrame, expectations: Mapping[str, Expectation], result_format: Mapping[str, Any]
    ) -> dict[str, Outcome]:
        found: dict[str, Outcome] = {}
        suite = gx.ExpectationSuite(name="contract")
        for name, expectation in expectations.items():
            try:
                kind = get_expectation_impl(expectation.name)
                suite.expectations.append(kind(**expectation.kwargs, meta={"id": name}))
            except Exception as error:
                found[name] = Outcome(False, error=f"{type(error).__name__}: {error}")
        if suite.expectations:
            batch = self._rows.get_batch({"dataframe": frame})
            with _spelling():
                results = batch.validate(suite, result_format=dict(result_format)).results
            for result in results:
                found[result.expectation_config.meta["id"]] = _outcome(result)
        missing = Outcome(False, error="Great Expectations gave no result")
        return {name: found.get(name, missing) for name in expectations}


def validator() -> Validator:
    """This thread's validator: making one costs 80 ms, as much as judging a small delivery."""
    if not hasattr(_OF_THREAD, "validator"):
        _OF_THREAD.validator = Validator()
    found: Validator = _OF_THREAD.validator
    return found


def _outcome(result: Any) -> Outcome:
    error = _error(result.exception_info or {})
    if error:
        return Outcome(False, error=error)
    rows = result.result.get("unexpected_index_list") or []
    return Outcome(bool(result.success), np.asarray(rows, np.int64), result.result.get("observed_value"))


def _error(info: Mapping[str, Any]) -> str:
    """The first message of an exception_info, which is one record, or one for each failed metric."""
    records = [info] if "raised_exception" in info else list(info.values())
    raised = [r for r in records if isinstance(r, dict) and r.get("raised_exception")]
    return str(raised[0].get("exception_message") or "crashed") if raised else ""
