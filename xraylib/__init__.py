"""Chest X-ray images to honest evidence; CONTRIBUTING.md says where each line lives."""
