"""One file per stage, and what the stages share: finding clips, caching, working in parallel."""
