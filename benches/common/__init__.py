"""What all benchmarks with peers share: commands, turns, tables, environments."""
