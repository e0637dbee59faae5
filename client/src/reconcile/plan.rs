//! What to do about the lost writes of one key: judged from what both regions acknowledged of it, asking nobody.
//!
//! It promises that nothing which the new primary acknowledged since the switch is overwritten or hidden: bytes become
//! current only above what both regions had, on a condition that a write in between breaks; everything else goes under a
//! name of its own. Judging again after some of the steps were taken comes to the same end.

use super::objects::NULL_VERSION;
use super::report::Action;
use std::collections::BTreeSet;
use wire::admin::{LostChange, LostWrite};

/// An object's name, bytes: a longer one beside it cannot be.
const KEY_BYTES_MAX: usize = 1_024;

/// The end of the mark of what is kept beside.
const BESIDE: &str = "/beside";

/// What a person, or the policy, wants of one lost write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Choice {
    /// Put back where that hides nothing newer, else kept under a name of its own; deletes are repeated where it is certain what they deleted.
    #[default]
    Keep,
    /// Kept under a name of its own, whatever is there; a delete is not repeated.
    Beside,
    /// Given up.
    Discard,
}

/// A write of the key that the new primary acknowledged since the switch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Newer {
    pub(super) write: LostWrite,
    /// Of a version that is there: the mark that it carries.
    pub(super) mark: Option<String>,
}

/// All that is known of a key.
pub(super) struct KeyFacts<'a> {
    /// What the old primary acknowledged alone, in order, and what is wanted of it.
    pub(super) lost: Vec<(&'a LostWrite, Choice)>,
    /// The mark that each of `lost` has, or would have.
    pub(super) marks: Vec<String>,
    /// What the new primary acknowledged since, in order.
    pub(super) newer: Vec<Newer>,
    /// Whether both lists reach back to the switch.
    pub(super) lists_are_whole: bool,
    /// Whether the new primary has the bucket.
    pub(super) has_bucket: bool,
    /// The ETag of the object that is current in the new primary.
    pub(super) current: Option<String>,
    /// For each of `lost`: whether the new primary has, or had, its bytes under the name beside.
    pub(super) beside: Vec<bool>,
    /// Versions that lost deletes name and that the new primary has.
    pub(super) there: BTreeSet<String>,
}

/// What becomes of one lost write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Judged {
    pub(super) action: Action,
    pub(super) why: String,
    /// The name under which its bytes are, or will be.
    pub(super) name: Option<String>,
    /// What is left to do.
    pub(super) step: Option<Step>,
}

/// One change of the new primary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Writes the bytes under this name; with an ETag above exactly that object, else where none is.
    Put { name: String, above: Option<String> },
    /// Writes the bytes under this name, then removes the version that came to lie above a newer write.
    Move { name: String, version: String },
    /// Deletes the object if it has this ETag.
    Delete { etag: String },
    /// Removes a version for good; with an ETag only while the current object has it.
    DeleteVersion { version: String, current: Option<String> },
}

/// The name under which a write is kept beside a newer one.
pub(super) fn beside(key: &str, mark: &str) -> String {
    format!("{key}.lost-{}", mark.replace('/', "-"))
}

/// The mark of a write that is kept beside. It is another one than of what was put back, so that a person who copies the
/// object, its metadata included, back to its own name is not taken for an earlier run.
pub(super) fn mark_beside(mark: &str) -> String {
    format!("{mark}{BESIDE}")
}

/// Judges every lost write of a key, in order.
pub(super) fn judge(facts: &KeyFacts<'_>) -> Vec<Judged> {
    let mut key = Key::new(facts);
    (0..facts.lost.len()).map(|at| key.judge(at)).collect()
}

struct Key<'a> {
    facts: &'a KeyFacts<'a>,
    /// For each newer write: which lost one it is, put back.
    ours: Vec<Option<usize>>,
    /// Places in `newer` that somebody else wrote.
    others: Vec<usize>,
    /// Newer writes that were taken for the same bytes as a lost one.
    same: BTreeSet<usize>,
    /// Lost writes whose bytes are current, or will be once those after them are not there yet.
    back: BTreeSet<usize>,
    /// The ETag of what is current once the steps so far are taken.
    expected: Option<String>,
    /// The last of the lost writes that decides what is current.
    last: Option<usize>,
}

impl KeyFacts<'_> {
    /// Which lost write a newer one is, put back. Clients copy metadata along, so the mark alone does not tell: it is the
    /// first with this mark, and has the very bytes.
    fn ours(&self, at: usize) -> Option<usize> {
        let Newer { write, mark } = &self.newer[at];
        let lost = self.marks.iter().position(|of| mark.as_ref() == Some(of))?;
        let is_first = self.newer[..at].iter().all(|before| before.mark != *mark);
        let has_bytes = write.change == LostChange::Put && is_same_bytes(write, self.lost[lost].0);
        (is_first && has_bytes).then_some(lost)
    }
}

impl<'a> Key<'a> {
    fn new(facts: &'a KeyFacts<'a>) -> Self {
        let ours: Vec<Option<usize>> = (0..facts.newer.len()).map(|at| facts.ours(at)).collect();
        let decides = |(write, _): &(&LostWrite, Choice)| is_kept_put(write) || is_plain_delete(write);
        let last = facts.lost.iter().rposition(decides);
        let ends_deleted = last.is_some_and(|last| is_plain_delete(facts.lost[last].0));
        // a delete that is wanted anyway does not count as somebody else's will
        let is_wanted = |write: &LostWrite| {
            is_plain_delete(write) && ends_deleted
                || write.version.is_some()
                    && facts
                        .lost
                        .iter()
                        .any(|(lost, _)| lost.change == LostChange::Delete && lost.version == write.version)
        };
        let is_other = |at: &usize| {
            let write = &facts.newer[*at].write;
            let changes = matches!(write.change, LostChange::Put | LostChange::Delete);
            changes && ours[*at].is_none() && !(write.change == LostChange::Delete && is_wanted(write))
        };
        let others = (0..facts.newer.len()).filter(is_other).collect();
        let (same, back) = (BTreeSet::new(), BTreeSet::new());
        Self { facts, ours, others, same, back, expected: facts.current.clone(), last }
    }

    fn judge(&mut self, at: usize) -> Judged {
        let (write, choice) = self.facts.lost[at];
        match write.change {
            _ if choice == Choice::Discard => Judged::done(Action::GivenUp, "given up by decision"),
            LostChange::Put => self.put(at, write, choice),
            LostChange::Delete => match &write.version {
                Some(version) => self.delete_version(at, version, choice),
                None => self.delete(at, choice),
            },
            _ => self.upload(at),
        }
    }

    fn is_fresh(&self) -> bool {
        self.others.is_empty() && self.facts.lists_are_whole
    }

    fn put(&mut self, at: usize, write: &LostWrite, choice: Choice) -> Judged {
        let key = write.key.clone().unwrap_or_default();
        if !write.kept {
            let why = if write.certain {
                "a later write replaced or removed it: its bytes are gone"
            } else {
                "whether it was acknowledged is not known any more, and its bytes are gone"
            };
            return Judged::done(Action::Superseded, why);
        }
        if !self.facts.has_bucket {
            return Judged::done(Action::ByHand, "its bucket is not in the new primary");
        }
        let name = beside(&key, &self.facts.marks[at]);
        if let Some(ours) = self.ours.iter().position(|ours| *ours == Some(at)) {
            return self.put_before(at, ours, key, name);
        }
        if self.facts.beside[at] {
            return Judged::done(Action::AlreadyThere, "kept beside before").at(name);
        }
        let is_same = |newer: &usize| {
            let found = &self.facts.newer[*newer];
            let same = found.write.etag == write.etag && found.write.size == write.size;
            // with the mark of one that was put back it is that one, or a client's copy of it
            same && found.write.change == LostChange::Put
                && found.mark.as_ref().is_none_or(|mark| mark.ends_with(BESIDE))
                && !self.same.contains(newer)
        };
        if let Some(same) = (0..self.facts.newer.len()).find(is_same) {
            self.same.insert(same);
            return Judged::done(Action::AlreadyThere, "the same bytes were written there since").at(key);
        }
        // never above a later one of the same kind
        let overtakes = self.ours.iter().flatten().any(|ours| *ours > at);
        // a delete that the lost writes end in as well hides nothing, but what was deleted shall not be seen again meanwhile
        let is_deleted = self.facts.newer.iter().any(|newer| is_plain_delete(&newer.write));
        if choice == Choice::Keep && self.is_fresh() && !overtakes && !is_deleted {
            let above = self.expected.replace(write.etag.clone().unwrap_or_default());
            self.back.insert(at);
            let why = match above {
                Some(_) => "the key is as it was at the switch: current again, above what both regions had",
                None => "nobody wrote the key since: current again",
            };
            return Judged::to_do(Action::PutBack, why, Step::Put { name: key.clone(), above }).at(key);
        }
        let why = if choice == Choice::Beside {
            "by decision"
        } else if !self.facts.lists_are_whole {
            "what the new primary wrote since is not known for certain"
        } else {
            "the new primary has a newer write of the key"
        };
        if name.len() > KEY_BYTES_MAX {
            return Judged::done(Action::ByHand, "the name beside would be too long");
        }
        Judged::to_do(Action::KeptBeside, why, Step::Put { name: name.clone(), above: None }).at(name)
    }

    /// A put that was put back before, perhaps above a write that came between.
    fn put_before(&mut self, at: usize, ours: usize, key: String, name: String) -> Judged {
        let found = &self.facts.newer[ours].write;
        // one whose mark nobody can read any more may have been ours, and this a client's copy of it
        let is_certain = !self.facts.newer[..ours].iter().any(|before| {
            before.write.change == LostChange::Put
                && !before.write.kept
                && is_same_bytes(&before.write, found)
        });
        let came_between = self.others.iter().any(|other| *other < ours);
        match &found.version {
            Some(version)
                if came_between && is_certain && version != NULL_VERSION && name.len() <= KEY_BYTES_MAX =>
            {
                let step = Step::Move { name: name.clone(), version: version.clone() };
                let why = "the new primary has a newer write that came between";
                Judged::to_do(Action::KeptBeside, why, step).at(name)
            }
            _ if came_between => {
                let why = "it was put back while somebody else wrote the key: look whether it shall stay";
                Judged::done(Action::ByHand, why).at(key)
            }
            _ => {
                self.back.insert(at);
                Judged::done(Action::AlreadyThere, "put back before").at(key)
            }
        }
    }

    fn delete(&mut self, at: usize, choice: Choice) -> Judged {
        if self.last != Some(at) {
            return Judged::done(Action::Superseded, "a later write of the same key follows");
        }
        if self.expected.is_none() {
            return Judged::done(Action::AlreadyThere, "the new primary has no such object");
        }
        let why = match self.deleted(at) {
            _ if choice == Choice::Beside => "by decision",
            _ if !self.facts.lists_are_whole => "what it deleted is not known for certain",
            _ if !self.others.is_empty() => "the new primary has a newer write of the key",
            None => "what it deleted was lost too, and is not in the new primary",
            Some(etag) => {
                let why = "what it deleted is current in the new primary";
                self.expected = None;
                return Judged::to_do(Action::DeleteRepeated, why, Step::Delete { etag });
            }
        };
        Judged::done(Action::DeleteNotRepeated, why)
    }

    /// The ETag of what the delete deleted, if that is, or will be, current in the new primary.
    fn deleted(&self, at: usize) -> Option<String> {
        let before = || self.facts.lost[..at].iter().enumerate();
        let put = before().rfind(|(_, (write, _))| write.change == LostChange::Put);
        match put {
            None => self.expected.clone(),
            Some((put, (write, _))) if write.kept => {
                self.expected.clone().filter(|_| self.back.contains(&put))
            }
            // what both regions had was deleted first, and nothing of what came after is there
            Some(_) => {
                let is_first = |(write, _): &(&LostWrite, Choice)| {
                    matches!(write.change, LostChange::Put | LostChange::Delete)
                };
                let first = self.facts.lost.iter().find(|lost| is_first(lost));
                let deletes_first = first.is_some_and(|(write, _)| is_plain_delete(write));
                let none_kept = before().all(|(_, (write, _))| !is_kept_put(write));
                self.expected.clone().filter(|_| deletes_first && none_kept)
            }
        }
    }

    fn delete_version(&self, at: usize, version: &str, choice: Choice) -> Judged {
        let is_lost = |(write, _): &(&LostWrite, Choice)| {
            write.change == LostChange::Put && write.version.as_deref() == Some(version)
        };
        if self.facts.lost[..at].iter().any(is_lost) {
            return Judged::done(Action::Superseded, "the version that it removed was lost too");
        }
        let is_place = version == NULL_VERSION;
        if is_place && self.facts.lost[at..].iter().any(is_lost) {
            return Judged::done(Action::Superseded, "a later write took the place of what it removed");
        }
        if !self.facts.there.contains(version) {
            return Judged::done(Action::AlreadyThere, "the new primary has no such version");
        }
        if choice == Choice::Beside {
            return Judged::done(Action::DeleteNotRepeated, "by decision");
        }
        if !self.is_fresh() {
            return Judged::done(Action::DeleteNotRepeated, "the new primary has a newer write of the key");
        }
        let version = version.to_owned();
        if !is_place {
            let step = Step::DeleteVersion { version, current: None };
            return Judged::to_do(Action::DeleteRepeated, "the new primary has exactly this version", step);
        }
        // what a lost write puts back may come to lie in that place
        let Some(current) = self.expected.clone().filter(|_| self.back.is_empty()) else {
            let why = "whether what is there now is what it removed cannot be told";
            return Judged::done(Action::DeleteNotRepeated, why);
        };
        let why = "nobody wrote the key since: what is there is what it removed";
        Judged::to_do(Action::DeleteRepeated, why, Step::DeleteVersion { version, current: Some(current) })
    }

    fn upload(&self, at: usize) -> Judged {
        let ended = self.facts.lost[at..].iter().any(|(write, _)| {
            write.change == LostChange::Put && write.etag.as_deref().is_some_and(|etag| etag.contains('-'))
        });
        if ended {
            Judged::done(Action::Superseded, "its upload became an object")
        } else {
            Judged::done(Action::Unfinished, "an upload that was not complete: its client begins again")
        }
    }
}

impl Judged {
    pub(super) fn done(action: Action, why: &str) -> Self {
        Self { action, why: why.to_owned(), name: None, step: None }
    }

    fn to_do(action: Action, why: &str, step: Step) -> Self {
        Self { step: Some(step), ..Self::done(action, why) }
    }

    fn at(self, name: String) -> Self {
        Self { name: Some(name), ..self }
    }
}

fn is_same_bytes(one: &LostWrite, other: &LostWrite) -> bool {
    one.etag == other.etag && one.size == other.size
}

fn is_kept_put(write: &LostWrite) -> bool {
    write.change == LostChange::Put && write.kept
}

/// A delete that names no version.
fn is_plain_delete(write: &LostWrite) -> bool {
    write.change == LostChange::Delete && write.version.is_none()
}

#[cfg(test)]
#[path = "plan/tests.rs"]
mod tests;
