//! The `nalpaca` program.

fn main() {}
