"""Low-rank adapters: training, saving, loading and merging."""
