"""Pure functions on frames and arrays: features, detector, calibration, alert budget, explanations, accuracy."""
