"""Sample sets in the official MLPerf Tiny layout: how each is obtained, and checked.

One TOML file a set; `dataset` knows them, `official` is the layout, and the other modules build sets from the archives
their publishers offer (`mnist`, `cifar10`) or from single files (`files`).
"""
