"""`scripts/bench`: this project beside what people would use instead.

rows       what is compared with what, and what is to be reached: a literal table
others     what people would use instead, as small programs
inference  the ways to run a ResNet-50, each in a process of its own
files      the models that are converted, made here with Keras
measure    whole processes: seconds and peak memory, taken in turns
same       whether two files hold the same tensors
page       docs/benchmark.md and its picture
"""
