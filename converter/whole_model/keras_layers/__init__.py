"""Keras' layer classes as ops of a general network: a file for each class or family.

Each file has `LAYERS`, `{class name: lifting}`: a function from one call of a layer, as any Keras
wrote it, to the value that it gives. `call` says what they are told, and how they answer.
"""
