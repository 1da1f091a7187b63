"""AdamW (Loshchilov and Hutter 2019) with one fused operation per weight, where Keras runs a dozen."""

from __future__ import annotations

from xraylib.network.backend import keras, tf


@keras.saving.register_keras_serializable("xraylib")
class FusedAdamW(keras.optimizers.AdamW):
    """Keras' AdamW, to the rounding: Keras decays the weights and keeps the moments, TensorFlow's ApplyAdam moves them.

    Of the options of Keras' AdamW, amsgrad has no fused operation: ValueError where it is asked for.
    """

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        if self.amsgrad:
            raise ValueError("FusedAdamW: amsgrad=True; wanted False. Use keras.optimizers.AdamW for it.")

    def _apply_weight_decay(self, variables):
        """Nothing: `update_step` does it. Keras would work the schedule out, a branch of the graph, for each weight."""

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
