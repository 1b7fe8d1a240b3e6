"""Where the time goes: op by op, beside the peak of the machine."""
