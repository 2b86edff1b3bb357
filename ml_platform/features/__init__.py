"""One feature definition: dbt compiles it once, every user of a feature executes that text."""
