//! `twinkeep`: placeholder until the commands follow.
fn main() {}
