"""The decision screen: which quantization, with which settings, from everything that was measured."""
