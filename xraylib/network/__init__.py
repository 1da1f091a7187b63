"""Networks: pixels -> logits. The only room that imports TensorFlow."""
