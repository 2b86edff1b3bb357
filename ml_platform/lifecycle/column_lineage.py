"""Which columns of the feeds a use case's features and labels are made from."""

from __future__ import annotations

from ml_platform.config import UseCase
from ml_platform.features.dbt import compiled_views
from ml_platform.features.lineage import RowExpression, ViewLineage, direct, row_expression
from ml_platform.features.relations import CUTOFF_COLUMNS, CUTOFFS, history_names, relation_of
from ml_platform.lifecycle.feed_contracts import contract_of


def column_lineage(use_case: UseCase) -> dict[str, ViewLineage]:
    """Direct lineage of the columns of each of the use case's views, by dbt model.

    Raises:
        ConfigError: dbt refuses the project.
        ContractError: A feed's contract is missing or malformed.
    """
    return direct(compiled_views(use_case), _relations(use_case))


def label_expression(use_case: UseCase, column: str) -> RowExpression | None:
    """How a label is computed from one row of one feed; None where it is made otherwise.

    Raises:
        ConfigError: dbt refuses the project.
        ContractError: A feed's contract is missing or malformed.
    """
    views, known = compiled_views(use_case), dict(_relations(use_case))
    for name, found in direct(views, known).items():
        known[name] = tuple(found.columns)
    return row_expression(views.labels, known, column)


def _relations(use_case: UseCase) -> dict[str, tuple[str, ...]]:
    feeds = {
        relation_of(f.name): history_names(contract_of(use_case, f.name).column_names)
        for f in use_case.config.feeds
    }
    return feeds | {CUTOFFS: CUTOFF_COLUMNS}
