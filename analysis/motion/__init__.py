"""How the weights move, without a law: the motion budget, the equilibrium of weight decay, and rate against batch."""
