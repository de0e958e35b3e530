"""The sources of other libraries' layers that the fast paths were checked against: a table.

A further row retrains nobody: a library's version is tracked by itself. Whoever trained with a
version before its row was here keeps an adapter of plain layers, within rounding of the other.
"""

from __future__ import annotations

KNOWN: dict[str, dict[str, str]] = {
    "peft.tuners.lora.layer:Linear.forward": {"988b5007371f2b80": "0.21.0 to 0.21.2"},
    "diffusers.models.attention_processor:Attention.forward": {
        "70cde950e58e2ba1": "0.42.0, 0.42.1"
    },
    "diffusers.models.attention_processor:AttnProcessor2_0.__call__": {
        "5f2670fce40f92fd": "0.42.0, 0.42.1"
    },
    "diffusers.models.attention:FeedForward.forward": {"14fb579b5e945553": "0.42.0, 0.42.1"},
}
"""By function, `module:Class.method`: the `source_hash`, and the versions that have it."""
