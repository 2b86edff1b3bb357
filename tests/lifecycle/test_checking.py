"""A check says all that is wrong with a use case at once, and changes nothing."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pytest
import yaml

from ml_platform.config import UseCase, load_use_case
from ml_platform.errors import ConfigError
from ml_platform.lifecycle.checking import check_data, check_files
from ml_platform.lifecycle.data_check import look
from ml_platform.lifecycle.label_check import label_remarks
from ml_platform.lifecycle.loadable import require_loadable
from ml_platform.remarks import Remark

Change = Callable[[Path], None]
FEATURES = "dbt/models/library_loans_features.sql"
HONEST = (
    "r.visible_from <= c.cutoff and c.cutoff < r.visible_to\n"
    "        and r.due_at > c.cutoff - interval 120 day and r.due_at <= c.cutoff - interval 21 day"
)
LABELS = "dbt/models/library_loans_labels.sql"


def edit(file: str, old: str, new: str) -> Change:
    def change(folder: Path) -> None:
        path = folder / file
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new))

    return change


def looked(folder: Path, scratch: Path) -> list[Remark]:
    use_case = load_use_case(folder / "use_case.yaml")
    return list(look({"ML_PLATFORM_HOME": str(scratch / "check")}, use_case))


def test_nothing_is_wrong_with_a_good_one(own_use_case: Path) -> None:
    use_case, remarks = check_files(own_use_case / "use_case.yaml")
    assert isinstance(use_case, UseCase)
    assert remarks == []
    before = {p for p in own_use_case.rglob("*") if "target" not in p.parts and "__pycache__" not in p.parts}
    assert [r for r in check_data(use_case) if r.level == "error"] == []
    assert {
        p for p in own_use_case.rglob("*") if "target" not in p.parts and "__pycache__" not in p.parts
    } == before


def test_several_things_that_are_wrong_with_the_views_are_told_at_once(
    own_use_case: Path, tmp_path: Path
) -> None:
    """A feature from the future, one that is gone, a copy of the label, and labels too few and too early."""
    returns = (
        "left join {{ source('lake', 'feed_returns') }} as t on t.partition_key = e.partition_key "
        "and t.branch = e.branch and t.loan_no = e.loan_no\n"
    )
    late = "cast(r.returned_at > r.due_at as integer)"
    for file, old, new in (
        (FEATURES, HONEST, "r.due_at > c.cutoff - interval 120 day"),
        (FEATURES, "cast(e.pages as double) as pages", "cast(hash(e.branch, e.loan_no) as double) as pags"),
        (FEATURES, "cast(b.staff as double)", "cast(t.returned_at > t.due_at as double)"),
        (FEATURES, "left join rates as r on", f"{returns}left join rates as r on"),
        (LABELS, late, f"case when e.loan_no % 5 > 0 then {late} end"),
        (
            LABELS,
            "case when r.returned_at is not null then k.first_known end",
            "e.event_time - interval 9 day",
        ),
    ):
        edit(file, old, new)(own_use_case)

    told = looked(own_use_case, tmp_path)

    for why, where in (
        ("features see the future: staff, branch_late_rate", "library_loans_features.sql"),
        ("feature pages is not in the features view", "model late_return"),
        ("feature staff: alone it ranks the label with an AUC of 1.000", "library_loans_features.sql"),
        ("the label is missing in 20% of mature rows", "library_loans_labels.sql"),
        ("of the labels are known before the cutoff", "known_at of the label's feed"),
    ):
        (found,) = [r for r in told if why in r.what]
        assert where in found.where
        assert found.fix


@pytest.mark.parametrize(
    ("change", "why", "where"),
    [
        (
            edit("dbt/models/library_loans_entities.sql", "l.loan_no,", "cast(1 as bigint) as loan_no,"),
            "repeat a key",
            "library_loans_features",
        ),
        (
            edit("feeds.py", '"pages": pa.array(week["pages"]', '"pages": pa.array(week["pages"] * 100'),
            "rule pages_in_range is broken by",
            "contracts/loans.yaml, for example partition 2020-06-15, row 1: pages = ",
        ),
        (
            edit("feeds.py", "def read_returns(request):", "def read_returns(request):\n    1 / 0"),
            "ZeroDivision",
            "feeds.py:71 (feeds:read_returns)",
        ),
        (
            edit("feeds.py", "def read_returns(request):", "def read_returns(request):\n    return 4"),
            "its reader returns int, not a pyarrow.Table",
            "feeds.py:70 (feeds:read_returns)",
        ),
    ],
)
def test_one_thing_that_is_wrong_with_the_data_is_told(
    own_use_case: Path, tmp_path: Path, change: Change, why: str, where: str
) -> None:
    change(own_use_case)
    (found,) = [r for r in looked(own_use_case, tmp_path) if why in r.what]
    assert where in found.where
    assert found.fix


NULL_KEYS = """
_read_loans = read_loans


def read_loans(request):
    table = _read_loans(request)
    numbers = [None if i in (2, 7) else n for i, n in enumerate(table["loan_no"].to_pylist())]
    return table.set_column(table.column_names.index("loan_no"), "loan_no", pa.array(numbers, pa.int64()))
"""


def test_rows_without_a_key_are_told_with_what_becomes_of_them(own_use_case: Path, tmp_path: Path) -> None:
    feeds = own_use_case / "feeds.py"
    feeds.write_text(feeds.read_text() + NULL_KEYS)
    (found,) = [r for r in looked(own_use_case, tmp_path) if "loan_no" in r.what]
    assert found.level == "warning"
    assert found.what.startswith("feed loans: 2 of 990 rows have no loan_no, which is a column of the key; ")
    assert "go to quarantine" in found.what
    assert found.where == "feeds:read_loans, row 3, 8"
    assert "give each row its loan_no" in found.fix and "contracts/loans.yaml" in found.fix


def test_rows_without_a_key_are_told_wherever_they_stand_in_a_file(
    own_use_case: Path, tmp_path: Path
) -> None:
    """Also those of partitions that no check looks at: the whole file is read for it."""
    times = "2020-01-07T12:00:00Z,2020-01-08T12:00:00Z"
    rows = f"north,4,{times}\nnorth,,{times}\n"
    (own_use_case / "returns.csv").write_text(f"branch,loan_no,due_at,returned_at\n{rows}")
    source = "source: {path: returns.csv}\n    event_time: due_at\n    known_at: {column: returned_at}"
    edit("use_case.yaml", "reader: feeds:read_returns", source)(own_use_case)
    (found,) = [r for r in looked(own_use_case, tmp_path) if "have no loan_no" in r.what]
    assert found.what.startswith("feed returns: 1 of 2 rows have no loan_no, which is a column of the key")
    assert found.where == f"{own_use_case / 'returns.csv'}, row 2"


def test_entities_without_a_key_are_told(own_use_case: Path, tmp_path: Path) -> None:
    edit("dbt/models/library_loans_entities.sql", "l.branch,", "nullif(l.branch, 'north') as branch,")(
        own_use_case
    )
    (found,) = [r for r in looked(own_use_case, tmp_path) if "rows to score have no branch" in r.what]
    assert (found.level, found.where.rsplit("/", 1)[-1]) == ("error", "library_loans_entities.sql")
    assert "where branch is not null" in found.fix


def test_what_would_stop_the_training_is_told_before_it(own_use_case: Path, tmp_path: Path) -> None:
    file = own_use_case / "use_case.yaml"
    config = yaml.safe_load(file.read_text(encoding="utf-8"))
    config["models"][0]["training"] = {"estimator": "logistic", "parameters": {"num_leaves": 8}}
    file.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")

    told = looked(own_use_case, tmp_path)

    (unknown,) = [r for r in told if r.level == "error"]
    assert unknown.what == "logistic has no parameter num_leaves"
    assert unknown.where.endswith("model late_return, training.parameters")
    assert unknown.fix.startswith("choose from: ")
    assert any("compares a model with itself" in r.what for r in told)


@pytest.mark.parametrize(
    ("old", "new", "why", "line"),
    [
        ("cast(e.pages as double)", "cast(e.pagez as double)", 'column named "pagez"', ":14"),
        ("left join rates", "left joyn rates", "syntax error", ":20"),
        ("cast(e.pages as double)", "cast(e.genre as double)", "Could not convert string", ":14"),
        ("e.genre,", "e.genre, {{ nothing( }},", "unexpected '}'", ":13"),
        ("'feed_branches'", "'feed_branch'", "which was not found", ""),
    ],
)
def test_wrong_sql_is_told_with_file_and_line(
    own_use_case: Path, tmp_path: Path, old: str, new: str, why: str, line: str
) -> None:
    edit(FEATURES, old, new)(own_use_case)
    _, remarks = check_files(own_use_case / "use_case.yaml")
    errors = [r for r in remarks if r.level == "error"] or looked(own_use_case, tmp_path)
    (found,) = [r for r in errors if r.level == "error"]
    assert why in found.what
    assert "Encountered an error" not in found.what
    assert found.where == f"{own_use_case / FEATURES}{line}"


def test_feeds_that_the_sql_reads_and_will_not_find_are_told_before_data_are_read(
    own_use_case: Path,
) -> None:
    """One is left out of ``views.feeds``, one is declared nowhere."""
    edit("use_case.yaml", "  history_partitions: 30", "  history_partitions: 30\n  feeds: [returns]")(
        own_use_case
    )
    edit("use_case.yaml", "  - name: branches\n    reader: feeds:read_branches\n    static: true\n", "")(
        own_use_case
    )
    edit("use_case.yaml", ", feeds: [branches]", "")(own_use_case)
    file = own_use_case / "use_case.yaml"
    lines = file.read_text().splitlines()

    _, (nowhere, left_out) = check_files(file)

    assert nowhere.what == "the SQL of library_loans_features reads feed branches, which is not declared"
    assert nowhere.where == f"{own_use_case / FEATURES}:18"
    assert f"under `feeds` ({file}:{lines.index('feeds:') + 1})" in nowhere.fix
    assert left_out.what.startswith("the SQL of library_loans_entities reads feed loans, which `views.feeds`")
    assert left_out.where == f"{own_use_case / 'dbt/models/library_loans_entities.sql'}:3"
    assert f"`views.feeds` ({file}:{lines.index('  feeds: [returns]') + 1})" in left_out.fix
    with pytest.raises(ConfigError, match=r"reads feed loans"):
        require_loadable(load_use_case(file), {})

    edit("use_case.yaml", "  feeds: [returns]", "  feeds: [returns, loans]")(own_use_case)
    _, (nowhere,) = check_files(file)


@pytest.mark.parametrize(
    ("labels", "hours_late", "why"),
    [
        ([1, 0] * 50, 1, ""),
        ([1] * 100, 1, "the label is constant ({1})"),
        ([1] + [None] * 99, 1, "the label is missing in 99% of mature rows"),
        ([1, 0] * 50, -1, "100% of the labels are known before the cutoff"),
        ([1, 0] * 50, [-1] * 2 + [1] * 98, "2.0% of the labels are known before the cutoff (2 of 100)"),
        ([1, 0] * 50, [-1] + [1] * 99, ""),
        ([1, 2] * 50, 1, "a binary label is 0 or 1, this one has ['1', '2']"),
    ],
)
def test_a_label_from_which_nothing_can_be_learned_is_told(
    own_use_case: Path, labels: list[int | None], hours_late: int | list[int], why: str
) -> None:
    use_case = load_use_case(own_use_case / "use_case.yaml")
    (model,) = use_case.config.models
    late = hours_late if isinstance(hours_late, list) else [hours_late] * len(labels)
    known = [use_case.cutoff("2020-03-02") + timedelta(hours=h) for h in late]
    truth = pa.table(
        {
            "partition_key": ["2020-03-02"] * len(labels),
            model.label.column: labels,
            model.label.known_at: [None if v is None else k for v, k in zip(labels, known, strict=True)],
        }
    )
    told = list(label_remarks(use_case, model, truth))
    errors = [r for r in told if r.level == "error"]
    assert [r.what for r in errors if r.what.startswith(why)] if why else not told
    assert all(r.where and r.fix for r in errors)


@pytest.mark.parametrize(
    ("weeks_late", "told"), [(2, []), (3, ["maturity_partitions"]), (5, ["maturity_partitions", "lookback"])]
)
def test_labels_that_come_later_than_the_settings_allow_are_told_with_the_number_that_would(
    own_use_case: Path, weeks_late: int, told: list[str]
) -> None:
    """Three weeks are waited for, and a delivery may revise four earlier ones."""
    file = own_use_case / "use_case.yaml"
    use_case = load_use_case(file)
    (model,) = use_case.config.models
    known = use_case.scheme.begins(use_case.scheme.shift("2020-03-02", weeks_late)) + timedelta(hours=1)
    truth = pa.table(
        {
            "partition_key": ["2020-03-02"] * 100,
            model.label.column: [1, 0] * 50,
            model.label.known_at: [known] * 100,
        }
    )
    found = list(label_remarks(use_case, model, truth))
    lines = file.read_text().splitlines()
    assert len(found) == len(told)
    for remark, setting in zip(found, told, strict=True):
        assert remark.level == "warning" and setting in remark.what
        path, line = remark.where.rsplit(":", 1)
        assert path == str(file) and setting in lines[int(line) - 1]
        needed = weeks_late + (setting == "maturity_partitions")
        assert remark.fix.startswith(f"let it be {needed} or more")


def test_features_that_look_further_back_than_the_settings_say_are_told(
    own_use_case: Path, tmp_path: Path
) -> None:
    """Their SQL reads eighteen weeks; the weeks that are looked at lie within the bound, and tell nothing."""
    edit("use_case.yaml", "history_partitions: 30", "history_partitions: 12")(own_use_case)
    (told,) = (r for r in looked(own_use_case, tmp_path) if r.level == "error")
    assert "look further back than `views: history_partitions: 12`: branch_late_rate of" in told.what
    assert told.where.endswith("library_loans_features.sql") and "history_partitions" in told.fix
    edit("use_case.yaml", "history_partitions: 12", "history_partitions: 18")(own_use_case)
    assert not [r for r in looked(own_use_case, tmp_path / "again") if r.level == "error"]


def test_code_that_loops_is_ended_and_told(own_use_case: Path) -> None:
    edit("feeds.py", "def read_loans(request):", "def read_loans(request):\n    while True: pass\n")(
        own_use_case
    )
    edit("use_case.yaml", "\nname: ", "\nlimits: {run_time: PT15S}\nname: ")(own_use_case)
    use_case = load_use_case(own_use_case / "use_case.yaml")
    (found,) = check_data(use_case)
    assert found.what == "reading feed loans was ended: it did not end within 15 s"
    assert found.where == f"{own_use_case / 'feeds.py'}:{_line(own_use_case, 'while True')}"
    assert found.fix.endswith(f"or raise limits.run_time in {own_use_case / 'use_case.yaml'}")
    (found,) = check_data(use_case, seconds=0.5)
    assert found.what == "opening its stores was ended: it did not end within 0.5 s"
    assert found.fix.endswith("or raise --timeout")


def test_a_crash_while_the_last_words_are_taken_is_the_limit_and_no_fault_of_the_files(
    own_use_case: Path,
) -> None:
    crash = "sys.stderr.write('Timeout (0:00:14)!'); sys.stderr.flush(); os.kill(os.getpid(), signal.SIGSEGV)"
    looped = f"def read_loans(request):\n    import os, signal, sys\n    {crash}\n"
    edit("feeds.py", "def read_loans(request):", looped)(own_use_case)
    (found,) = check_data(load_use_case(own_use_case / "use_case.yaml"), seconds=40)
    assert found.what == "reading feed loans was ended: it did not end within 40 s"


def test_code_that_eats_memory_is_ended_by_the_limits_of_the_use_case(own_use_case: Path) -> None:
    eats = "kept = [b'x' * (1 << 20) for _ in range(3000)]; kept[0] is kept[1]"
    edit("feeds.py", "def read_returns(request):", f"def read_returns(request):\n    {eats}\n")(own_use_case)
    edit("use_case.yaml", "\nname: ", "\nlimits: {memory_mb: 700}\nname: ")(own_use_case)
    (found,) = check_data(load_use_case(own_use_case / "use_case.yaml"))
    assert "reading feed returns was ended: it took" in found.what and "more than 700" in found.what
    assert found.where == f"{own_use_case} (feeds:read_returns)"
    assert found.fix.endswith(f"or raise limits.memory_mb in {own_use_case / 'use_case.yaml'}")


def _line(folder: Path, text: str) -> int:
    lines = (folder / "feeds.py").read_text().splitlines()
    return next(n for n, line in enumerate(lines, 1) if text in line)


LATE_FAULT = """
_read_loans = read_loans


def read_loans(request):
    table = _read_loans(request)
    late = pc.equal(table["partition_key"], "2020-12-14")
    pages = pc.if_else(late, pa.scalar(-5, table["pages"].type), table["pages"])
    return table.set_column(table.column_names.index("pages"), "pages", pages)
"""


def test_a_check_says_what_it_looked_at_and_looks_at_all_when_asked(own_use_case: Path) -> None:
    feeds = own_use_case / "feeds.py"
    feeds.write_text("import pyarrow.compute as pc\n" + feeds.read_text() + LATE_FAULT)
    use_case = load_use_case(own_use_case / "use_case.yaml")

    (told,) = check_data(use_case)
    assert told.level == "note"
    assert told.what.startswith("11 of 52 weeks were looked at, 2020-06-15 to 2020-08-24, the last 3 for")
    assert told.fix == "`ml-platform use-case check library_loans --all` looks at all of them"

    *faults, told = check_data(use_case, everything=True)
    (fault,) = [r for r in faults if "rule pages_in_range is broken by" in r.what]
    assert "partition 2020-12-14" in fault.where
    assert told.what == "all 52 weeks were looked at, 2020-01-06 to 2020-12-28"


CLOSED = """
_read_loans = read_loans


def read_loans(request):
    table = _read_loans(request)
    return table.filter(pc.less(table["partition_key"], "{from_}"))
"""


def closed(folder: Path, from_: str) -> None:
    feeds = folder / "feeds.py"
    feeds.write_text(f"import pyarrow.compute as pc\n{feeds.read_text()}{CLOSED.format(from_=from_)}")


def test_partitions_with_rows_are_looked_at_where_the_last_ones_have_none(
    own_use_case: Path, tmp_path: Path
) -> None:
    """As at night, when a shop is closed: the weeks that would be looked at first are 2020-06-15 to 08-03."""
    closed(own_use_case, "2020-06-15")
    edit(FEATURES, "cast(e.pages as double) as pages", "cast(e.pages as double) as pags")(own_use_case)
    fault, *rest, told = looked(own_use_case, tmp_path)
    assert fault.what == "feature pages is not in the features view", "features were built"
    assert not [r for r in rest if r.level == "error"]
    assert told.what.startswith("34 of 52 weeks were looked at, 2020-01-06 to 2020-08-24, the last 11 for")


def test_it_is_told_where_no_partition_has_rows(own_use_case: Path, tmp_path: Path) -> None:
    closed(own_use_case, "2020-01-01")
    (told,) = [r for r in looked(own_use_case, tmp_path) if r.level == "error"]
    assert told.what == "feed loans has no rows of 2020-01-06 to 2020-08-24"


def test_rows_that_no_entity_is_made_of_are_told_with_what_can_mend_it(
    own_use_case: Path, tmp_path: Path
) -> None:
    edit("dbt/models/library_loans_entities.sql", "c.cutoff < l.visible_to", "l.visible_to < c.cutoff")(
        own_use_case
    )
    (told,) = [r for r in looked(own_use_case, tmp_path) if r.level == "error"]
    assert told.what.startswith("no entity could be seen at the cutoff of any of 2020-06-15 to 2020-08-03")
    assert "use 'cutoff: {of: end}'" in told.fix
    edit("use_case.yaml", 'cutoff: {days_before: 1, at: "20:00"}', "cutoff: {of: end}")(own_use_case)
    (told,) = [r for r in looked(own_use_case, tmp_path / "again") if r.level == "error"]
    assert "of: end" not in told.fix and "correct known_at" in told.fix


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "killed by SIGSEGV (Segmentation fault)"),
        ("raise KeyboardInterrupt", "killed by SIGINT"),
        ("raise SystemExit(7)", "its reader fails: SystemExit: 7"),
        ("import os; os._exit(0)", "its reader fails: EndedProcess: os._exit(0)"),
        ("import ctypes; ctypes.CDLL(None)._exit(0)", "exit code 0"),
    ],
)
def test_code_that_ends_its_process_is_told_with_its_line(own_use_case: Path, code: str, why: str) -> None:
    edit("feeds.py", "def read_loans(request):", f"def read_loans(request):\n    {code}\n")(own_use_case)
    lines = (own_use_case / "feeds.py").read_text().splitlines()
    (found,) = (r for r in check_data(load_use_case(own_use_case / "use_case.yaml")) if r.level == "error")
    assert why in found.what
    line = next(n for n, text in enumerate(lines, 1) if code in text)
    assert found.where.startswith(
        str(own_use_case) if "CDLL" in code else f"{own_use_case / 'feeds.py'}:{line}"
    )
    assert found.fix


@pytest.mark.parametrize(
    ("text", "why", "line"),
    [
        ("\n1 / 0\n", "fails to import: ZeroDivisionError", 100),
        ("\ndef broken(:\n", "is not Python: invalid syntax", 100),
        ("\nfrom .helper import x\n", "No module named", 100),
    ],
)
def test_code_that_cannot_be_imported_is_told_without_reading_data(
    own_use_case: Path, text: str, why: str, line: int
) -> None:
    feeds = own_use_case / "feeds.py"
    feeds.write_text(feeds.read_text() + text)
    _, remarks = check_files(own_use_case / "use_case.yaml")
    (found,) = [r for r in remarks if r.level == "error"]
    assert why in found.what
    assert found.where == f"{feeds}:{line}"
    assert found.fix


def test_the_cost_of_a_missing_known_at_is_told(own_use_case: Path) -> None:
    edit(
        "use_case.yaml",
        "    reader: feeds:read_loans\n",
        "    reader: feeds:read_loans\n    event_time: due_at\n",
    )(own_use_case)
    _, remarks = check_files(own_use_case / "use_case.yaml")
    (found,) = [r for r in remarks if "does not say when its rows could be known" in r.what]
    assert (found.level, "back-tests look better" in found.what) == ("warning", True)


def test_all_that_is_wrong_in_the_files_is_told_at_once(own_use_case: Path) -> None:
    (own_use_case / "contracts" / "loans.yaml").unlink()
    (own_use_case / "feeds.py").write_text("def (")
    (own_use_case / FEATURES).write_text("select {{ nothing('here') }}")
    _, remarks = check_files(own_use_case / "use_case.yaml")
    told = "\n".join(r.what for r in remarks)
    assert all(w in told for w in ("no contract", "not Python", "'nothing' is undefined"))
