//! Decisions: which nodes hold which groups, what to move, who should lead; which segments of a disk to free.
//!
//! Pure: facts in, decisions out; no I/O, no clock, no randomness. The same facts, in whatever order, give the same
//! decisions, so that any node may make them. Carrying them out (adding a learner, waiting for it, removing a voter)
//! is the caller's.

pub mod gc;
mod leaders;
mod load;
mod node;
mod placement;
mod rebalance;

pub use leaders::{Transfer, balance_leaders};
pub use node::{NodeFacts, NodeState, NodeStatus};
pub use placement::{PlanError, place_groups};
pub use rebalance::{Move, rebalance};

#[cfg(test)]
mod testing;
