"""Search: what was said is found by its words, what was meant by its vector. LanceDB holds both, and can be rebuilt."""
