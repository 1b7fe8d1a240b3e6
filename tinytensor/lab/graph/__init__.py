"""Autograd graph: snapshot, drawing, and step-by-step backward."""
