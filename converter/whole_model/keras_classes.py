"""Keras' own layer classes, of every age: none of them is a class of a project's own.

Taken from the modules of layers of Keras 1.2.2, 2.0.9, 2.1.6, 2.2.4, 2.3.1, tf.keras 2.10 and 2.15
(`tf.keras.layers`, `tf.compat.v1.keras.layers`) and Keras 3.15, with their aliases, and names that
Keras 0.x and the inside of tf.keras (`base_layer.py`) have besides.
"""

from __future__ import annotations

SEQUENCES = frozenset(
    [
        *("AdaptiveAveragePooling1D", "AdaptiveMaxPooling1D", "AtrousConv1D"),
        *("AtrousConvolution1D", "AveragePooling1D", "AvgPool1D", "Bidirectional", "Conv1D"),
        *("Conv1DTranspose", "ConvLSTM1D", "ConvLSTM2D", "ConvLSTM2DCell", "ConvLSTM3D"),
        *("ConvRNN2D", "ConvRecurrent2D", "Convolution1D", "Convolution1DTranspose"),
        *("Cropping1D", "CuDNNGRU", "CuDNNLSTM", "DepthwiseConv1D", "Embedding", "GRU"),
        *("GRUCell", "GRUCellV1", "GRUCellV2", "GRUV1", "GRUV2", "GlobalAveragePooling1D"),
        *("GlobalAvgPool1D", "GlobalMaxPool1D", "GlobalMaxPooling1D", "JZS1", "JZS2", "JZS3"),
        *("LSTM", "LSTMCell", "LSTMCellV1", "LSTMCellV2", "LSTMV1", "LSTMV2"),
        *("LocallyConnected1D", "Masking", "MaxPool1D", "MaxPooling1D", "RNN", "Recurrent"),
        *("RepeatVector", "SeparableConv1D", "SeparableConvolution1D", "SimpleRNN"),
        *("SimpleRNNCell", "SpatialDropout1D", "StackedRNNCells", "TextVectorization"),
        *("TimeDistributed", "TimeDistributedDense", "TimeDistributedMerge", "UpSampling1D"),
        "ZeroPadding1D",
    ]
)
"""Layers of sequences, of vectors or of pictures."""

VOLUMES = frozenset(
    [
        *("AdaptiveAveragePooling3D", "AdaptiveMaxPooling3D", "AveragePooling3D", "AvgPool3D"),
        *("Conv3D", "Conv3DTranspose", "Convolution3D", "Convolution3DTranspose", "Cropping3D"),
        *("Deconv3D", "Deconvolution3D", "GlobalAveragePooling3D", "GlobalAvgPool3D"),
        *("GlobalMaxPool3D", "GlobalMaxPooling3D", "MaxPool3D", "MaxPooling3D"),
        *("SpatialDropout3D", "UpSampling3D", "ZeroPadding3D"),
    ]
)
"""Layers of volumes."""

OTHERS = frozenset(
    [
        *("Activation", "ActivityRegularization", "AdaptiveAveragePooling2D"),
        *("AdaptiveMaxPooling2D", "Add", "AddLoss", "AddMetric", "AdditiveAttention"),
        *("AlphaDropout", "AtrousConv2D", "AtrousConvolution2D", "Attention", "AugMix"),
        *("AutoContrast", "AutoEncoder", "Average", "AveragePooling2D", "AvgPool2D"),
        *("BatchNormalization", "BatchNormalizationV1", "BatchNormalizationV2"),
        *("CategoryEncoding", "CenterCrop", "ClassMethod", "Concatenate"),
        *("ContrastLimitedAdaptiveHistogramEqualization", "Conv2D", "Conv2DTranspose"),
        *("Convolution2D", "Convolution2DTranspose", "Cropping2D", "CustomScaleLayer", "CutMix"),
        *("Deconv2D",),
        *("Deconvolution2D", "Dense", "DenseFeatures", "DepthwiseConv2D", "DeviceWrapper"),
        *("Discretization", "Dot", "Dropout", "DropoutWrapper", "ELU", "EinsumDense"),
        *("Equalization", "FeatureSpace", "Flatten", "FlaxLayer", "GaussianDropout"),
        *("GaussianNoise", "GlobalAveragePooling2D", "GlobalAvgPool2D", "GlobalMaxPool2D"),
        *("GlobalMaxPooling2D", "Graph", "GroupNormalization", "GroupQueryAttention"),
        *("GroupedQueryAttention", "HashedCrossing", "Hashing", "Highway", "Identity"),
        *("InputLayer", "InstanceMethod", "InstanceProperty", "IntegerLookup", "JaxLayer"),
        *("Lambda", "LambdaMerge", "LayerNormalization", "LeakyReLU", "LocallyConnected2D"),
        *("MaskedLambda", "MaskedLayer", "MaxNumBoundingBoxes", "MaxPool2D", "MaxPooling2D"),
        *("Maximum", "MaxoutDense", "MelSpectrogram", "Merge", "Minimum", "MixUp"),
        *("MultiHeadAttention", "Multiply", "Normalization", "PReLU", "ParametricSoftplus"),
        *("Permute", "Pipeline", "PreprocessingLayer", "RMSNormalization", "RandAugment"),
        *("RandomBrightness", "RandomColorDegeneration", "RandomColorJitter", "RandomContrast"),
        *("RandomCrop", "RandomElasticTransform", "RandomErasing", "RandomFlip"),
        *("RandomFourierFeatures", "RandomGaussianBlur", "RandomGrayscale", "RandomHeight"),
        *("RandomHue", "RandomInvert", "RandomPerspective", "RandomPosterization"),
        *("RandomRotation", "RandomSaturation", "RandomSharpness", "RandomShear"),
        *("RandomTranslation", "RandomWidth", "RandomZoom", "ReLU", "Rescaling", "Reshape"),
        *("ResidualWrapper", "Resizing", "ReversibleEmbedding", "SReLU", "STFTSpectrogram"),
        *("SeparableConv2D", "SeparableConvolution2D", "SharpnessAwareMinimization", "Siamese"),
        *("SiameseHead", "SlicingOpLambda", "Softmax", "Solarization", "SpatialDropout2D"),
        *("SpectralNormalization", "StringLookup", "Subtract", "SyncBatchNormalization"),
        *("TFOpLambda", "TFSMLayer", "TensorFlowOpLayer", "ThresholdedReLU"),
        *("TorchModuleWrapper", "UnitNormalization", "UpSampling2D", "ZeroPadding2D"),
    ]
)
"""The others: of pictures and vectors, and those that take anything."""


KERAS = SEQUENCES | VOLUMES | OTHERS

CUSTOM = "it is a class of the project's own: what it computes is in its code"
OPERATOR = "it is an operator of Keras' own, and none that is carried over"
OF_SEQUENCES = "it is Keras' own and works on sequences, and none that is read yet"
OF_VOLUMES = "it is Keras' own and works on volumes, and none that is read yet"
OF_CODE = "it runs a function of the project's own"
NOT_CARRIED = "it is Keras' own, and none that is carried over"


def why_unknown(class_name: str) -> str:
    """Why a layer's class is none that is read: `package>Name`, a registered class, is custom."""
    if class_name == "Lambda":
        return OF_CODE
    if class_name in SEQUENCES:
        return OF_SEQUENCES
    if class_name in VOLUMES:
        return OF_VOLUMES
    return NOT_CARRIED if class_name in KERAS else CUSTOM
