"""AdamW (Loshchilov and Hutter 2019) with one fused operation per weight, where Keras runs a dozen."""

from xraylib.network.backend import keras, tf


@keras.saving.register_keras_serializable("xraylib")
class FusedAdamW(keras.optimizers.AdamW):
    """Keras' AdamW, to the rounding, but for its option amsgrad: TensorFlow's ApplyAdam moves the weights."""

    def _apply_weight_decay(self, variables):
        """Nothing: `update_step` does it. Keras would work the schedule out again for each weight."""

    def update_step(self, gradient, variable, learning_rate):
        """Move one weight: Algorithm 1 of Kingma and Ba (2015), in the form of its section 2, as Keras does."""
        if self.weight_decay is not None and self._use_weight_decay(variable):
            variable.assign_sub(variable * self.weight_decay * learning_rate)
        index = self._get_variable_index(variable)
        step = tf.cast(self.iterations.value, tf.float32) + 1
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=self._momentums[index].value.handle,
            v=self._velocities[index].value.handle,
            beta1_power=self.beta_1**step,
            beta2_power=self.beta_2**step,
            lr=tf.cast(learning_rate, tf.float32),
            beta1=self.beta_1,
            beta2=self.beta_2,
            epsilon=self.epsilon,
            grad=gradient,
        )
