"""What a training loop takes from Hoffer, Hubara, Soudry 2017: ghost batch norm, the matched rate, noise."""
