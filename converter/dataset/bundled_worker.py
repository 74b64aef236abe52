"""The bundled Keras definition's process: what it predicts, batch by batch.

`python -m converter.dataset.bundled_worker` reads which network to build, and from which file, as
one line of JSON; then it is spoken with like `keras_worker.py`. No torch is imported here.
"""

from __future__ import annotations

import json
import sys
from typing import IO

from converter.dataset.keras_worker import answer, guarded, tell


def serve(batches: IO[bytes], messages: IO[bytes]) -> None:
    job = json.loads(batches.readline())

    from converter.parity.original.keras_child import build  # before Keras: it chooses the backend

    model = build(job, "float32")
    tell(messages, {"of": "logits"})
    answer(model.predict_on_batch, batches, messages)


if __name__ == "__main__":
    sys.exit(guarded(serve))
