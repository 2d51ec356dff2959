"""From shards to batches. Reading and writing shards needs no torch; training on them does."""

from fishdvc.dataset.shards import Sentence, SpeakerGroup, read_shard, write_shard

__all__ = ["Sentence", "SpeakerGroup", "read_shard", "write_shard"]
