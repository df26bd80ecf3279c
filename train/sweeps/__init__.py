"""Many runs from one specification."""
