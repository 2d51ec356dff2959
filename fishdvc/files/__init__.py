"""Files of a corpus and of a run: clips, a cache, parallel work, output that is whole or absent."""
