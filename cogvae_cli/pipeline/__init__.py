"""Where model and io meet: encode, decode, roundtrip, info, and the stages that run them side by side."""
