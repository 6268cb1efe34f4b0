"""The configuration of the examples. The wheel ships it as data, in `mlops_kit.examples.conf`."""
