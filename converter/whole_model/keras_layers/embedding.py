"""Tables: a row of numbers for each whole number that is read.

Sources: keras 1.2.2, 2.2.4 and 2.15 `embeddings.py`, 3.15 `src/layers/core/embedding.py`.
"""

from __future__ import annotations

from converter.whole_model.keras_layers.call import Call, From, Lifting, NotLiftedError, Value
from converter.whole_model.ranges import channels
from resnet_pt.ops import Embedding


def _embedding(call: Call) -> Value:
    """Its mask is what `lift` looks at; the dropout of Keras 1's is none when it predicts."""
    value = call.value
    if value.rank > 2:
        raise NotLiftedError(f"it reads numbers of {value.rank} axes behind the batch")
    count = channels(call.first("input_dim"), "input_dim")
    width = channels(call.first("output_dim"), "output_dim")
    array = "kernel" if call.era.major == 1 else "embeddings"
    op = Embedding(count, width, second=value.rank == 2 and value.last)
    return call.add(op, value, weights={"weight": From(array)})


LAYERS: dict[str, Lifting] = {"Embedding": _embedding}
