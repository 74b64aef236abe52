"""A graph → the residual network that it is, whatever its layers are called.

network    the whole: its sums, the blocks that they close, stages and outputs
stem       from the picture to the first block
head       what follows the last block
placing    single layers, each of which finds its place once
refusals   what is said of a layer that finds none
"""

from converter.whole_model.recognition.network import recognise

__all__ = ["recognise"]
