"""The study's CNN: a small residual network on grey images, with a normalisation that runs as one fused operation."""

from xraylib.config import Config
from xraylib.network.backend import keras, tf

layers = keras.layers


@keras.saving.register_keras_serializable("xraylib")
class FusedBatchNormalization(keras.layers.Layer):
    """Batch normalisation as one operation, which doubles the speed of a training step; statistics are float32."""

    def __init__(self, momentum: float = 0.9, epsilon: float = 1e-3, **kwargs):
        super().__init__(**kwargs)
        self.momentum, self.epsilon = momentum, epsilon

    def build(self, shape):
        # Several GPUs see parts of a batch, hence a mean; statistics in bfloat16 would lose the small variances.
        options = {"shape": (shape[-1],), "aggregation": "mean", "dtype": "float32", "autocast": False}
        self.gamma = self.add_weight(name="gamma", initializer="ones", **options)
        self.beta = self.add_weight(name="beta", initializer="zeros", **options)
        self.moving_mean = self.add_weight(name="moving_mean", initializer="zeros", trainable=False, **options)
        self.moving_variance = self.add_weight(name="moving_variance", initializer="ones", trainable=False, **options)

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


@keras.saving.register_keras_serializable("xraylib")
class Residual(keras.layers.Layer):
    """Two 3x3 convolutions beside a shortcut: (batch, h, w, c) -> (batch, h / stride, w / stride, channels)."""

    def __init__(self, channels: int, stride: int = 1, **kwargs):
        super().__init__(**kwargs)
        self.channels, self.stride = channels, stride
        policy = {"dtype": self.dtype_policy}  # a network that is loaded keeps the precision that it was saved in

        def normalised(size: int, stride: int = 1) -> list:
            # No bias: the normalisation that follows has one.
            options = {"padding": "same", "use_bias": False, "kernel_initializer": "he_normal", **policy}
            return [layers.Conv2D(channels, size, stride, **options), FusedBatchNormalization(**policy)]

        self.first = [*normalised(3, stride), layers.ReLU(**policy)]
        self.second = normalised(3)
        average = layers.AveragePooling2D(stride, padding="same", **policy)
        self.shortcut = [average, *normalised(1)] if stride > 1 else []

    def build(self, shape):
        for branch, inputs in ((self.first, shape), (self.second, None), (self.shortcut, shape)):
            inputs = inputs or self.compute_output_shape(shape)
            for layer in branch:
                layer.build(inputs)
                inputs = layer.compute_output_shape(inputs)

    def call(self, x, training=False):
        y = x
        for layer in self.first + self.second:
            y = layer(y)
        for layer in self.shortcut:
            x = layer(x)
        return tf.nn.relu(y + x)

    def compute_output_shape(self, shape):
        return (shape[0], *(-(-side // self.stride) for side in shape[1:3]), self.channels)

    def get_config(self):
        return {**super().get_config(), "channels": self.channels, "stride": self.stride}


def build(config: Config) -> keras.Model:
    """The study's CNN: float32 (batch, image_size, image_size, 1) in [0, 255] -> float32 logit of PNEUMONIA (batch, 1).

    Of 128 x 128 pixels, the first convolution leaves 24 x 24 places, the last 3 x 3, each of which sees all pixels.
    """
    return keras.Sequential(
        [
            keras.Input((config.image_size, config.image_size, 1)),
            layers.Rescaling(1 / 127.5, offset=-1),
            layers.Conv2D(32, 11, 5, use_bias=False, kernel_initializer="he_normal"),
            FusedBatchNormalization(),
            layers.ReLU(),
            Residual(32),
            Residual(48, stride=2),
            Residual(48),
            Residual(96, stride=2),
            Residual(96),
            Residual(128, stride=2),
            layers.GlobalAveragePooling2D(),
            layers.Dropout(0.2),
            layers.Dense(1, dtype="float32"),
        ],
        name="xray_cnn",
    )
