"""The making of data sets: a deterministic plan, shards drawn one by one by any number of processes and machines."""
