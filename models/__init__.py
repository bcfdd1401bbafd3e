"""The registry of models and tasks, what they are benchmarked with, and the small models trained here.

What the folder above uses:

* `models.registry.find(name_or_path) -> Entry` and `models.registry.all() -> tuple[Entry, ...]`: what is known of a
  model. The path of a file gives an entry too: the registered one when its bytes are registered, else a bare one.
* `models.fetch.model(entry) -> Path`: the model file, its sha256 checked; shipped here, from HEADRACE_DATA, from the
  cache or from its address.
* `models.fetch.samples(entry, name=None) -> Path`: a folder in the official MLPerf Tiny layout (``y_labels.csv`` and
  one .bin a sample); ``name`` picks another of ``entry.datasets`` than the first.
* `models.tasks.find(name) -> Task`: payload bytes, classes, metric and quality target of a benchmark task.
* `models.train.train(name, folder=...) -> Path`: trains one of ours again; the same command writes the same bytes
  (needs the extra ``train``).

Errors for the user are `models.registry.RegistryError`, `models.download.FetchError` and `models.train.TrainError`;
their texts say what to do. Accuracies are fractions of 1.
"""
