"""The experiments of the sources, and a release gate, as a user of the package would write them."""
