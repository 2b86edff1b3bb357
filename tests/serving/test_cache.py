"""What every serving cache does, held against LMDB, Redis and DynamoDB alike."""

import threading
import time
from collections.abc import Iterator

import pytest

from ml_platform.errors import ConfigError, IntegrityError, NotFoundError, NotReadyError
from ml_platform.serving.cache import SegmentGoneError, ServingCache, open_cache, short_key
from ml_platform.serving.generations import Generation, Segment, next_generation

from .conftest import AS_OF, MODEL, predictions, publish_days, write_day

ONE, TWO, THREE = "2024-05-01", "2024-05-02", "2024-05-03"


def items(value: bytes, count: int = 3) -> list[tuple[str, bytes]]:
    return [(f"{ONE}/{n}", value) for n in range(count)]


def of_items(name: str, rows: int = 3, day: str = ONE) -> Generation:
    return Generation.of(MODEL, "m", [Segment(partition_key=day, segment_id=name, rows=rows)], AS_OF)


def test_a_published_prediction_is_found_by_its_key(cache: ServingCache) -> None:
    generation = publish_days(cache, ONE, TWO)
    hit = cache.get(MODEL, f"{ONE}/K7/2")
    assert hit is not None
    assert hit.segment == generation.segments[0]
    assert cache.published(MODEL) == generation
    assert cache.get(MODEL, f"{ONE}/K7/9") is None


def test_a_key_without_partition_finds_the_newest_prediction(cache: ServingCache) -> None:
    segments = [
        write_day(cache, predictions(ONE, ["1", "2"])),
        write_day(cache, predictions(TWO, ["1"])),
    ]
    cache.publish(MODEL, Generation.of(MODEL, "m", segments, AS_OF))
    _, hits = cache.get_many(MODEL, ["K7/1", "K7/2", "K7/3"])
    assert [hit and hit.key for hit in hits] == [f"{TWO}/K7/1", f"{ONE}/K7/2", None]


def test_nothing_is_served_before_the_first_publication(cache: ServingCache) -> None:
    write_day(cache, predictions(ONE))
    assert cache.current(MODEL) is None
    with pytest.raises(NotReadyError, match="no published generation"):
        cache.get(MODEL, f"{ONE}/K7/1")


def test_a_kill_between_written_aside_and_published_leaves_the_old_generation(cache: ServingCache) -> None:
    before = publish_days(cache, ONE)
    write_day(cache, predictions(ONE, chance=0.5))
    write_day(cache, predictions(TWO))
    assert cache.published(MODEL) == before
    hit = cache.get(MODEL, f"{ONE}/K7/1")
    assert hit is not None
    assert b'"probability":0.25' in hit.value
    assert cache.get(MODEL, f"{TWO}/K7/1") is None


def test_a_half_written_segment_cannot_be_published_and_is_rewritten(cache: ServingCache) -> None:
    def killed() -> Iterator[tuple[str, bytes]]:
        yield from items(b"half", 2)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cache.write_segment("s", killed())
    assert cache.segment_rows("s") is None
    with pytest.raises(SegmentGoneError):
        cache.publish(MODEL, of_items("s"))
    assert cache.current(MODEL) is None
    assert cache.write_segment("s", items(b"whole")) == 3
    cache.publish(MODEL, of_items("s"))
    assert cache.read([("s", f"{ONE}/{n}") for n in range(3)]) == [b"whole"] * 3


def test_writing_a_segment_again_heals_it(cache: ServingCache) -> None:
    cache.write_segment("s", [*items(b"spoilt"), (f"{ONE}/foreign", b"x")])
    with pytest.raises(IntegrityError, match="4 of 3 rows"):
        cache.verify_segment("s", 3)
    cache.write_segment("s", items(b"right"))
    cache.verify_segment("s", 3, items(b"right"))
    assert cache.read([("s", f"{ONE}/foreign")]) == [None]


def test_verification_finds_a_changed_and_a_missing_prediction(cache: ServingCache) -> None:
    cache.write_segment("s", items(b"spoilt"))
    with pytest.raises(IntegrityError, match="differs"):
        cache.verify_segment("s", 3, items(b"right"))
    with pytest.raises(IntegrityError, match="is missing"):
        cache.verify_segment("s", 3, [(f"{ONE}/other", b"x")])
    with pytest.raises(IntegrityError, match="0 of 3"):
        cache.verify_segment("never-written", 3)


def test_a_generation_with_a_segment_of_another_size_is_refused(cache: ServingCache) -> None:
    before = publish_days(cache, ONE)
    cache.write_segment("s", items(b"x", 2))
    with pytest.raises(SegmentGoneError, match="2 of 3 rows"):
        cache.publish(MODEL, of_items("s", rows=3))
    assert cache.published(MODEL) == before


def test_a_backfill_of_an_older_day_does_not_move_the_served_day(cache: ServingCache) -> None:
    before = publish_days(cache, ONE, TWO)
    corrected = write_day(cache, predictions(ONE, chance=0.75))
    after = next_generation(
        before, [corrected], model_key=MODEL, model_digest="m", as_of=AS_OF, keep_segments=7
    )
    cache.publish(MODEL, after)
    assert cache.published(MODEL).served_partition == TWO
    _, (old_day, newest) = cache.get_many(MODEL, [f"{ONE}/K7/1", "K7/1"])
    assert old_day is not None
    assert newest is not None
    assert b'"probability":0.75' in old_day.value
    assert newest.key == f"{TWO}/K7/1"


def test_rollback_publishes_an_earlier_generation_again(cache: ServingCache) -> None:
    first = publish_days(cache, ONE, version=1)
    second = publish_days(cache, ONE, version=2)
    assert cache.published(MODEL) == second
    cache.publish(MODEL, cache.generation(MODEL, first.id))
    hit = cache.get(MODEL, f"{ONE}/K7/1")
    assert hit is not None
    assert b'"model_version":1' in hit.value


def test_pruning_keeps_the_named_generations_and_drops_what_only_others_list(cache: ServingCache) -> None:
    old = publish_days(cache, ONE)
    middle = publish_days(cache, ONE, TWO)
    newest = publish_days(cache, THREE)
    pruned = cache.prune(MODEL, [middle.id, newest.id])
    # Day one is still listed by the middle generation.
    assert (pruned.generations, pruned.segments) == ((old.id,), ())
    with pytest.raises(NotFoundError, match=old.id):
        cache.generation(MODEL, old.id)
    cache.publish(MODEL, middle)
    assert cache.get(MODEL, f"{ONE}/K7/1") is not None
    again = cache.prune(MODEL, [])
    assert again.generations == (newest.id,)
    assert again.segments == tuple(s.segment_id for s in newest.segments)
    assert cache.segment_rows(newest.segments[0].segment_id) is None
    assert cache.count(newest.segments[0].segment_id) == 0


def test_pruning_never_drops_what_is_served(cache: ServingCache) -> None:
    generation = publish_days(cache, ONE)
    assert cache.prune(MODEL, []).generations == ()
    assert cache.published(MODEL) == generation
    assert cache.get(MODEL, f"{ONE}/K7/1") is not None


def test_pruning_leaves_other_models_and_segments_written_aside(cache: ServingCache) -> None:
    shared = publish_days(cache, ONE).segments[0]
    other = Generation.of("parcels/lost", "m", [shared], AS_OF)
    cache.publish("parcels/lost", other)
    publish_days(cache, TWO)
    aside = write_day(cache, predictions(THREE))
    assert cache.prune(MODEL, []).segments == ()
    assert cache.published("parcels/lost") == other
    assert cache.segment_rows(shared.segment_id) == cache.segment_rows(aside.segment_id) == 3


def test_a_pruned_generation_cannot_be_published_without_its_segments(cache: ServingCache) -> None:
    old = publish_days(cache, ONE)
    new = publish_days(cache, TWO)
    cache.prune(MODEL, [])
    with pytest.raises(SegmentGoneError):
        cache.publish(MODEL, old)
    assert cache.published(MODEL) == new


def test_sweeping_drops_leftovers_of_a_kill_and_nothing_that_is_listed(cache: ServingCache) -> None:
    publish_days(cache, ONE)
    whole = write_day(cache, predictions(TWO))
    wanted = write_day(cache, predictions(THREE))
    assert cache.sweep(keep=[wanted.segment_id]) == 1
    assert cache.segment_rows(whole.segment_id) is None
    assert cache.segment_rows(wanted.segment_id) == 3
    assert cache.get(MODEL, f"{ONE}/K7/1") is not None
    assert cache.sweep(keep=[wanted.segment_id]) == 0


def test_a_missing_segment_is_an_error_and_not_a_missing_key(cache: ServingCache) -> None:
    generation = of_items("never-written")
    with pytest.raises(SegmentGoneError, match="doctor"):
        cache.lookup(generation, [f"{ONE}/1"])


def test_a_reader_whose_generation_is_pruned_meanwhile_reads_the_new_one(cache: ServingCache) -> None:
    old = publish_days(cache, ONE, chance=0.25)
    new = publish_days(cache, ONE, chance=0.75)
    cache.prune(MODEL, [])
    answers = iter([old, new])
    generation, (hit,) = cache.get_many(MODEL, [f"{ONE}/K7/1"], lambda: next(answers))
    assert generation == new
    assert hit is not None
    assert b'"probability":0.75' in hit.value


def test_each_answer_comes_from_one_generation_while_generations_flip(cache: ServingCache) -> None:
    """Readers run through seven publications, each with its own bytes in every row of two segments."""
    keys = [f"{day}/{n}" for day in (ONE, TWO) for n in range(4)]
    stop = threading.Event()
    seen: list[set[bytes]] = []
    failures: list[BaseException] = []

    def flip(number: int, keep: list[str]) -> str:
        value = b"%d" % number
        segments = []
        for day in (ONE, TWO):
            name = f"{day}-{number}"
            rows = cache.write_segment(name, [(k, value) for k in keys if k.startswith(day)])
            segments.append(Segment(partition_key=day, segment_id=name, rows=rows))
        generation = Generation.of(MODEL, "m", segments, AS_OF)
        cache.publish(MODEL, generation)
        cache.prune(MODEL, keep)
        return generation.id

    def read() -> None:
        try:
            while not stop.is_set():
                _, hits = cache.get_many(MODEL, keys)
                seen.append({hit.value if hit else b"missing" for hit in hits})
                stop.wait(0.02)
        except BaseException as error:
            failures.append(error)

    before = flip(0, [])
    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for number in range(1, 7):
        before = flip(number, [before])
        time.sleep(0.05)
    stop.set()
    for reader in readers:
        reader.join()
    assert not failures
    assert all(len(values) == 1 for values in seen)
    assert b"missing" not in set.union(*seen)
    assert len(set.union(*seen)) >= 3, "the readers saw too few flips to prove anything"


def test_many_rows_and_long_keys_are_kept(cache: ServingCache) -> None:
    long = f"{ONE}/" + "é" * 700
    rows = [(f"{ONE}/{n:05}", b"%d" % n) for n in range(1100)] + [(long, b"long")]
    assert cache.write_segment("s", rows) == 1101
    assert cache.count("s") == 1101
    assert cache.read([("s", long), ("s", f"{ONE}/01099"), ("s", "")]) == [b"long", b"1099", None]


def test_keys_nearby_help_a_reader_who_mistyped(cache: ServingCache) -> None:
    segment = write_day(cache, predictions(ONE, ["1", "2", "5"]))
    assert cache.neighbours(segment.segment_id, f"{ONE}/K7/3", 1) == [f"{ONE}/K7/5"]
    assert cache.neighbours(segment.segment_id, f"{ONE}/Z/1", 2) == [f"{ONE}/K7/1", f"{ONE}/K7/2"]
    assert cache.neighbours("never-written", "k") == []


def test_a_corrupt_manifest_is_an_integrity_error(cache: ServingCache) -> None:
    publish_days(cache, ONE)
    generation = cache.published(MODEL)
    forged = generation.model_copy(update={"model_digest": "forged"})
    cache.publish(MODEL, forged)
    with pytest.raises(IntegrityError, match="manifest is corrupt"):
        cache.get(MODEL, f"{ONE}/K7/1")


def test_health_names_the_store_without_its_secrets(cache: ServingCache, url: str) -> None:
    publish_days(cache, ONE)
    health = cache.health()
    assert health.store == url.partition("://")[0]
    assert health.where == cache.where


def test_models_do_not_see_each_others_generations(cache: ServingCache) -> None:
    publish_days(cache, ONE)
    assert cache.current("parcels/lost") is None
    assert cache.manifests("parcels/lost") == {}
    assert list(cache.manifests(MODEL)) == [cache.current(MODEL)]


@pytest.mark.parametrize(
    "url",
    [
        "memcached://host",
        "lmdb://relative/path",
        "redis://user:secret@host/0",
        "redis://host:99999/0",
        "redis://host/zero",
        "redis://host/0?password=secret",
        "dynamodb://",
        "dynamodb://key:secret@table",
        "dynamodb://table?secret=1",
    ],
)
def test_a_malformed_address_is_refused_without_showing_secrets(url: str) -> None:
    with pytest.raises(ConfigError, match="fix:") as caught:
        open_cache(url)
    assert "key:secret" not in str(caught.value)
    assert "user:secret" not in str(caught.value)


def test_long_keys_are_shortened_and_stay_apart() -> None:
    assert short_key("k" * 10, 10) == b"k" * 10
    assert len(short_key("k" * 11, 10)) == 65
    assert short_key("k" * 11, 10) != short_key("k" * 12, 10)
