"""The CogVideoX VAE in JAX and Flax NNX; opens no file and prints nothing."""
