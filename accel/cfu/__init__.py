"""The custom function unit for the soft CPU."""
