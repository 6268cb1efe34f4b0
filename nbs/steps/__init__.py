"""The step notebooks of the examples. The wheel ships them as data, in `mlops_kit.examples.steps`."""
