//! Which part the region plays in its pair as far as this gateway knows, and looking again when that seems out of date.

use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use wire::PairRole;

/// How long a request waits for a fresh look: the nodes answer in milliseconds, and clients try again.
const LOOK_WAIT: Duration = Duration::from_secs(1);

/// What is known of the region's part: [`PairRole::Primary`] until something else is said.
#[derive(Debug)]
pub(crate) struct Role {
    value: AtomicU8,
    looks: watch::Sender<u64>,
    wanted: Notify,
}

impl Default for Role {
    fn default() -> Self {
        let (looks, _) = watch::channel(0);
        Self { value: AtomicU8::new(PairRole::Primary as u8), looks, wanted: Notify::new() }
    }
}

impl Role {
    /// Takes what a look at all groups showed.
    pub(crate) fn set(&self, role: PairRole) {
        self.value.store(role as u8, Ordering::Release);
        self.looks.send_modify(|looks| *looks += 1);
    }

    /// Takes writes; has all that was acknowledged but takes no more; or is behind. A region that takes over the other's
    /// state counts as a standby.
    pub(crate) fn get(&self) -> PairRole {
        match self.value.load(Ordering::Acquire) {
            value if value == PairRole::Primary as u8 => PairRole::Primary,
            value if value == PairRole::Sealed as u8 => PairRole::Sealed,
            _ => PairRole::Standby,
        }
    }

    /// Whether there was a look yet.
    pub(crate) fn is_known(&self) -> bool {
        *self.looks.borrow() > 0
    }

    /// A group refused a write because the other region takes them: what follows need not ask it again.
    pub(crate) fn refused(&self) {
        let primary = PairRole::Primary as u8;
        let sealed = PairRole::Sealed as u8;
        let _other_already =
            self.value.compare_exchange(primary, sealed, Ordering::AcqRel, Ordering::Acquire);
        self.wanted.notify_one();
    }

    /// Has the nodes asked again, and waits for it.
    pub(crate) async fn look_again(&self) {
        let mut looks = self.looks.subscribe();
        self.wanted.notify_one();
        // without an answer what was known still holds
        let _known = tokio::time::timeout(LOOK_WAIT, looks.changed()).await;
    }

    /// Returns when somebody wants a fresh look.
    pub(crate) async fn is_wanted(&self) {
        self.wanted.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_refused_write_ends_being_primary_until_the_next_look() {
        let role = Role::default();
        assert!(!role.is_known() && role.get() == PairRole::Primary);
        role.refused();
        assert_eq!(role.get(), PairRole::Sealed);
        role.is_wanted().await;
        role.set(PairRole::Primary);
        assert!(role.is_known() && role.get() == PairRole::Primary);
        role.set(PairRole::Bootstrap);
        role.refused();
        assert_eq!(role.get(), PairRole::Standby, "what is behind does not become what has everything");
    }

    #[tokio::test]
    async fn who_asks_for_a_look_gets_what_it_showed() {
        let role = Role::default();
        let looking = async {
            role.is_wanted().await;
            role.set(PairRole::Standby);
        };
        tokio::join!(role.look_again(), looking);
        assert_eq!(role.get(), PairRole::Standby);
    }
}
