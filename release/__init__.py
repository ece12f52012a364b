"""What is made from other files before a release: tables of the docs, one manifest, pictures, distributions."""
