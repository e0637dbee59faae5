//! Tests of what becomes of lost writes, key by key.
