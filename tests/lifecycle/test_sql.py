"""SQL sees what was published by an instant, and can do nothing but read."""

from datetime import date, datetime, timedelta
from pathlib import Path

import duckdb
import pytest
from library import MODEL, NAME, SERVED, Library

from ml_platform.errors import ConfigError, NotFoundError, NotReadyError
from ml_platform.lifecycle import sql
from ml_platform.registry.promotions import history
from ml_platform.storage.tables import Hold, Incident


def value(library: Library, text: str, as_of: date | datetime | None = None) -> object:
    table = sql.query(library.platform, text, as_of)
    assert table.shape == (1, 1)
    return table.column(0)[0].as_py()


def test_each_published_asset_is_a_view_named_for_it(served: Library) -> None:
    names = {d.name: dict(d.columns) for d in sql.describe(served.platform)}

    assert {
        "features",
        "labels",
        "predictions",
        f"{NAME}.features",
        f"{NAME}.late_return_predictions",
        "feed.loans",
        "feed.loans_accepted",
        "feed.loans_landed",
        "promotions",
    } <= set(names)
    assert names[f"{NAME}.features"]["branch_late_rate"] == "DOUBLE"
    assert names["promotions"]["as_of"] == "TIMESTAMP WITH TIME ZONE"
    assert names["features"]["use_case"] == "VARCHAR"


def test_assets_that_hold_no_parquet_are_no_views(served: Library) -> None:
    described = {d.source for d in sql.describe(served.platform)}
    others = set(served.platform.ledger.assets()) - described

    assert f"{MODEL}/predictions" in described
    for asset in others:
        head = next(iter(served.platform.ledger.heads(asset).values()))
        assert not served.platform.lake.get(head.digest).startswith(b"PAR1"), asset


def test_relations_join(served: Library) -> None:
    text = f"""
        select count(*) from predictions p join {NAME}.features f using (partition_key, branch, loan_no)
        where p.model_key = '{MODEL}'
    """

    # The features of the last week were computed for scoring alone and not published.
    assert value(served, text) == 90
    assert value(served, "select count(distinct partition_key) from predictions") == 2


def test_the_answer_is_the_one_of_the_day(served: Library) -> None:
    before = date.fromisoformat(SERVED[1]) - timedelta(days=2)

    assert value(served, "select count(*) from predictions", before) == 90
    assert value(served, "select count(*) from predictions") == 180
    promoted = history(served.platform.ledger, MODEL)[0].as_of
    assert value(served, "select count(*) from promotions", promoted) == 1
    assert value(served, "select count(*) from promotions", promoted - timedelta(seconds=1)) == 0


def test_a_feed_shows_the_rows_visible_then(trained: Library) -> None:
    instant = trained.now - timedelta(weeks=4)
    text = "select max(visible_from) from feed.returns"

    seen = value(trained, text, instant)

    assert isinstance(seen, datetime) and instant - timedelta(weeks=1) < seen <= instant
    assert value(trained, text) > seen  # type: ignore[operator]


def test_a_feed_s_history_keeps_revisions_and_the_feed_shows_the_one_in_force(served: Library) -> None:
    served.advance()
    served.deliver("loans", [SERVED[1]], edits={SERVED[1]: {"pages": {3: 111}}})
    of_key = f"from feed.{{}} where partition_key = '{SERVED[1]}' group by branch, loan_no"

    assert (
        value(served, "select max(n) from (select count(*) n " + of_key.format("loans_accepted") + ")") == 2
    )
    assert value(served, "select max(n) from (select count(*) n " + of_key.format("loans") + ")") == 1
    assert value(served, "select count(*) from feed.loans where pages = 111 and revision = 2") == 1


def test_a_day_ends_in_the_use_case_s_own_zone(served: Library) -> None:
    day = date.fromisoformat("2020-08-30")

    # 20:00 in Berlin, when the second day's scoring began, is 18:00 UTC on the same day.
    assert value(served, "select max(as_of) from promotions", day) <= served.use_case.scheme.end_of_day(day)  # type: ignore[operator]
    assert value(served, "select count(*) from promotions", day - timedelta(days=1)) == 0


def test_an_incident_stands_as_it_stood(served: Library) -> None:
    opened = served.now
    row = Incident(
        model_key=MODEL,
        fingerprint="f",
        status="open",
        report={
            "cause": "known later",
        },
        opened_at=opened,
        updated_at=opened,
        closed_at=None,
        recorded_at=opened,
    )  # fmt: skip
    with served.platform.ledger.begin() as session:
        session.add(row)
        session.flush()
        session.add(
            Hold(
                model_key=MODEL, partition=SERVED[0], incident_id=row.id, reason="r", as_of=opened,
                released_at=opened + timedelta(days=7), recorded_at=opened,
            )
        )  # fmt: skip
        row.status, row.closed_at, row.updated_at = (
            "closed",
            opened + timedelta(days=7),
            opened + timedelta(days=7),
        )

    then = opened + timedelta(days=1)
    assert value(served, "select status from incidents") == "closed"
    assert value(served, "select status from incidents", then) == "open"
    assert value(served, "select closed_at from incidents", then) is None
    assert value(served, "select report from incidents", then) is None
    assert value(served, "select released_at from holds", then) is None
    assert value(served, "select count(*) from incidents", opened - timedelta(days=1)) == 0


@pytest.mark.parametrize(
    "text",
    [
        "create table t as select 1",
        "copy (select 1) to 'out.csv'",
        "select 1; select 2",
        "attach 'x.db'",
        "set threads = 1",
        "delete from promotions",
        "selec 1",
        "",
    ],
)
def test_only_one_select_is_run(served: Library, text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        sql.query(served.platform, text)
    assert "fix:" in str(caught.value)


def test_other_files_cannot_be_read(served: Library, tmp_path: Path) -> None:
    secret = tmp_path / "secret.csv"
    secret.write_text("a\n1\n", encoding="utf-8")

    for text in (f"select * from read_csv('{secret}')", f"select * from '{secret}'", "from glob('/etc/*')"):
        with pytest.raises((ConfigError, NotFoundError)):
            sql.query(served.platform, text)


def test_an_unknown_relation_and_an_unpublished_one_are_told_apart(served: Library) -> None:
    with pytest.raises(NotFoundError, match="nobody"):
        sql.query(served.platform, "select * from nobody")
    with pytest.raises(NotReadyError, match="2019-01-01"):
        sql.query(served.platform, "select * from predictions", date(2019, 1, 1))


def test_only_the_objects_of_named_relations_are_fetched(served: Library) -> None:
    for head in served.platform.ledger.heads(f"{NAME}/features").values():
        served.platform.lake.path(head.digest).unlink()

    assert value(served, "select count(*) from predictions") == 180
    with pytest.raises(NotFoundError, match="not in the lake"):
        sql.query(served.platform, f"select * from {NAME}.features")


def test_nothing_is_there_before_anything_ran(fresh: Library) -> None:
    assert value(fresh, "select count(*) from verdicts") == 0
    with pytest.raises(NotReadyError):
        sql.query(fresh.platform, "select * from features")


def test_a_notebook_has_all_relations_on_one_connection(served: Library) -> None:
    with sql.connect(served.platform) as connection:
        assert connection.sql("select count(*) from predictions").fetchall() == [(180,)]
        assert connection.sql(f"select count(*) from {NAME}.labels").fetchall()[0][0] > 0


@pytest.mark.parametrize("kind", ["csv", "json", "parquet"])
def test_a_result_is_written_and_read_back(served: Library, tmp_path: Path, kind: str) -> None:
    out = tmp_path / f"it's.{kind}"
    sql.write(sql.query(served.platform, "select * from promotions"), kind, out)

    assert duckdb.sql(f"select version from '{str(out).replace(chr(39), chr(39) * 2)}'").fetchall() == [(1,)]


def test_a_result_that_cannot_be_written_says_so(served: Library, tmp_path: Path) -> None:
    rows = sql.query(served.platform, "select 1 as one")
    with pytest.raises(ConfigError, match="cannot be written"):
        sql.write(rows, "csv", tmp_path / "no" / "such" / "folder.csv")
