//! Keys and places that tests begin with.

use custody::{ClassName, DatasetName, DomainName, FieldKey, KeyVersion, MasterKey, Purpose, Scope};
use transform::{Clear, Kind, Place, RunSeed, TransformError};

pub(crate) const RUN: RunSeed = RunSeed([7; 16]);
pub(crate) const EMAIL: &str = "ada@example.org";

/// All that names a field key.
pub(crate) struct Name<'a> {
    pub(crate) master: [u8; 32],
    pub(crate) domain: &'a str,
    pub(crate) version: u32,
    pub(crate) class: &'a str,
    pub(crate) dataset: &'a str,
}

impl Name<'static> {
    pub(crate) fn golden() -> Self {
        Self { master: [1; 32], domain: "team-usage", version: 3, class: "person.email", dataset: "jobs" }
    }
}

impl Name<'_> {
    pub(crate) fn key(&self, purpose: Purpose, scope: Scope) -> FieldKey {
        let (domain, version) =
            (DomainName::new(self.domain).unwrap(), KeyVersion::new(self.version).unwrap());
        let filled = |bytes: &mut [u8]| {
            bytes.copy_from_slice(&self.master);
            Ok::<(), ()>(())
        };
        let master = MasterKey::generate(domain, version, filled).unwrap();
        let (class, dataset) = (ClassName::new(self.class).unwrap(), DatasetName::new(self.dataset).unwrap());
        master.field_key(purpose, &class, scope, &dataset)
    }
}

pub(crate) fn key(purpose: Purpose, scope: Scope) -> FieldKey {
    Name::golden().key(purpose, scope)
}

pub(crate) fn place(record: u64) -> Place<'static> {
    Place { run: &RUN, record, person: Clear::Text(EMAIL) }
}

/// What a technique wrote, as text.
pub(crate) fn text(
    apply: impl FnOnce(&mut Vec<u8>) -> Result<Kind, TransformError>,
) -> Result<(Kind, String), TransformError> {
    let mut out = b"before ".to_vec();
    let kind = apply(&mut out);
    let written = String::from_utf8(out).expect("techniques write UTF-8");
    let written = written.strip_prefix("before ").expect("what was there stays").to_owned();
    if kind.is_err() || kind == Ok(Kind::Null) {
        assert_eq!(written, "", "nothing is written on an error or for null");
    }
    kind.map(|kind| (kind, written))
}
