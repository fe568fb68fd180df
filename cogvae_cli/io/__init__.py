"""Files: video, latents, weights and where to find them. Never imports jax."""
