"""Placeholder until its stage lands in this session."""
