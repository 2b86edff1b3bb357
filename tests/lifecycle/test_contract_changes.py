"""A contract that changed under accepted data: told with its version, the diff and what to recompute."""

from pathlib import Path

import pyarrow as pa
import pytest
from library import Library, open_library

from ml_platform.config import load_use_case
from ml_platform.errors import ContractError
from ml_platform.lifecycle.contract_changes import ContractChange, contract_changes, contract_remarks
from ml_platform.lifecycle.quarantine import replay
from ml_platform.lifecycle.views import accepted_asset
from ml_platform.storage.parquet import read_table

WEEKS = ["2020-01-06", "2020-01-13"]


def changed(
    own_use_case: Path, library: Library, *edits: tuple[str, str], feed: str = "loans"
) -> ContractChange:
    for each in library.use_case.config.feeds:
        library.deliver(each.name, WEEKS)
    assert contract_changes(library.platform, library.use_case) == []
    file = own_use_case / "contracts" / f"{feed}.yaml"
    text = file.read_text()
    for old, new in edits:
        assert old in text
        text = text.replace(old, new)
    file.write_text(text)
    (found,) = contract_changes(library.platform, library.use_case)
    return found


def accepted_rows(library: Library, key: str) -> pa.Table:
    platform = library.platform
    return read_table(platform.lake.get(platform.ledger.heads(accepted_asset("loans"), [key])[key].digest))


def opened(tmp_path: Path) -> Library:
    return open_library(tmp_path / "home")


def test_a_change_is_told_with_versions_diff_and_what_to_recompute(
    own_use_case: Path, tmp_path: Path
) -> None:
    library = opened(tmp_path)
    change = changed(
        own_use_case,
        library,
        ("version: 1.0.0", "version: 1.1.0"),
        ("max_value: 2000", "max_value: 500"),
        (", {value: station}]", "]"),
    )
    assert (change.feed, change.old_version, change.new_version) == ("loans", "1.0.0", "1.1.0")
    assert change.partitions == tuple(WEEKS)
    assert change.differences is not None
    told = "; ".join(change.differences)
    assert "column branch: values -station" in told
    assert "rule pages_in_range" in told
    assert not change.breaking
    assert change.to_recompute[0].startswith(
        "judge 2020-01-06 to 2020-01-13 again with `ml-platform quarantine replay loans --accepted`"
    )
    (remark,) = contract_remarks(library.platform, library.use_case)
    assert remark.level == "warning"
    assert "1.0.0 → 1.1.0" in remark.what


def test_only_what_reads_a_feed_is_told_to_be_recomputed(own_use_case: Path, tmp_path: Path) -> None:
    """Loans are the entities, of which both are made; branches are read by the features alone."""
    library = opened(tmp_path)
    lower = ("logicalType: integer,", "logicalType: integer, logicalTypeOptions: {maximum: 3},")
    of_features = changed(own_use_case, library, lower, feed="branches")
    assert of_features.read_by == ("features",)
    judge, features = of_features.to_recompute
    assert "quarantine replay branches --accepted" in judge
    assert features.startswith("features read branches: those whose cutoff is past stay as they were")
    assert not any("labels" in step for step in of_features.to_recompute)

    file = own_use_case / "contracts" / "loans.yaml"
    file.write_text(file.read_text().replace("max_value: 2000", "max_value: 500"))
    _, of_both = sorted(contract_changes(library.platform, library.use_case), key=lambda c: c.feed)
    _, labels, features = of_both.to_recompute
    assert labels.startswith("then labels, 2020-01-06 to 2020-01-13")
    assert features.startswith("features read loans")

    features_sql = own_use_case / "dbt/models/library_loans_features.sql"
    begin, end = "left join {{ source('lake', 'feed_branches') }}", "left join rates"
    text = features_sql.read_text()
    joined = text[text.index(begin) : text.index(end)]
    features_sql.write_text(text.replace(joined, "").replace("cast(b.staff as double)", "1.0"))
    (of_none, _) = sorted(contract_changes(library.platform, library.use_case), key=lambda c: c.feed)
    assert of_none.to_recompute[1].startswith("neither features nor labels read branches")


def test_a_limit_that_changed_with_what_a_breach_does_is_told_too(own_use_case: Path, tmp_path: Path) -> None:
    breach = "max_value: 2000}}\n            customProperties: [{property: onBreach, value: quarantine}]"
    other = breach.replace("2000", "500").replace("quarantine", "warn")
    change = changed(own_use_case, opened(tmp_path), (breach, other))
    assert change.differences is not None
    what, limit = change.differences
    assert what == "rule pages_in_range: quarantine → warn"
    assert "2000" in limit and "500" in limit


def test_a_key_or_type_that_changed_is_an_error_and_needs_a_new_feed(
    own_use_case: Path, tmp_path: Path
) -> None:
    library = opened(tmp_path)
    change = changed(
        own_use_case, library, ("name: loan_no, logicalType: integer", "name: loan_no, logicalType: string")
    )
    assert change.breaking
    assert "column loan_no: integer → string" in (change.differences or ())
    assert "a feed with a new name" in change.to_recompute[0]
    (remark,) = contract_remarks(library.platform, library.use_case)
    assert remark.level == "error"
    assert "version 1.0.0 still, raise it" in remark.what

    before = library.platform.ledger.digests(accepted_asset("loans"))
    with pytest.raises(
        ContractError, match=r"another key or type .*column loan_no: integer → string"
    ) as caught:
        library.deliver("loans", [WEEKS[0]], edits={WEEKS[0]: {"pages": {0: 99}}})
    assert caught.value.where.endswith("contracts/loans.yaml") and "feed with a new name" in caught.value.fix
    assert library.platform.ledger.digests(accepted_asset("loans")) == before
    assert [c.breaking for c in contract_changes(library.platform, library.use_case)] == [True], "still told"


def test_a_new_column_needs_deliveries_with_it(own_use_case: Path, tmp_path: Path) -> None:
    column = "      - {name: colour, logicalType: string, classification: public, description: Colour.}\n"
    change = changed(
        own_use_case, opened(tmp_path), ("      - name: pages\n", f"{column}      - name: pages\n")
    )
    assert change.new_columns == ("colour",) and not change.breaking
    step, past = change.to_recompute
    assert "gain it as on a first load" in past and "from now on only" in past
    assert "let the source deliver colour for 2020-01-06 to 2020-01-13" in step
    assert "`ml-platform run library_loans`" in step
    assert "What had landed with it already is judged again with `ml-platform quarantine replay loans" in step


@pytest.mark.parametrize(
    ("listed", "told"),
    [
        ("", "let the source deliver colour for 2020-01-06 to 2020-01-13, too, then `ml-platform run"),
        (
            ", columns: {pages: size}",
            "name colour in `source.columns` of loans, let the source deliver colour for 2020-01-06 to "
            "2020-01-13, too, then `ml-platform run",
        ),
        (
            ", columns: {colour: paint}",
            "`source.columns` of loans names colour; what is left is `ml-platform run",
        ),
    ],
)
def test_a_new_column_that_is_named_already_is_not_asked_for_again(
    own_use_case: Path, tmp_path: Path, listed: str, told: str
) -> None:
    column = "      - {name: colour, logicalType: string, classification: public, description: Colour.}\n"
    library = opened(tmp_path)
    changed(own_use_case, library, ("      - name: pages\n", f"{column}      - name: pages\n"))
    file = own_use_case / "use_case.yaml"
    source = f"source: {{path: loans.csv{listed}}}\n    event_time: due_at\n"
    file.write_text(file.read_text().replace("reader: feeds:read_loans\n", source))
    (change,) = contract_changes(library.platform, load_use_case(file))
    assert change.to_recompute[0].startswith(told)


@pytest.mark.parametrize("landed_before", [True, False])
def test_a_column_that_a_contract_gains_is_known_when_its_rows_were(
    own_use_case: Path, tmp_path: Path, landed_before: bool
) -> None:
    """A stranger adds a column of the file as a feature: the past has it too, and not from today on only."""
    contract = own_use_case / "contracts" / "loans.yaml"
    whole = contract.read_text()
    begin = whole.index("      - name: pages\n")
    end = whole.index("      - {name: due_at", begin)
    contract.write_text(whole[:begin] + whole[end:])
    library = opened(tmp_path)
    without = {} if landed_before else {"without": ["pages"]}
    for week in WEEKS:
        library.deliver("loans", [week], **without)
    before = {k: accepted_rows(library, k) for k in WEEKS}
    assert all("pages" not in t.column_names for t in before.values())

    contract.write_text(whole)
    if landed_before:
        report = replay(library.platform, "loans", accepted=True)
    else:
        report = library.deliver("loans", WEEKS)

    assert "accepted rows gained columns" in report.sentence()
    for key, old in before.items():
        now = accepted_rows(library, key)
        assert now.drop_columns(["pages"]).select(old.column_names).equals(old), "nothing else became another"
        assert now["pages"].null_count == 0
    assert contract_changes(library.platform, library.use_case) == []


def test_words_for_people_change_nothing_that_is_judged(own_use_case: Path, tmp_path: Path) -> None:
    library = opened(tmp_path)
    change = changed(
        own_use_case, library, ("Genre of the book.", "Kind of book."), ("version: 1.0.0", "version: 1.0.1")
    )
    assert change.alike and not change.breaking and change.to_recompute == []
    (remark,) = contract_remarks(library.platform, library.use_case)
    assert remark.level == "note"
    assert "description of column genre differs" in remark.what
    assert "recompute: nothing" in remark.fix


def test_what_is_accepted_again_stands_under_the_new_contract(own_use_case: Path, tmp_path: Path) -> None:
    library = opened(tmp_path)
    changed(own_use_case, library, ("Genre of the book.", "Kind of book."))
    library.deliver("loans", [WEEKS[0]], edits={WEEKS[0]: {"pages": {0: 99}}})
    (change,) = contract_changes(library.platform, library.use_case)
    assert change.partitions == (WEEKS[1],), "the other week was judged by the new one"
