//! Which part the region plays in its pair as far as this gateway knows, and looking again when that seems out of date.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use wire::PairRole;
use wire::admin::PAIR_ROLE_FRESH;

/// How long a request waits for a fresh look: longer than the nodes are waited for.
const LOOK_WAIT: Duration = Duration::from_secs(2);

/// What is known of the region's part: [`PairRole::Primary`] until something else is said.
#[derive(Debug, Default)]
pub(crate) struct Role {
    state: Mutex<State>,
    /// The last look that is over.
    over: watch::Sender<u64>,
    wanted: Notify,
}

#[derive(Debug, Default)]
struct State {
    role: PairRole,
    /// Writes that were refused.
    refusals: u64,
    /// Looks that were begun.
    begun: u64,
    /// When the last look that is over was begun.
    looked: Option<Instant>,
}

/// A look at all groups that goes on.
#[derive(Debug)]
pub struct Look {
    number: u64,
    at: Instant,
    /// Refusals before it.
    refusals: u64,
}

impl Role {
    /// From here on the nodes are asked.
    pub(crate) fn begin_look(&self) -> Look {
        let mut state = self.lock();
        state.begun += 1;
        Look { number: state.begun, at: Instant::now(), refusals: state.refusals }
    }

    /// Takes what a look at all groups showed, nothing if no node answered. One that began before a write was refused does not
    /// make the region a primary again.
    pub(crate) fn end_look(&self, look: &Look, role: Option<PairRole>) {
        let mut state = self.lock();
        let is_late = role == Some(PairRole::Primary) && state.refusals != look.refusals;
        match role {
            Some(role) if !is_late => (state.role, state.looked) = (role, Some(look.at)),
            Some(_) => self.wanted.notify_one(),
            None => return,
        }
        drop(state);
        if !is_late {
            self.over.send_replace(look.number);
        }
    }

    /// Takes writes; has all that was acknowledged but takes no more; or is behind. A region that takes over the other's
    /// state counts as a standby.
    pub(crate) fn get(&self) -> PairRole {
        match self.lock().role {
            PairRole::Bootstrap => PairRole::Standby,
            role => role,
        }
    }

    /// Whether there was a look yet.
    pub(crate) fn is_known(&self) -> bool {
        *self.over.borrow() > 0
    }

    /// Whether what is known was looked for a moment ago: no switch that is over for longer is missed.
    pub(crate) fn is_fresh(&self) -> bool {
        self.lock().looked.is_some_and(|at| at.elapsed() <= PAIR_ROLE_FRESH)
    }

    /// A group refused a write because the other region takes them: what follows need not ask it again. Whether this is news. A
    /// sealed group holds its writes, so the other region was promoted: this one may be behind.
    pub(crate) fn refused(&self) -> bool {
        let mut state = self.lock();
        state.refusals += 1;
        let before = std::mem::replace(&mut state.role, PairRole::Standby);
        drop(state);
        self.wanted.notify_one();
        before == PairRole::Primary
    }

    /// Has the nodes asked again and waits for it; the part that they showed, none if they did not in time.
    pub(crate) async fn look_again(&self) -> Option<PairRole> {
        let begun = self.lock().begun;
        let mut over = self.over.subscribe();
        self.wanted.notify_one();
        let looked = over.wait_for(|over| *over > begun);
        let is_over = tokio::time::timeout(LOOK_WAIT, looked).await.is_ok_and(|looked| looked.is_ok());
        is_over.then(|| self.get())
    }

    /// Returns when somebody wants a fresh look.
    pub(crate) async fn is_wanted(&self) {
        self.wanted.notified().await;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_refused_write_ends_being_primary_until_a_look_that_begins_after_it() {
        let role = Role::default();
        assert!(!role.is_known() && role.get() == PairRole::Primary);
        let before = role.begin_look();
        assert!(role.refused());
        assert_eq!(role.get(), PairRole::Standby, "the other region may have more by now");
        role.is_wanted().await;
        role.end_look(&before, Some(PairRole::Primary));
        assert!(!role.is_known() && role.get() == PairRole::Standby, "it may have looked before the switch");
        role.end_look(&role.begin_look(), Some(PairRole::Primary));
        assert!(role.is_known() && role.get() == PairRole::Primary && role.is_fresh());
        role.end_look(&role.begin_look(), Some(PairRole::Bootstrap));
        assert!(!role.refused());
        assert_eq!(role.get(), PairRole::Standby);
    }

    #[tokio::test]
    async fn who_asks_for_a_look_gets_what_one_showed_that_began_afterwards() {
        let role = Role::default();
        let before = role.begin_look();
        let looking = async {
            role.is_wanted().await;
            role.end_look(&before, Some(PairRole::Primary));
            tokio::task::yield_now().await;
            role.end_look(&role.begin_look(), Some(PairRole::Sealed));
        };
        assert_eq!(tokio::join!(role.look_again(), looking).0, Some(PairRole::Sealed));
    }

    #[tokio::test]
    async fn without_an_answer_nothing_is_shown() {
        let role = Role::default();
        let looking = async {
            role.is_wanted().await;
            role.end_look(&role.begin_look(), None);
        };
        assert_eq!(tokio::join!(role.look_again(), looking).0, None);
        assert!(!role.is_known());
    }
}
