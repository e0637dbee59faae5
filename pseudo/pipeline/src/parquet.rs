//! Apache Parquet, in and out. Nested groups are records within records; lists and maps are no fields, and are refused.

pub(crate) mod input;
pub(crate) mod output;

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Calls the decoder. It takes some damage for impossible and panics; here that is a damaged file like any other, and what the panic
/// would say is kept to itself.
fn guarded<T>(decode: impl FnOnce() -> Option<T>) -> Option<T> {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let done = catch_unwind(AssertUnwindSafe(decode));
    std::panic::set_hook(hook);
    done.ok().flatten()
}
