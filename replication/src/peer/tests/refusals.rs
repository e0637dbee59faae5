//! Who is turned away.
