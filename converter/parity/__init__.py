"""The proof: the original's logits, and every layer before them, against the converted network's.

The original runs in Keras, in a process of its own: TensorFlow never shares a process with torch.
"""
