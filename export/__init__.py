"""The torch side of borzoi-rt (imported as ``borzoi_export``): networks, weight readers, training, ONNX export."""
