"""A drill that nobody here wrote: `ml-platform drill stuck_column --scenarios docs/drills_example.py`.

Each scenario names its cause and the right verdicts, and changes raw rows from the onset on. It is played
through the real stages in a sandbox; no stage can see its name.
"""

from ml_platform.lifecycle.drills.scenario import Scenario, with_column


class StuckColumn(Scenario):
    """A sensor hangs: in a share of the rows it tells the partition's first value."""

    name = "stuck_column"
    needs = ("unit",)
    cause = "data:contract"
    summary = "A numeric column repeats one value."
    right = frozenset({"fix_data"})

    def identifiable_after(self, context):
        """Partitions from the onset."""
        return 1

    def amount(self, context):
        """The severity in natural units; 2 is the default."""
        return f"{min(1, context.severity / 2):.0%} of the rows"

    def feed(self, name, table, partition, context):
        """Raw rows of one partition at or after the onset."""
        where = context.map.unit
        if name != where.feed or not table.num_rows:
            return table
        hit = context.rng(partition).random(table.num_rows) < context.severity / 2
        for column in where.columns:
            values = table[column].to_pylist()
            table = with_column(
                table, column, [values[0] if h else v for h, v in zip(hit, values, strict=True)]
            )
        return table
