"""The torch side of borzoi-rt (imported as ``borzoi_export``): networks, weight readers, training, ONNX export."""

from __future__ import annotations

import os

# Read by huggingface_hub when it is imported, which peft does too: nothing is reported to anyone.
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
