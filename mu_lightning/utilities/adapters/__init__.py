"""What has no public way in a library that this project builds on: one small module for each thing worked around."""
