"""The study's CNN: a small residual network on grey images, with a normalisation that runs as one fused operation."""

from xraylib.config import Config
from xraylib.network.backend import keras, tf

layers = keras.layers


@keras.saving.register_keras_serializable("xraylib")
class FusedBatchNormalization(keras.layers.BatchNormalization):
    """Keras' batch normalisation as TensorFlow's one fused operation, which doubles the speed of a training step."""

    def add_weight(self, **options):
        return super().add_weight(**options, aggregation="mean")  # of statistics, where several GPUs see a part each

    def call(self, inputs, training=False):
        y, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=inputs,
            scale=self.gamma,
            offset=self.beta,
            mean=self.moving_mean,
            variance=self.moving_variance,
            epsilon=self.epsilon,
            is_training=bool(training),
        )
        if training:
            for moving, of_batch in ((self.moving_mean, mean), (self.moving_variance, variance)):
                moving.assign(self.momentum * moving + (1 - self.momentum) * of_batch)
        return y


@keras.saving.register_keras_serializable("xraylib")
class Residual(keras.Model):
    """The layers of a residual block, which Keras' graph shows as one."""


def convolution(x, channels: int, size: int, stride: int = 1, padding: str = "same"):
    """A convolution, normalised; without bias, since the normalisation has one."""
    x = layers.Conv2D(channels, size, stride, padding, use_bias=False, kernel_initializer="he_normal")(x)
    return FusedBatchNormalization(momentum=0.9)(x)


def residual(x, channels: int, stride: int):
    """Two 3x3 convolutions beside a shortcut: (batch, h, w, c) -> (batch, h / stride, w / stride, channels)."""
    inputs = keras.Input(x.shape[1:], dtype=x.dtype)
    y = layers.ReLU()(convolution(inputs, channels, 3, stride))
    y = convolution(y, channels, 3)
    shortcut = inputs
    if stride > 1:
        shortcut = convolution(layers.AveragePooling2D(stride, padding="same")(inputs), channels, 1)
    return Residual(inputs, layers.ReLU()(y + shortcut))(x)


def build(config: Config) -> keras.Model:
    """The study's CNN: float32 (batch, image_size, image_size, 1) in [0, 255] -> float32 logit of PNEUMONIA (batch, 1).

    Of 128 x 128 pixels, the first convolution leaves 24 x 24 places, the last 3 x 3, each of which sees all pixels.
    """
    inputs = keras.Input((config.image_size, config.image_size, 1))
    x = layers.Rescaling(1 / 127.5, offset=-1)(inputs)
    x = layers.ReLU()(convolution(x, 32, 11, stride=5, padding="valid"))
    for channels, stride in ((32, 1), (48, 2), (48, 1), (96, 2), (96, 1), (128, 2)):
        x = residual(x, channels, stride)
    x = layers.Dropout(0.2)(layers.GlobalAveragePooling2D()(x))
    return keras.Model(inputs, layers.Dense(1, dtype="float32")(x), name="xray_cnn")
