"""One training run: grants tasks, judges and counts results, makes versions. Between transport and aggregator."""
