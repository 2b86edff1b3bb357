"""The catalogue names everything there is, with source, type, owner and lineage."""

import json
import shutil
from pathlib import Path

import yaml
from library import MODEL, NAME, Library

from ml_platform.lifecycle.catalogue import Entry, entries, of_use_case
from ml_platform.lifecycle.platform import Platform
from ml_platform.registry import promotions


def found(library: Library) -> dict[tuple[str, str], Entry]:
    return {(e.kind, e.name): e for e in entries(library.platform)}


def test_a_champion_is_what_it_is_and_not_what_the_settings_would_train(served: Library) -> None:
    """Here the baseline was better."""
    assert served.target.model.training.estimator == "lightgbm"
    entry = found(served)["model", MODEL]
    assert (entry.type, entry.format) == ("binary, logistic", "skops")


def test_every_kind_of_thing_is_in_it(served: Library) -> None:
    catalogue = found(served)
    champion = promotions.champion(served.platform.ledger, MODEL)
    assert champion is not None
    assert catalogue["feed", "returns"].type == "weekly partitions"
    assert catalogue["feed", "branches"].type == "reference"
    pages = catalogue["column", "loans.pages"]
    assert (pages.type, pages.format, pages.classification) == ("integer", "int64", "public")
    assert pages.usage == "library_loans.pages"
    assert catalogue["feature", "library_loans.pages"].classification == "public"
    assert (
        catalogue["model", MODEL].classification
        == catalogue["predictions", f"{MODEL}/predictions"].classification
    )
    rate = catalogue["feature", "library_loans.branch_late_rate"]
    assert rate.lineage == "returns" and rate.source == "dbt model library_loans_features"
    assert rate.columns == ("returns.due_at", "returns.returned_at")
    assert catalogue["feature", "library_loans.pages"].columns == ("loans.pages",)
    assert catalogue["label", "library_loans.late"].columns == rate.columns
    assert catalogue["label", "library_loans.late"].lineage == "mature after 3 partitions"
    assert champion.model_digest[:12] in catalogue["model", MODEL].source
    assert catalogue["predictions", f"{MODEL}/predictions"].type.startswith("180 rows")
    assert len([e for kind, e in catalogue if kind == "dataset"]) == 1


def test_each_entry_has_an_owner_and_a_lineage_and_fits_json(served: Library) -> None:
    for entry in entries(served.platform):
        assert entry.owner and entry.lineage and entry.description, entry.name
        assert json.loads(json.dumps(entry.as_dict()))["name"] == entry.name


def test_it_is_there_before_anything_has_run(fresh: Library) -> None:
    catalogue = found(fresh)
    assert catalogue["model", MODEL].source == "no champion yet"
    assert catalogue["predictions", f"{MODEL}/predictions"].source == "none yet"
    assert not [name for kind, name in catalogue if kind == "dataset" and "library" in name]


def test_models_share_entries_of_features_and_feeds_name_all_their_users(
    own_use_case: Path, tmp_path: Path
) -> None:
    other = own_use_case.with_name("other_loans")
    shutil.copytree(own_use_case, other)
    text = (
        (other / "use_case.yaml")
        .read_text(encoding="utf-8")
        .replace("name: library_loans\n", "name: other_loans\n")
    )
    config = yaml.safe_load(text)
    config["models"].append(config["models"][0] | {"name": "second"})
    (other / "use_case.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")

    made = entries(Platform({"ML_PLATFORM_HOME": str(tmp_path / "home")}))

    feed = [e for e in made if (e.kind, e.name) == ("feed", "loans")]
    assert [e.use_cases for e in feed] == [("library_loans", "other_loans")]
    feature = [e for e in made if (e.kind, e.name) == ("feature", "other_loans.pages")]
    assert [e.usage for e in feature] == ["other_loans/late_return, other_loans/second"]
    column = next(e for e in made if (e.kind, e.name) == ("column", "loans.pages"))
    assert column.usage == "library_loans.pages, other_loans.pages"
    assert {e.kind for e in of_use_case(made, "other_loans")} >= {"feed", "feature", "model"}


def test_a_key_is_as_personal_in_each_feed_and_what_is_only_joined_on_it_is_not(
    own_use_case: Path, tmp_path: Path
) -> None:
    contract = own_use_case / "contracts" / "branches.yaml"
    text = contract.read_text(encoding="utf-8")
    key, _, rest = text.partition("{name: staff")
    contract.write_text(
        key.replace("classification: public", "classification: personal") + "{name: staff" + rest,
        encoding="utf-8",
    )

    platform = Platform({"ML_PLATFORM_HOME": str(tmp_path / "home")})
    made = {(e.kind, e.name): e for e in entries(platform) if NAME in e.use_cases}

    feature = made["feature", f"{NAME}.branch"]
    assert feature.columns == ("loans.branch",) and "personal" in feature.classification
    staff = made["feature", f"{NAME}.staff"]
    assert staff.classification == "public" and "branches.branch" in staff.joined_on
    assert made["feature", f"{NAME}.pages"].joined_on == ()
    assert not {c for e in made.values() for c in e.joined_on if "visible" in c}
    assert "returns.branch" in made["feature", f"{NAME}.branch_late_rate"].joined_on
    assert "personal" in made["predictions", f"{MODEL}/predictions"].classification


def test_the_key_of_the_rows_counts_for_predictions_whatever_the_model_learns_from(
    own_use_case: Path, tmp_path: Path
) -> None:
    contract = own_use_case / "contracts" / "loans.yaml"
    text = contract.read_text(encoding="utf-8")
    contract.write_text(
        text.replace(
            "primaryKeyPosition: 2, classification: internal", "primaryKeyPosition: 2, classification: secret"
        ),
        encoding="utf-8",
    )

    made = entries(Platform({"ML_PLATFORM_HOME": str(tmp_path / "home")}))

    mine = [e for e in made if NAME in e.use_cases]
    assert not [e for e in mine if e.kind == "feature" and "secret" in e.classification]
    assert [e.kind for e in mine if "secret" in e.classification if e.kind == "predictions"]


def test_use_cases_without_any_record_are_marked(served: Library, tmp_path: Path) -> None:
    assert {e.run for e in entries(served.platform) if NAME in e.use_cases} == {True}
    others = Platform({"ML_PLATFORM_HOME": str(tmp_path / "another")})
    assert {e.run for e in entries(others)} == {False}
