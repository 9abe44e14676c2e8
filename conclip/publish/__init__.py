"""Folders on the Hub: what of a folder is uploaded, and the upload."""
