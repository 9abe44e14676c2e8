"""The metrics of the folder evaluate/, for import: `from conclip.metrics.pair_accuracy.pair_accuracy import ...`."""

from pathlib import Path

# An installed package holds the metric folders right here. In a checkout they lie in evaluate/, which cannot be a
# package itself: it would hide the library of that name.
_IN_CHECKOUT = Path(__file__).resolve().parents[2] / "evaluate"
if (_IN_CHECKOUT / "pair_accuracy").is_dir():
    __path__.append(str(_IN_CHECKOUT))
