"""Record how a network travels through weight space, fit the ultra-slow diffusion law, match a large batch."""
