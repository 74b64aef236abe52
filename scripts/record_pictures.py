"""Record what a Keras makes of pictures, to hold `resnet_pt.preprocess` against it.

`python scripts/record_pictures.py FOLDER OUT.npz HxW…` needs Keras (2.3 to 3), Pillow and NumPy.
The keys are `picture/colours/interpolation/HxW` (what `load_img` and `img_to_array` give) and,
behind a fifth part, the mode of `preprocess_input`; every array is (H, W, C) float32.
"""

from __future__ import annotations

import importlib
import os
import sys
import warnings

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["CUDA_VISIBLE_DEVICES"] = ""

import numpy as np

COLOURS = ("rgb", "grayscale", "rgba")
INTERPOLATIONS = ("nearest", "bilinear", "bicubic", "hamming", "box", "lanczos")
MODES = ("caffe", "tf", "torch")


def main(folder, target, sizes):
    images, network = keras_functions()
    found = {}
    for name in sorted(os.listdir(folder)):
        if name.endswith((".npz", ".md")):
            continue
        for colours in COLOURS:
            for interpolation in INTERPOLATIONS:
                for size in sizes:
                    try:
                        image = images.load_img(
                            os.path.join(folder, name),
                            color_mode=colours,
                            target_size=size,
                            interpolation=interpolation,
                        )
                    except ValueError:  # some Pillows cannot resize 16 bits
                        continue
                    key = "{}/{}/{}/{}x{}".format(name, colours, interpolation, *size)
                    pixels = found[key] = images.img_to_array(image)
                    for mode in modes(colours, interpolation):
                        found[key + "/" + mode] = np.ascontiguousarray(
                            network(pixels.copy(), mode=mode)
                        )
    np.savez_compressed(target, **found)


def modes(colours, interpolation):
    """Scaling does not depend on how a picture was resized: one interpolation is enough."""
    return MODES if colours == "rgb" and interpolation == "nearest" else ()


def keras_functions():
    """(the module with load_img and img_to_array, preprocess_input with its mode) of this Keras."""
    import keras

    inside = "keras.src" if hasattr(keras, "src") else "keras"
    utils = importlib.import_module(inside + ".applications.imagenet_utils")
    if hasattr(keras.utils, "load_img"):
        return keras.utils, utils.preprocess_input
    return importlib.import_module("keras.preprocessing.image"), utils.preprocess_input


if __name__ == "__main__":
    warnings.simplefilter("ignore")  # Pillow's, on palettes with transparency
    height_width = [tuple(int(part) for part in size.split("x")) for size in sys.argv[3:]]
    main(sys.argv[1], sys.argv[2], height_width)
