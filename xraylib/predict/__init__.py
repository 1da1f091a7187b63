"""Prediction: any film -> a decision, without TensorFlow."""
