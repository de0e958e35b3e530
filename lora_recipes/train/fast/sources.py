"""The sources of other libraries' layers that the fast paths were checked against: a table.

A further row retrains nobody: a library's version is tracked by itself, and pyproject.toml admits
none before its row is here.
"""

from __future__ import annotations

LINEAR = "peft.tuners.lora.layer:Linear.forward"
ATTENTION = "diffusers.models.attention_processor:Attention.forward"
PROCESSOR = "diffusers.models.attention_processor:AttnProcessor2_0.__call__"
FEED_FORWARD = "diffusers.models.attention:FeedForward.forward"

KNOWN: dict[str, dict[str, str]] = {
    LINEAR: {"988b5007371f2b80": "0.21.0 to 0.21.2"},
    ATTENTION: {"70cde950e58e2ba1": "0.42.0, 0.42.1"},
    PROCESSOR: {"5f2670fce40f92fd": "0.42.0, 0.42.1"},
    FEED_FORWARD: {"14fb579b5e945553": "0.42.0, 0.42.1"},
}
"""By function, `module:Class.method`: the `source_hash`, and the versions that have it."""
