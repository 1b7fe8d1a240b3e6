"""The trainer: plan, loop, losses, logs, and runs that stop and go on."""
