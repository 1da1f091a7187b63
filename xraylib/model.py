"""The study's CNN: a small residual network on grey images, with a normalisation that runs as one fused operation."""

from __future__ import annotations

from xraylib.backend import keras, tf
from xraylib.config import Config

layers = keras.layers


@keras.saving.register_keras_serializable("xraylib")
class FusedBatchNormalization(keras.layers.Layer):
    """Batch normalisation over (batch, height, width), as TensorFlow's one fused operation.

    Keras 3 runs the same arithmetic as separate element-wise operations, which more than halves the speed of a training
    step on a CPU. Input and output: bfloat16 or float32 (batch, height, width, channels); statistics are float32.
    """

    def __init__(self, momentum: float = 0.9, epsilon: float = 1e-3, **kwargs):
        super().__init__(**kwargs)
        self.momentum = momentum
        self.epsilon = epsilon

    def build(self, shape):
        def weight(name, value, trainable):
            return self.add_weight(
                name=name,
                shape=(shape[-1],),
                initializer=value,
                trainable=trainable,
                dtype="float32",
                autocast=False,  # statistics in bfloat16 would lose the small variances
            )

        self.gamma = weight("gamma", "ones", True)
        self.beta = weight("beta", "zeros", True)
        self.moving_mean = weight("moving_mean", "zeros", False)
        self.moving_variance = weight("moving_variance", "ones", False)

    def call(self, x, training=False):
        y, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=x,
            scale=self.gamma,
            offset=self.beta,
            mean=self.moving_mean,
            variance=self.moving_variance,
            epsilon=self.epsilon,
            exponential_avg_factor=1.0,
            is_training=bool(training),
        )
        if training:
            self.moving_mean.assign(self.momentum * self.moving_mean + (1 - self.momentum) * mean)
            self.moving_variance.assign(self.momentum * self.moving_variance + (1 - self.momentum) * variance)
        return y

    def compute_output_shape(self, shape):
        return shape

    def get_config(self):
        return {**super().get_config(), "momentum": self.momentum, "epsilon": self.epsilon}


def _convolution(x, channels: int, size: int = 3, stride: int = 1):
    return layers.Conv2D(channels, size, stride, padding="same", use_bias=False, kernel_initializer="he_normal")(x)


def _residual(x, channels: int, stride: int):
    """Two 3x3 convolutions beside a shortcut, which is pooled and projected where the shape changes."""
    y = layers.Activation("relu")(FusedBatchNormalization()(_convolution(x, channels, stride=stride)))
    y = FusedBatchNormalization()(_convolution(y, channels))
    if stride > 1:
        x = FusedBatchNormalization()(_convolution(layers.AveragePooling2D(stride)(x), channels, size=1))
    return layers.Activation("relu")(layers.Add()([x, y]))


def build(config: Config) -> keras.Model:
    """The study's CNN: float32 (batch, size, size, 1) in [0, 255] -> float32 logit of PNEUMONIA (batch, 1).

    The network rescales by itself, so that whoever loads it can't feed it the wrong range.
    """
    image = keras.Input((config.image_size, config.image_size, 1))
    x = layers.Rescaling(1 / 127.5, offset=-1)(image)
    x = layers.Activation("relu")(FusedBatchNormalization()(_convolution(x, 32, size=5, stride=2)))
    for channels, stride in [(32, 1), (64, 2), (64, 1), (128, 2), (128, 1), (192, 2)]:
        x = _residual(x, channels, stride)
    x = layers.GlobalAveragePooling2D()(x)
    x = layers.Dropout(0.2)(x)
    logit = layers.Dense(1, dtype="float32")(x)
    return keras.Model(image, logit, name="xray_cnn")
