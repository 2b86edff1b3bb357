"""What bad input gets, and the test of each: a table that cannot name a test that is gone."""

import ast
from functools import cache
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[2]

BAD_INPUT = {
    "an unknown or wrong key in use_case.yaml": [
        "test_config.py::test_an_unknown_or_wrong_key_is_told_with_file_line_and_key",
        "test_config.py::test_a_missing_key_points_at_what_it_is_missing_from",
        "test_config.py::test_a_file_that_cannot_be_read_is_told",
    ],
    "a malformed contract": [
        "contracts/test_parse.py::test_an_error_names_line_and_reason",
        "contracts/test_parse.py::test_a_file_that_is_no_contract_says_so",
    ],
    "a truncated feed file": [
        "use_cases/flight_delay/test_source.py::test_a_truncated_file_is_refused",
        "use_cases/flight_delay/test_source.py::test_a_truncated_archive_is_refused",
    ],
    "an empty feed file or delivery": [
        "use_cases/flight_delay/test_source.py::test_an_empty_file_is_refused_and_one_with_a_header_only_has_no_rows",
        "lifecycle/test_landing.py::test_an_empty_delivery_of_a_due_partition_is_an_event_and_keeps_what_was_there",
    ],
    "a missing column": ["use_cases/flight_delay/test_source.py::test_a_missing_column_is_named"],
    "an extra column": ["contracts/test_accept.py::test_an_extra_column_is_told_and_dropped"],
    "a retyped column": [
        "contracts/test_accept.py::test_a_retyped_column_holds_everything_back",
        "use_cases/flight_delay/test_source.py::test_a_retyped_column_is_refused_with_its_value",
    ],
    "a fault in a partition that no check looks at by default": [
        "lifecycle/test_checking.py::test_a_check_says_what_it_looked_at_and_looks_at_all_when_asked"
    ],
    "duplicate keys": ["contracts/test_accept.py::test_contradicting_duplicates_all_go_and_copies_leave_one"],
    "NaN keys": ["contracts/test_accept.py::test_a_missing_or_nan_key_is_quarantined"],
    "a wrong encoding": [
        "ingestion/test_reader.py::test_a_wrong_encoding_is_a_feed_error",
        "use_cases/flight_delay/test_source.py::test_another_encoding_is_refused",
    ],
    "a partition outside the range": [
        "lifecycle/test_landing.py::test_a_partition_outside_the_range_is_refused"
    ],
    "scoring without a champion": ["lifecycle/test_scoring.py::test_without_a_champion_nothing_is_scored"],
    "a corrupted model bundle": [
        "modeling/test_bundle.py::test_a_changed_byte_is_found_before_anything_is_read",
        "lifecycle/test_scoring.py::test_a_spoilt_bundle_of_the_champion_stops_scoring_and_what_was_served_stays",
        "lifecycle/test_promotion.py::test_a_spoilt_bundle_is_not_promoted",
    ],
    "a foreign model bundle": [
        "modeling/test_bundle.py::test_a_foreign_header_is_refused",
        "lifecycle/test_promotion.py::test_a_foreign_bundle_is_not_promoted",
    ],
    "a corrupted dataset object": [
        "datasets/test_versions.py::test_a_spoilt_object_or_wrong_count_is_not_trained_on",
        "lifecycle/test_training.py::test_a_spoilt_object_of_the_dataset_stops_training_and_keeps_the_last_candidate",
    ],
    "a foreign dataset object": [
        "datasets/test_versions.py::test_an_object_of_another_dataset_is_not_trained_on"
    ],
    "a corrupted or foreign cache segment": [
        "lifecycle/test_caching.py::test_a_spoilt_segment_is_found_out_and_the_doctor_writes_it_again",
        "serving/test_records.py::test_foreign_bytes_are_found_out",
        "serving/test_records.py::test_a_record_of_another_key_or_model_is_found_out",
    ],
    "a corrupted report": ["lifecycle/test_pages.py::test_a_spoilt_page_is_not_shown"],
    "a full disk": [
        "storage/test_lake.py::test_a_full_disk_says_so_and_leaves_no_half_object",
        "lifecycle/test_platform.py::test_a_full_disk_keeps_the_last_good_state",
        "serving/test_lmdb_cache.py::test_a_full_disk_is_a_store_error_and_keeps_the_last_generation",
    ],
    "an unwritable lake": ["storage/test_lake.py::test_an_unwritable_lake_says_so_and_keeps_what_it_has"],
    "a store that is down": [
        "storage/test_ledger.py::test_a_ledger_that_is_down_says_where",
        "storage/test_s3_lake.py::test_a_server_that_is_down_is_a_store_error",
        "lifecycle/test_caching.py::test_a_cache_that_is_down_changes_nothing_in_the_ledger",
        "lifecycle/test_promotion.py::test_a_promotion_stands_while_mlflow_is_down_and_the_doctor_catches_up",
        "serving/test_redis_cache.py::test_a_server_that_is_down_is_a_store_error",
        "serving/test_dynamodb_cache.py::test_a_service_that_is_down_is_a_store_error",
    ],
    "a key that is not in the cache": [
        "serving/test_client.py::test_a_missing_key_says_what_is_served_and_what_is_near",
        "serving/test_http.py::test_a_missing_key_is_404_with_what_is_near",
    ],
    "two runs on one partition at once": [
        "storage/test_ledger.py::test_of_two_processes_on_one_partition_exactly_one_wins",
        "lifecycle/test_acceptance.py::test_of_two_runs_that_land_one_partition_one_wins",
        "lifecycle/test_acceptance.py::test_of_two_runs_that_accept_one_partition_one_wins",
        "lifecycle/test_views.py::test_of_two_runs_that_publish_one_partition_one_wins",
        "lifecycle/test_scoring.py::test_of_two_runs_that_score_one_partition_one_wins",
        "lifecycle/test_caching.py::test_of_two_runs_that_publish_a_generation_one_wins",
        "registry/test_promotions.py::test_of_two_processes_that_promote_at_once_one_is_refused",
    ],
    "a kill before a dataset is published": [
        "lifecycle/test_training_data.py::test_a_kill_before_the_version_is_published_leaves_the_last_one_in_force"
    ],
    "a kill before a promotion is published": [
        "lifecycle/test_promotion.py::test_a_kill_before_the_promotion_is_published_leaves_the_last_champion"
    ],
    "a kill before a cache generation is published": [
        "lifecycle/test_caching.py::test_a_kill_before_the_generation_is_published_serves_the_last_one",
        "serving/test_cache.py::test_a_kill_between_written_aside_and_published_leaves_the_old_generation",
    ],
    "a file for a new use case with duplicate keys": [
        "scaffold/test_proposal.py::test_a_repeated_key_names_rows_and_a_column_that_tells_them_apart",
        "scaffold/test_proposal.py::test_rows_that_repeat_exactly_are_only_a_warning",
    ],
    "times as numbers, with AM and PM, or that can be read in two ways": [
        "scaffold/test_proposal.py::test_numbers_from_1970_afternoons_and_mixed_offsets_are_instants",
        "scaffold/test_proposal.py::test_numbers_that_are_no_instants_are_refused_with_what_is_read",
        "scaffold/test_proposal.py::test_the_format_that_is_asked_for_is_one_for_all_times_of_the_file",
    ],
    "lines of another length, an open quote, or bytes that are no text": [
        "scaffold/test_proposal.py::test_a_file_that_is_none_is_told",
        "ingestion/test_sources.py::test_bad_files_say_what_where_and_how_to_fix_it",
    ],
    "a file with mixed types": [
        "scaffold/test_proposal.py::test_what_is_doubtful_is_a_warning",
        "scaffold/test_proposal.py::test_words_for_missing_among_numbers_are_told_with_how_many",
    ],
    "an outcome that hardly occurs": [
        "scaffold/test_proposal.py::test_an_outcome_that_hardly_occurs_is_refused"
    ],
    "a file with dates in several formats": [
        "scaffold/test_proposal.py::test_what_cannot_be_used_is_refused_with_where_and_fix",
        "scaffold/test_proposal.py::test_each_format_of_a_mixed_column_is_named_with_a_row_and_how_many",
        "ingestion/test_sources.py::test_bad_files_say_what_where_and_how_to_fix_it",
    ],
    "a label that is constant, missing, or known before the cutoff": [
        "scaffold/test_proposal.py::test_what_cannot_be_used_is_refused_with_where_and_fix",
        "scaffold/test_proposal.py::test_a_label_that_is_known_before_the_cutoff_is_refused",
        "scaffold/test_proposal.py::test_labels_known_before_the_cutoff_are_named_with_their_rows",
        "lifecycle/test_checking.py::test_a_label_from_which_nothing_can_be_learned_is_told",
        "lifecycle/guard/test_diagnosing.py"
        "::test_labels_of_one_class_are_not_judged_and_more_of_them_than_chance_are_an_incident",
        "scaffold/test_proposal.py::test_what_the_diagnosis_will_take_for_a_leak_is_kept_with_a_warning",
        "lifecycle/test_checking.py::test_several_things_that_are_wrong_with_the_views_are_told_at_once",
    ],
    "an entity that is seen once": [
        "scaffold/test_proposal.py::test_entities_that_are_seen_once_have_no_past"
    ],
    "two use cases with one name": ["test_discovery.py::test_of_two_with_one_name_the_first_stays"],
    "a use case that was removed while it has predictions": [
        "lifecycle/test_health.py::test_one_that_was_removed_while_it_has_predictions_is_told",
        "cli/test_absent.py::test_one_that_was_removed_is_told_by_every_reader",
        "cli/test_absent.py::test_a_feed_of_one_that_was_removed_is_told_by_quarantine",
    ],
    "a feed that two use cases declare differently": [
        "cli/test_use_cases.py::test_a_feed_that_another_use_case_tells_otherwise_is_told"
    ],
    "wrong settings": [
        "test_config.py::test_a_typical_mistake_is_told_in_plain_words_at_its_own_line",
        "test_config.py::test_wrong_syntax_is_told_with_its_line_and_in_one",
    ],
    "a use case whose code raises, loops or eats memory": [
        "lifecycle/test_health.py::test_what_is_broken_is_told_and_the_others_are_ok",
        "lifecycle/test_health.py::test_code_that_loops_at_import_is_ended",
        "lifecycle/test_checking.py::test_code_that_loops_is_ended_and_told",
        "lifecycle/test_checking.py::test_code_that_eats_memory_is_ended_by_the_limits_of_the_use_case",
        "test_limited.py::test_what_goes_too_far_is_ended",
        "lifecycle/test_checking.py::test_code_that_ends_its_process_is_told_with_its_line",
        "orchestration/test_demo.py"
        "::test_feed_code_that_ends_a_run_is_told_with_its_line_and_never_reads_as_success",
        "ingestion/test_unending.py::test_another_thread_ends_the_process_but_not_as_if_all_had_gone_well",
        "lifecycle/test_checking.py::test_code_that_cannot_be_imported_is_told_without_reading_data",
        "orchestration/test_limits.py::test_a_run_past_its_limit_ends_says_why_and_the_next_one_works",
        "lifecycle/guard/test_replaying.py::test_a_replay_past_the_limits_of_a_run_ends_and_says_why",
        "orchestration/test_demo.py"
        "::test_a_run_that_fails_says_what_where_and_how_to_mend_it_and_tells_its_owner",
    ],
    "YAML from a newer version": [
        "test_config.py::test_a_file_that_cannot_be_read_is_told",
        "lifecycle/test_health.py::test_the_list_says_what_is_broken",
    ],
    "a contract that changed under accepted data": [
        "lifecycle/test_contract_changes.py::test_a_change_is_told_with_versions_diff_and_what_to_recompute",
        "lifecycle/test_contract_changes.py::test_a_key_or_type_that_changed_is_an_error_and_needs_a_new_feed",
        "lifecycle/test_contract_changes.py::test_a_limit_that_changed_with_what_a_breach_does_is_told_too",
        "lifecycle/test_quarantine.py"
        "::test_what_another_contract_accepted_is_judged_again_and_withdrawn_from_now_on",
        "lifecycle/test_contract_changes.py::test_words_for_people_change_nothing_that_is_judged",
        "lifecycle/test_timing_changes.py::test_rows_are_dated_by_a_new_known_at",
        "lifecycle/test_timing_changes.py::test_another_cutoff_is_told_and_what_was_served_stays",
    ],
}


@cache
def names_in(file: str) -> set[str]:
    tree = ast.parse((TESTS / file).read_text(encoding="utf-8"))
    return {n.name for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)}


@pytest.mark.parametrize("what", BAD_INPUT)
def test_each_kind_of_bad_input_has_its_tests(what: str) -> None:
    assert BAD_INPUT[what]
    for test in BAD_INPUT[what]:
        file, _, name = test.partition("::")
        assert name in names_in(file), f"{what}: {test} is gone"
