//! Erasures that are interrupted between any two of their steps, and what older copies of a vault are worth.

use super::*;
use std::collections::BTreeSet;

struct Room {
    folder: tempfile::TempDir,
    root: RootKey,
}

impl Room {
    fn new(people: usize) -> Self {
        let root = RootKey::generate(files::random).unwrap();
        let room = Self { folder: tempfile::tempdir().unwrap(), root };
        Vault::create(&room.path("vault"), &room.places(), &room.root).unwrap();
        let vault = room.open();
        vault.begin().unwrap();
        (0..people).for_each(|number| room.add(&vault, number));
        vault.sync().unwrap();
        room
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn places(&self) -> Places {
        Places(vec![self.path("one"), self.path("two")])
    }

    fn open(&self) -> Vault {
        Vault::open(&self.path("vault"), self.places(), &self.root).unwrap()
    }

    fn add(&self, vault: &Vault, number: usize) {
        vault.with_salt(&class(), &name(number), &mut |_| {}).unwrap();
    }

    fn everybody(&self) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        let each = self.open().each(&mut |_, identity| {
            found.insert(identity.value.to_string());
            Ok(())
        });
        each.unwrap();
        found
    }
}

fn class() -> ClassName {
    ClassName::new("person.email").unwrap()
}

fn name(number: usize) -> String {
    format!("person-{number}")
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let to = to.join(path.file_name().unwrap());
        if path.is_dir() { copy(&path, &to) } else { fs::copy(&path, &to).map(drop).unwrap() }
    }
}

#[test]
fn people_stay_with_their_secrets_and_are_found_by_nothing_else() {
    let room = Room::new(300);
    let salts = |vault: &Vault| -> Vec<[u8; 32]> {
        let mut salts = Vec::new();
        for number in 0..300 {
            vault.with_salt(&class(), &name(number), &mut |salt| salts.push(*salt.expose())).unwrap();
        }
        salts
    };
    let vault = room.open();
    assert_eq!(vault.begin().unwrap(), 300);
    let before = salts(&vault);
    assert_eq!(vault.sync().unwrap(), 0, "nobody is new");
    assert_eq!(before.iter().collect::<HashSet<_>>().len(), 300);
    let other = ClassName::new("person.name").unwrap();
    let mut foreign = [0; 32];
    vault.with_salt(&other, &name(0), &mut |salt| foreign = *salt.expose()).unwrap();
    assert!(!before.contains(&foreign), "another class is another person");
    drop(vault);
    let vault = room.open();
    // who was not flushed is not there, and whoever was has the same secret
    assert_eq!(vault.begin().unwrap(), 300);
    assert_eq!(salts(&vault), before);
    assert!(Vault::open(&room.path("vault"), room.places(), &room.root).is_err(), "one program at a time");
}

#[test]
fn an_erasure_that_did_not_come_to_its_table_has_not_happened() {
    let room = Room::new(600);
    let vault = room.open();
    let handles = HashSet::from([vault.handle(&class(), &name(3)), vault.handle(&class(), &name(4))]);
    let staged = vault.stage(&handles).unwrap();
    assert_eq!(staged.erased, 2);
    assert!(staged.rewrapped > 0, "others share their buckets");
    drop((vault, staged));
    assert_eq!(room.everybody().len(), 600);
    let left = fs::read_dir(room.path("vault/people")).unwrap().count();
    assert!(left <= BUCKETS, "{left} files: what was staged is removed");
}

#[test]
fn an_erasure_whose_table_lies_in_one_place_is_finished() {
    let room = Room::new(600);
    copy(&room.path("vault"), &room.path("older"));
    let vault = room.open();
    let handles = HashSet::from([vault.handle(&class(), &name(3))]);
    let staged = vault.stage(&handles).unwrap();
    // killed after the first place, with every older table still there
    Places(vec![room.path("one")]).write(&staged.next, &room.root).unwrap();
    drop((vault, staged));
    let everybody = room.everybody();
    assert_eq!((everybody.len(), everybody.contains(&name(3))), (599, false));
    for place in ["one", "two"] {
        let names: Vec<_> =
            fs::read_dir(room.path(place)).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names.len(), 1, "{names:?}");
    }
    // the older copy has everybody but whom that bucket had
    fs::remove_dir_all(room.path("vault")).unwrap();
    copy(&room.path("older"), &room.path("vault"));
    let vault = room.open();
    assert_eq!(vault.stale(), 1);
    assert!(vault.begin().is_err(), "nobody comes in before that is looked at");
    drop(vault);
    let restored = room.everybody();
    assert!(!restored.contains(&name(3)) && restored.len() >= 590, "{}", restored.len());
    let mut vault = room.open();
    assert_eq!((vault.repair().unwrap(), vault.stale()), (1, 0));
    vault.begin().unwrap();
    room.add(&vault, 3);
    assert_eq!(vault.sync().unwrap(), 1, "whoever comes back is somebody new");
}

#[test]
fn erasing_everybody_and_nobody_works() {
    let room = Room::new(40);
    let mut vault = room.open();
    let nobody = vault.stage(&HashSet::from([Handle([0; 16])])).unwrap();
    assert_eq!(nobody.erased, 0);
    let done = vault.erase(nobody, &room.root).unwrap();
    assert_eq!((done.epoch_before, done.epoch_after, done.tables_destroyed), (1, 2, 2));
    let handles = (0..40).map(|number| vault.handle(&class(), &name(number))).collect();
    let staged = vault.stage(&handles).unwrap();
    assert_eq!((staged.erased, staged.rewrapped), (40, 0));
    vault.erase(staged, &room.root).unwrap();
    drop(vault);
    assert!(room.everybody().is_empty());
}
