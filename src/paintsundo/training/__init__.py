"""Training: Lightning modules, their data on the device, exponential moving averages, and the `train` command."""
