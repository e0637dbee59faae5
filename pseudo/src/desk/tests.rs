//! Grants from asking to the end, with people, codes and a clock that are made up; and erasures that are killed at every step.
//!
//! Long because all its tests play on one stage: the desk, its people and their clock, which nothing else needs.

use super::*;
use crate::files::fuse;
use crate::grant::rules::{FROZEN_SECONDS, REQUEST_SECONDS, UNKNOWN_MAX};
use crate::identify;
use crate::journal::SERVICE;
use crate::manifest::{Certificate, Detached, Erasure};
use crate::revoked::Revoked;
use crate::vault::VaultAt;
use crate::{erase, subject};
use custody::{ClassName, OperatorName, TOTP_STEP_SECONDS, TotpSecret};
use custody::{KeyVersion, Purpose, Scope};
use std::cell::Cell;
use std::path::PathBuf;
use transform::{People as _, Token, TokenForm};

const NOW: i64 = 1_795_327_200;
const POLICY: &str = r#"
policy = "usage"
version = 1
domain = "team-usage"
purpose = "capacity planning"
legal_basis = "Art. 6(1)(f)"
owner = "dpo"
unknown_field = "stop"
bad_record = "stop"

[source]
format = "ndjson"

[target]
format = "ndjson"

[retention]
anonymise_after = "P24M"
delete_after = "P36M"

[reidentify]
approvers = 1
second_factor = true
reasons = ["security-incident"]
window = "PT4H"
max_rows = 50

[[field]]
path = "$.email"
technique = "prf+vault"
class = "person.email"
"#;

struct Room {
    folder: tempfile::TempDir,
    root: RootKey,
    codes: Vec<TotpSecret>,
    operators: Vec<(Operator, PathBuf)>,
    now: Cell<i64>,
}

fn root() -> RootKey {
    let root = RootKey::generate(|bytes| {
        bytes.fill(9);
        Ok::<(), PseudoError>(())
    });
    root.unwrap()
}

fn class() -> ClassName {
    ClassName::new("person.email").unwrap()
}

fn name(number: usize) -> String {
    format!("person{number}@example.org")
}

impl Room {
    /// A vault with so many people; ada, grace and mary have second factors.
    fn new(people: usize) -> Self {
        clock::made_up::set(NOW);
        let folder = tempfile::tempdir().unwrap();
        let root = root();
        let keys = KeyFolder::create(&folder.path().join("keys"), root.check()).unwrap();
        let policy = Policy::parse(POLICY).unwrap();
        keys.add(&root, &policy.domain).unwrap();
        let service = keys.add_signing(&root).unwrap();
        let mut room = Self { folder, root, codes: Vec::new(), operators: Vec::new(), now: Cell::new(NOW) };
        for name in ["ada", "grace", "mary"] {
            let operator = OperatorName::new(name).unwrap();
            room.codes.push(keys.add_totp(&room.root, &operator).unwrap());
            let key = SigningKey::generate(files::random).unwrap();
            let certificate = Certificate {
                version: VERSION,
                operator: name.to_owned(),
                key: hex(&key.public().0),
                enrolled: clock::text(NOW),
            };
            let certificate =
                String::from_utf8(signed::seal(Kind::Certificate, &certificate, &service)).unwrap();
            let path = room.path(name);
            fs_write(&path, &room.root.wrap_signing(&key));
            room.operators.push((Operator { name: name.to_owned(), key, certificate }, path));
        }
        room.at().create(&room.path("keys"), &room.root, &service).unwrap();
        room.grow(0..people);
        room
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn at(&self) -> VaultAt {
        VaultAt { vault: Some(self.path("vault")), epoch: vec![self.path("one"), self.path("two")] }
    }

    fn service(&self) -> SigningKey {
        KeyFolder::open(&self.path("keys")).unwrap().signing(&self.root).unwrap()
    }

    /// Lets people come in, as a run does.
    fn grow(&self, numbers: std::ops::Range<usize>) {
        let service = self.service();
        let (vault, mut journal) = self.at().open(&self.path("keys"), &self.root, &service).unwrap();
        let before = vault.begin().unwrap();
        for number in numbers {
            vault.with_salt(&class(), &name(number), &mut |_| {}).unwrap();
        }
        let people = Some(before + vault.sync().unwrap());
        journal.append(&service, SERVICE, Event::Grown, Said { people, ..Said::default() }).unwrap();
    }

    fn try_desk(&self, who: &str, policy: &str) -> Result<Desk, PseudoError> {
        let policy = Policy::parse(policy).unwrap();
        let keys = KeyFolder::open(&self.path("keys")).unwrap();
        let service = keys.signing(&self.root)?;
        let (vault, journal) = self.at().open(&self.path("keys"), &self.root, &service)?;
        let (operator, path) = self.operators.iter().find(|(operator, _)| operator.name == who).unwrap();
        let key = self.root.unwrap_signing(&std::fs::read(path).unwrap()).unwrap();
        let operator = Operator { name: who.to_owned(), key, certificate: operator.certificate.clone() };
        let root = root();
        Ok(Desk {
            terms: policy.reidentify.clone().unwrap(),
            policy,
            lacks: None,
            keys,
            root,
            service,
            operator,
            vault,
            journal,
        })
    }

    fn desk(&self, who: &str) -> Desk {
        self.try_desk(who, POLICY).unwrap()
    }

    fn later(&self, seconds: i64) {
        self.now.set(self.now.get() + seconds);
        clock::made_up::set(self.now.get());
    }

    /// A code that was not used yet.
    fn code(&self, who: &str) -> String {
        self.later(i64::try_from(TOTP_STEP_SECONDS).unwrap());
        let totp = self.codes.iter().find(|totp| totp.operator().as_str() == who).unwrap();
        let step = u64::try_from(self.now.get()).unwrap() / TOTP_STEP_SECONDS;
        format!("{:06}", totp.code(step, 6))
    }

    fn wish(action: Action) -> Wish {
        Wish {
            action,
            purpose: "investigation".to_owned(),
            reason: "security-incident".to_owned(),
            ticket: "INC-7".to_owned(),
            tokens: Vec::new(),
            people: Vec::new(),
        }
    }

    /// A grant that ada asked for and grace agreed to.
    fn agreed(&self, wish: Wish) -> String {
        let action = wish.action;
        let code = self.code("ada");
        let (grant, sha256) = self.desk("ada").request(wish, &code).unwrap();
        let code = self.code("grace");
        self.desk("grace").approve(&grant, action, &sha256, &code).unwrap();
        grant
    }

    fn handles(&self, numbers: &[usize]) -> Vec<Vec<String>> {
        let desk = self.desk("mary");
        numbers.iter().map(|number| vec![hex(&desk.vault.handle(&class(), &name(*number)).0)]).collect()
    }

    fn to_erase(&self, numbers: &[usize]) -> String {
        self.agreed(Wish { people: self.handles(numbers), ..Self::wish(Action::Erase) })
    }

    /// Tokens of people, under a version of the domain's key.
    fn tokens(&self, numbers: &[usize], version: u32) -> Vec<String> {
        let desk = self.desk("mary");
        let version = KeyVersion::new(version).unwrap();
        let master = desk.keys.master(&desk.root, &desk.policy.domain, Some(version)).unwrap();
        let key = master.field_key(Purpose::Vault, &class(), Scope::Domain, &desk.policy.dataset);
        let token = Token::new(&key, TokenForm::Text);
        desk.vault.begin().unwrap();
        let make = |number: &usize| {
            let mut made = Vec::new();
            let value = name(*number);
            let take = &mut |salt: &custody::PersonSalt| made = transform::person_token(&token, salt, &value);
            desk.vault.with_salt(&class(), &value, take).unwrap();
            String::from_utf8(made).unwrap()
        };
        numbers.iter().map(make).collect()
    }

    fn erase(&self, grant: &str, output: &str) -> Result<erase::Done, PseudoError> {
        let code = self.code("ada");
        erase::run(&mut self.try_desk("ada", POLICY)?, grant, &code, &self.path(output))
    }

    fn people(&self) -> Vec<String> {
        let mut people = Vec::new();
        let each = self.desk("mary").vault.each(&mut |_, identity| {
            people.push(identity.value.to_string());
            Ok(())
        });
        each.unwrap();
        people.sort();
        people
    }

    fn grants(&self) -> usize {
        let grants = |place: &str| {
            let names = files::names(&self.path(place), 100).unwrap();
            let folder = names.into_iter().find(|name| name.ends_with(".grants"));
            folder.map_or(0, |folder| files::names(&self.path(place).join(folder), 100).unwrap().len())
        };
        assert_eq!(grants("one"), grants("two"));
        grants("one")
    }
}

fn fs_write(path: &std::path::Path, bytes: &[u8]) {
    std::fs::write(path, bytes).unwrap();
}

fn problem<T>(done: Result<T, PseudoError>) -> String {
    done.err().expect("it is refused").to_string()
}

#[test]
fn an_erasure_that_is_killed_at_any_step_is_finished_by_the_same_command_whatever_changed() {
    let mut steps = 0;
    loop {
        steps += 1;
        let room = Room::new(12);
        let grant = room.to_erase(&[3, 4]);
        let code = room.code("ada");
        let mut desk = room.desk("ada");
        fuse::set(Some(steps));
        let done = erase::run(&mut desk, &grant, &code, &room.path("first.json"));
        let is_killed = fuse::is_burnt();
        fuse::set(None);
        drop(desk);
        assert_eq!(done.is_err(), is_killed, "step {steps}");
        if !is_killed {
            break;
        }
        let log = room.desk("mary").journal.entries;
        let has_begun = rules::interrupted(&log, &grant);
        let is_done = log.iter().any(|entry| entry.event == Event::Erased);
        let has_happened = has_begun.is_some_and(|begun| rules::has_happened(&log, begun));
        // nobody was erased: then the window counts as it does for others
        if has_begun.is_some() && !has_happened {
            room.later(5 * 3600);
            assert!(problem(room.erase(&grant, "late.json")).contains("is over"), "step {steps}");
            room.later(-5 * 3600);
        }
        // the window is over, who asked was frozen, and the policy is another
        if has_happened {
            let frozen = Said { grant: Some("another".to_owned()), ..Said::default() };
            room.desk("ada").log(Event::Frozen, frozen).unwrap();
            room.later(5 * 3600);
        }
        let policy =
            if has_happened { POLICY.replace("\"dpo\"", "\"somebody else\"") } else { POLICY.to_owned() };
        // somebody who was erased comes back in between, and is not meant
        if has_happened {
            room.grow(3..4);
        }
        let code = room.code("ada");
        let mut desk = room.try_desk("ada", &policy).unwrap();
        desk.lacks = has_happened.then(|| "nobody agreed to it".to_owned());
        let done = erase::run(&mut desk, &grant, &code, &room.path("second.json"));
        drop(desk);
        let left = if has_happened { 11 } else { 10 };
        assert_eq!(room.people().len(), left, "step {steps}");
        assert_eq!(room.grants(), 0, "step {steps}");
        if is_done {
            assert!(done.is_err(), "step {steps}");
            continue;
        }
        let done = done.unwrap_or_else(|error| panic!("step {steps}: {error}"));
        let bytes = std::fs::read(room.path("second.json")).unwrap();
        let certificate: Erasure = signed::open_by(Kind::Erasure, &bytes, room.service().public()).unwrap();
        assert_eq!(certificate, done.certificate, "step {steps}");
        assert_eq!((certificate.erased, certificate.asked, certificate.unknown), (2, 2, 0), "step {steps}");
        assert_eq!(certificate.approvers, ["grace"]);
        assert_eq!((certificate.epoch_before, certificate.epoch_after, certificate.places), (1, 2, 2));
        assert!(problem(room.erase(&grant, "third.json")).contains("each opens once"), "step {steps}");
    }
    assert!(steps > 80, "{steps}");
}

#[test]
fn under_a_policy_that_not_all_agreed_to_nobody_is_found_and_the_log_has_who_tried() {
    let room = Room::new(3);
    let grant = room.to_erase(&[1]);
    let lacking = |who: &str| Desk { lacks: Some("nobody agreed to this".to_owned()), ..room.desk(who) };
    let refusals = || {
        let log = room.desk("mary").journal.entries;
        log.into_iter().filter(|entry| entry.event == Event::Refused).count()
    };
    let code = room.code("ada");
    let asked = lacking("ada").request(Room::wish(Action::Reidentify), &code);
    assert_eq!(problem(asked), "nobody agreed to this");
    assert_eq!(refusals(), 1);
    assert_eq!(problem(lacking("grace").show(&grant, Action::Erase)), "nobody agreed to this");
    let code = room.code("ada");
    let done = erase::run(&mut lacking("ada"), &grant, &code, &room.path("lacking.json"));
    assert_eq!(problem(done), "nobody agreed to this");
    assert_eq!((refusals(), room.people().len()), (3, 3));
    room.erase(&grant, "agreed.json").unwrap();
    assert_eq!(room.people().len(), 2, "what was refused cost nobody their grant");
}

#[test]
fn only_those_who_agreed_in_the_log_are_named_and_a_file_beside_it_lengthens_nothing() {
    let room = Room::new(3);
    let grant = room.to_erase(&[1]);
    // mary signs later, without a code: with the files alone
    let request = room.desk("mary").grant(&grant, Action::Erase).unwrap();
    let forged = |by: &str, at: i64| {
        let desk = room.desk(by);
        let approval = Approval {
            version: VERSION,
            grant: grant.clone(),
            request_sha256: request.sha256.clone(),
            at,
            approver: desk.operator.certificate.clone(),
        };
        let sealed = signed::seal(Kind::Approval, &approval, &desk.operator.key);
        grant::write_approval(&desk.vault.places.grants(), &grant, by, &sealed).unwrap();
    };
    room.later(5 * 3600);
    forged("mary", room.now.get());
    forged("ada", room.now.get());
    forged("grace", room.now.get());
    assert!(problem(room.erase(&grant, "late.json")).contains("is over"));
    room.later(-3 * 3600);
    let done = room.erase(&grant, "certificate.json").unwrap();
    assert_eq!(done.certificate.approvers, ["grace"]);
}

#[test]
fn a_clock_that_goes_back_opens_nothing_again() {
    let room = Room::new(3);
    let grant = room.to_erase(&[1]);
    room.later(-3600);
    let said = problem(room.erase(&grant, "early.json"));
    assert!(said.contains("clock is behind the log"), "{said}");
    room.later(6 * 3600);
    assert!(problem(room.erase(&grant, "late.json")).contains("is over"));
    // back into the window, with a code of that time, which comes after the last one that was used
    room.later(-3 * 3600);
    assert_eq!(room.erase(&grant, "certificate.json").unwrap().certificate.erased, 1);
}

#[test]
fn tokens_of_a_destroyed_key_cost_nobody_their_grant_and_what_cannot_be_read_is_no_destroyed_key() {
    let room = Room::new(6);
    let keys = KeyFolder::open(&room.path("keys")).unwrap();
    let domain = Policy::parse(POLICY).unwrap().domain;
    keys.add(&room.root, &domain).unwrap();
    let tokens = [room.tokens(&[0, 1, 2, 3, 4], 1), room.tokens(&[5], 2)].concat();
    let grant = room.agreed(Wish { tokens, ..Room::wish(Action::Report) });
    let path = room.path("keys/team-usage.1.key");
    let key = std::fs::read(&path).unwrap();
    // unreadable: nothing is used up, and the code is
    fs_write(&path, &key[..20]);
    let code = room.code("ada");
    let mut desk = room.desk("ada");
    let opened = desk.open(&grant, Action::Report, &code).unwrap();
    assert!(desk.attempt(&opened, identify::search).is_err());
    assert!(desk.open(&grant, Action::Report, &code).is_err(), "the code counted");
    drop(desk);
    std::fs::remove_file(&path).unwrap();
    let code = room.code("ada");
    let mut desk = room.desk("ada");
    let opened = desk.open(&grant, Action::Report, &code).unwrap();
    let search = desk.attempt(&opened, identify::search).unwrap();
    assert_eq!((search.found.len(), search.without_key, search.unknown_tokens), (1, 5, 0));
    desk.judge(&grant, search.unknown_tokens).unwrap();
    assert_eq!(subject::report(&desk, &search, None).unwrap()["tokens_without_key"], 5);
}

#[test]
fn who_asks_honestly_is_not_taken_for_guessing() {
    let room = Room::new(3);
    // nobody of that name, twice over since two columns write them differently; and one who is there under one of them
    let mut people: Vec<Vec<String>> =
        (100..110).map(|number| room.handles(&[number, number + 100]).concat()).collect();
    people.push(room.handles(&[1, 999]).concat());
    let mut tokens = room.tokens(&[0, 1], 1);
    tokens.extend((0..UNKNOWN_MAX).map(|guess| format!("v1_{guess:022}")));
    let grant = room.agreed(Wish { tokens, people, ..Room::wish(Action::Reidentify) });
    let code = room.code("ada");
    let mut desk = room.desk("ada");
    let opened = desk.open(&grant, Action::Reidentify, &code).unwrap();
    assert_eq!(opened.grant.request.rows(), 16);
    let search = desk.attempt(&opened, identify::search).unwrap();
    assert_eq!((search.unknown_tokens, search.unknown_people, search.found.len()), (UNKNOWN_MAX, 10, 3));
    desk.judge(&grant, search.unknown_tokens).unwrap();
    assert!(problem(desk.judge(&grant, UNKNOWN_MAX + 1)).contains("frozen"));
    drop(desk);
    room.later(FROZEN_SECONDS);
    let code = room.code("ada");
    assert!(problem(room.desk("ada").open(&grant, Action::Reidentify, &code)).contains("was frozen"));
}

#[test]
fn nothing_that_is_left_says_whom_a_grant_was_about() {
    let room = Room::new(5);
    let (handle, token) = (room.handles(&[2])[0][0].clone(), room.tokens(&[2], 1)[0].clone());
    let wish = |action| Wish {
        tokens: vec![token.clone()],
        people: vec![vec![handle.clone()]],
        ..Room::wish(action)
    };
    let holds = || {
        let mut paths = vec![room.folder.path().to_owned()];
        let mut holds = Vec::new();
        while let Some(path) = paths.pop() {
            if path.is_dir() {
                paths.extend(std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
                continue;
            }
            let text = String::from_utf8_lossy(&std::fs::read(&path).unwrap()).into_owned();
            if text.contains(&handle) || text.contains(&token) {
                holds.push(path.strip_prefix(room.folder.path()).unwrap().to_owned());
            }
        }
        holds
    };
    let waiting = room.agreed(wish(Action::Reidentify));
    assert_eq!(holds().len(), 2, "the request, in both places, and no backup has those");
    assert!(holds().iter().all(|path| !path.starts_with("vault")), "{:?}", holds());
    let grant = room.agreed(Wish { tokens: Vec::new(), ..wish(Action::Erase) });
    assert_eq!((room.erase(&grant, "certificate.json").unwrap().certificate.erased, room.grants()), (1, 1));
    for path in holds() {
        assert!(path.to_string_lossy().contains(&waiting), "{path:?}");
    }
    // a place in which what is left of a grant was not destroyed when it ended is cleaned when the vault is opened next
    let code = room.code("ada");
    let mut desk = room.desk("ada");
    let opened = desk.open(&waiting, Action::Reidentify, &code).unwrap();
    assert_eq!(desk.attempt(&opened, identify::search).unwrap().found.len(), 0);
    grant::remove(&desk.vault.places.grants()[..1], &waiting).unwrap();
    drop(desk);
    assert_eq!(holds().len(), 1);
    drop(room.desk("mary"));
    assert_eq!((holds(), room.grants()), (Vec::new(), 0));
    // and one that nobody used is gone when nobody can
    room.agreed(Wish { people: room.handles(&[1]), ..Room::wish(Action::Report) });
    assert_eq!(room.grants(), 1);
    room.later(REQUEST_SECONDS + 2 * 86_400);
    drop(room.desk("mary"));
    assert_eq!(room.grants(), 0);
}

#[test]
fn nothing_is_asked_agreed_or_used_that_cannot_be_read_or_was_not_seen() {
    let room = Room::new(3);
    for text in ["", " ", "a\nb", "a\x1b[2Kb", "a\u{202e}b", "a\u{2028}b", &"x".repeat(1025)] {
        for place in 0..3 {
            let mut wish = Wish { people: room.handles(&[1]), ..Room::wish(Action::Erase) };
            *[&mut wish.purpose, &mut wish.reason, &mut wish.ticket][place] = text.to_owned();
            let code = room.code("ada");
            let said = problem(room.desk("ada").request(wish, &code));
            assert!(said.contains("show as themselves"), "{text:?}: {said}");
        }
    }
    let code = room.code("ada");
    let wish = Wish { people: room.handles(&[1]), ..Room::wish(Action::Erase) };
    let (grant, sha256) = room.desk("ada").request(wish, &code).unwrap();
    let shown = room.desk("grace").show(&grant, Action::Erase).unwrap();
    assert_eq!((shown.sha256.as_str(), shown.request.purpose.as_str()), (sha256.as_str(), "investigation"));
    let code = room.code("grace");
    let said = problem(room.desk("grace").approve(&grant, Action::Erase, &"0".repeat(64), &code));
    assert!(said.contains("not the request that was shown"), "{said}");
    room.desk("grace").approve(&grant, Action::Erase, &sha256, &code).unwrap();
    let events: Vec<Event> = room.desk("mary").journal.entries.iter().map(|entry| entry.event).collect();
    assert_eq!(events[2..], [Event::Requested, Event::Shown, Event::Refused, Event::Approved]);
    // an approval that was copied from another grant
    let other = room.to_erase(&[2]);
    let places = room.desk("mary").vault.places.grants();
    for place in places {
        let from = place.join(&grant).join("approval-grace.json");
        std::fs::copy(from, place.join(&other).join("approval-grace.json")).unwrap();
    }
    assert!(problem(room.erase(&other, "other.json")).contains("approval"));
}

#[test]
fn an_output_that_cannot_be_written_and_a_place_that_is_missing_cost_nobody_their_grant() {
    let room = Room::new(3);
    let grant = room.to_erase(&[1]);
    assert!(room.erase(&grant, "no/such/folder.json").is_err());
    std::fs::rename(room.path("two"), room.path("away")).unwrap();
    assert!(problem(room.erase(&grant, "certificate.json")).contains("1 of 2 places"));
    std::fs::rename(room.path("away"), room.path("two")).unwrap();
    assert_eq!(room.erase(&grant, "certificate.json").unwrap().certificate.erased, 1);
}

#[test]
fn a_certificate_names_each_place_whose_table_was_not_destroyed() {
    let room = Room::new(3);
    let grant = room.to_erase(&[1]);
    let lost = room.desk("mary").vault.places.here[1].id.clone();
    std::fs::rename(room.path("two"), room.path("away")).unwrap();
    let one = VaultAt { vault: Some(room.path("vault")), epoch: vec![room.path("one")] };
    let given_up = one.forget(&lost, &room.path("keys"), &room.root, &room.service()).unwrap();
    assert!(!given_up.is_destroyed);
    let then = clock::text(room.now.get());
    let certificate = room.erase(&grant, "certificate.json").unwrap().certificate;
    assert_eq!((certificate.places, certificate.places_given_up), (1, 0));
    assert!(certificate.not_destroyed().contains(&format!("{lost}, detached at {then}")));
    assert_eq!(certificate.places_not_destroyed, [Detached { place: lost, detached: then }]);
}

#[test]
fn nobody_is_handed_over_by_one_place_alone_since_it_may_be_from_before_they_were_erased() {
    let room = Room::new(5);
    for folder in ["vault", "one"] {
        copy(&room.path(folder), &room.path("backup").join(folder));
    }
    let tokens = room.tokens(&[2], 1);
    let grant = room.to_erase(&[2]);
    room.erase(&grant, "certificate.json").unwrap();
    // the vault and one place are put back, and the other is not named
    for folder in ["vault", "one"] {
        std::fs::remove_dir_all(room.path(folder)).unwrap();
        copy(&room.path("backup").join(folder), &room.path(folder));
    }
    std::fs::rename(room.path("two"), room.path("away")).unwrap();
    for action in [Action::Reidentify, Action::Report] {
        let grant = room.agreed(Wish { tokens: tokens.clone(), ..Room::wish(action) });
        let code = room.code("ada");
        let said = problem(room.desk("ada").open(&grant, action, &code));
        assert!(said.contains("1 of 2 places"), "{said}");
    }
    // and with the other they do not pass for what came last
    std::fs::rename(room.path("away"), room.path("two")).unwrap();
    let said = problem(room.try_desk("ada", POLICY));
    assert!(said.contains("is not how") && said.contains("begins"), "{said}");
}

#[test]
fn a_grant_that_cannot_be_read_in_one_place_is_read_in_the_other() {
    let room = Room::new(3);
    let grant = room.to_erase(&[1]);
    let request =
        |place: usize| room.desk("mary").vault.places.grants()[place].join(&grant).join("request.json");
    let paths = [request(0), request(1)];
    // reading a folder fails as a disk does
    std::fs::remove_file(&paths[0]).unwrap();
    std::fs::create_dir(&paths[0]).unwrap();
    assert_eq!(room.desk("grace").show(&grant, Action::Erase).unwrap().request.grant, grant);
    std::fs::remove_file(&paths[1]).unwrap();
    assert!(
        problem(room.desk("grace").show(&grant, Action::Erase)).contains("reading"),
        "and in none it is said"
    );
}

#[test]
fn a_link_in_the_stead_of_a_grant_or_of_its_files_loses_its_name_and_leads_nobody_to_other_files() {
    let room = Room::new(3);
    let grant = room.to_erase(&[1]);
    let grants = room.desk("mary").vault.places.grants();
    let other = room.path("other");
    std::fs::create_dir(&other).unwrap();
    for name in ["signing.wrapped", "request.json", "approval-ada.json"] {
        fs_write(&other.join(name), b"somebody else's");
    }
    let is_whole = || {
        std::fs::read_dir(&other)
            .unwrap()
            .all(|entry| std::fs::read(entry.unwrap().path()).unwrap() == b"somebody else's")
    };
    // a grant that no log names, and files of one that is over
    let link = grants[0].join("0000000000000001");
    std::os::unix::fs::symlink(&other, &link).unwrap();
    let over = grants[0].join("0000000000000002");
    std::fs::create_dir(&over).unwrap();
    std::os::unix::fs::symlink(other.join("request.json"), over.join("request.json")).unwrap();
    fs_write(&over.join("notes"), b"somebody else's");
    fs_write(&over.join("approval-ada.json.next"), b"who it was about");
    drop(room.desk("mary"));
    assert!(is_whole() && !link.is_symlink());
    assert_eq!(files::names(&over, 10).unwrap(), ["notes"], "what is no file of a grant stays");
    // the grant itself, when it is closed
    std::fs::rename(grants[0].join(&grant), room.path("grant")).unwrap();
    std::os::unix::fs::symlink(&other, grants[0].join(&grant)).unwrap();
    room.desk("mary").close(&grant).unwrap();
    assert!(is_whole() && !grants[0].join(&grant).exists() && !grants[1].join(&grant).exists());
    // and the folder of all grants
    std::fs::remove_dir_all(&grants[0]).unwrap();
    let linked = room.path("linked");
    std::fs::create_dir_all(linked.join("0000000000000003")).unwrap();
    fs_write(&linked.join("0000000000000003/request.json"), b"somebody else's");
    std::os::unix::fs::symlink(&linked, &grants[0]).unwrap();
    assert!(problem(room.try_desk("mary", POLICY)).contains("a link or no folder"));
    assert_eq!(std::fs::read(linked.join("0000000000000003/request.json")).unwrap(), b"somebody else's");
}

#[test]
fn no_erasure_is_asked_for_by_tokens_and_people_at_once() {
    let room = Room::new(3);
    let (tokens, people) = (room.tokens(&[1], 1), room.handles(&[1]));
    let code = room.code("ada");
    let both = Wish { tokens, people, ..Room::wish(Action::Erase) };
    assert!(problem(room.desk("ada").request(both, &code)).contains("by tokens or by people"));
}

#[test]
fn an_erasure_that_has_happened_is_certified_by_whoever_agreed_when_the_key_of_who_asked_is_lost() {
    let mut room = Room::new(6);
    let grant = room.to_erase(&[3]);
    let begin = |room: &Room| {
        let mut desk = room.desk("ada");
        let code = room.code("ada");
        let opened = desk.open(&grant, Action::Erase, &code).unwrap();
        let search = desk.attempt(&opened, identify::search).unwrap();
        let staged = desk.vault.stage(&search.found.iter().map(|found| found.handle).collect()).unwrap();
        let said = Said {
            grant: Some(grant.clone()),
            rows: Some(1),
            people: Some(5),
            epoch: Some(2),
            ..Said::default()
        };
        desk.log(Event::Erasing, said).unwrap();
        let root = root();
        desk.vault.erase(staged, &root, &mut desk.journal, &desk.service).unwrap();
    };
    let finish = |room: &Room, who: &str| {
        let code = room.code(who);
        erase::run(&mut room.desk(who), &grant, &code, &room.path("certificate.json"))
    };
    assert!(problem(finish(&room, "grace")).contains("is ada's"), "before it has happened");
    begin(&room);
    assert!(problem(finish(&room, "mary")).contains("is ada's"), "who neither asked nor agreed");
    // ada enrols anew
    let service = room.service();
    let key = SigningKey::generate(files::random).unwrap();
    let certificate = Certificate {
        version: VERSION,
        operator: "ada".to_owned(),
        key: hex(&key.public().0),
        enrolled: clock::text(NOW),
    };
    fs_write(&room.operators[0].1, &room.root.wrap_signing(&key));
    room.operators[0].0.certificate =
        String::from_utf8(signed::seal(Kind::Certificate, &certificate, &service)).unwrap();
    let mut desk = room.desk("ada");
    let code = room.code("ada");
    let opened = desk.open(&grant, Action::Erase, &code).unwrap();
    assert_eq!(opened.agreed.names, ["grace"]);
    drop(desk);
    let certificate = finish(&room, "grace").unwrap().certificate;
    assert_eq!(
        (&*certificate.requester, certificate.approvers, certificate.erased),
        ("ada", vec!["grace".to_owned()], 1)
    );
}

fn copy(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let to = to.join(path.file_name().unwrap());
        if path.is_dir() { copy(&path, &to) } else { std::fs::copy(&path, &to).map(drop).unwrap() }
    }
}

#[test]
fn what_a_revoked_operator_asked_for_or_agreed_to_counts_no_more_unless_it_has_happened() {
    let room = Room::new(6);
    let revoke = |who: &str| {
        let (operator, _) = room.operators.iter().find(|(operator, _)| operator.name == who).unwrap();
        let revoked = Revoked {
            operator: who.to_owned(),
            key: hex(&operator.key.public().0),
            revoked: clock::text(NOW),
            reason: "left".to_owned(),
            decisions: Vec::new(),
        };
        KeyFolder::open(&room.path("keys")).unwrap().revoke(&room.service(), revoked).unwrap();
    };
    let (first, second) = (room.to_erase(&[1]), room.to_erase(&[2]));
    room.erase(&second, "second.json").unwrap();
    revoke("grace");
    assert!(problem(room.erase(&first, "first.json")).contains("0 have agreed, 1 are needed"));
    // another one may agree instead
    let sha256 = room.desk("mary").grant(&first, Action::Erase).unwrap().sha256;
    let code = room.code("mary");
    room.desk("mary").approve(&first, Action::Erase, &sha256, &code).unwrap();
    revoke("ada");
    assert!(problem(room.erase(&first, "first.json")).contains("who asked for this grant was revoked"));
    assert_eq!(room.people().len(), 5);
}
