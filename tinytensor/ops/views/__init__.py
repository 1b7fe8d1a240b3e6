"""Ops that return views, their copies, and transfers between devices."""
