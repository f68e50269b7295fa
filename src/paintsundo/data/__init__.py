"""Drawing processes: the record, its sources, shards and loaders."""
