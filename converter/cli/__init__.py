"""The commands: argv → convert; the only place that knows click."""

from converter.cli.convert import convert_weights
from converter.cli.inspection import inspect_weights
from converter.cli.pictures import predict
from converter.cli.verify import verify_weights

__all__ = ["convert_weights", "inspect_weights", "predict", "verify_weights"]
