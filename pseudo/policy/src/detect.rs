//! What names of fields and values look like. Detectors propose and warn; none decides that something may pass.

use std::net::IpAddr;

use transform::Moment;

/// What a value looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Looks {
    /// An e-mail address.
    Email,
    /// An IP address.
    Address,
    /// A telephone number.
    Telephone,
    /// An account number with its country and check digits (IBAN).
    Account,
    /// A UUID, or another long number or code.
    Code,
    /// A person's name: a common first name and another word.
    PersonName,
    /// A date or time.
    Time,
}

/// Says whether a value looks like something.
type Test = fn(&str) -> bool;

impl Looks {
    /// Whether a value that looks like this points at a person or a device.
    pub fn is_identifying(self) -> bool {
        !matches!(self, Self::Time)
    }

    /// What it is called in findings.
    pub fn name(self) -> &'static str {
        match self {
            Self::Email => "an e-mail address",
            Self::Address => "an IP address",
            Self::Telephone => "a telephone number",
            Self::Account => "an account number",
            Self::Code => "an identifier",
            Self::PersonName => "a person's name",
            Self::Time => "a date or time",
        }
    }

    /// What a value looks like, if like anything.
    pub fn of(value: &str) -> Option<Self> {
        let value = value.trim();
        // longer than anything that is looked for
        if value.len() > 320 {
            return None;
        }
        let tests: [(Self, Test); 7] = [
            (Self::Time, |value| Moment::parse(value).is_ok()),
            (Self::Email, is_email),
            (Self::Address, |value| value.parse::<IpAddr>().is_ok()),
            (Self::Account, is_account),
            (Self::Telephone, is_telephone),
            (Self::Code, is_code),
            (Self::PersonName, is_person_name),
        ];
        tests.into_iter().find(|(_, test)| test(value)).map(|(looks, _)| looks)
    }
}

/// Words in names of fields that mean one of HIPAA's eighteen identifiers or a login, in English and German.
#[rustfmt::skip]
const IDENTIFYING: &[&str] = &[
    "account", "address", "adresse", "anschrift", "badge", "biometric", "birth", "birthdate", "birthday",
    "card", "certificate", "contact", "device", "dob", "driver", "email", "employee", "fax", "fingerprint",
    "firstname", "fullname", "geburtstag", "gps", "handy", "host", "hostname", "iban", "imei", "imsi",
    "insurance", "ip", "kennzeichen", "kontonummer", "kunde", "lastname", "lat", "latitude", "licence",
    "license", "login", "lon", "longitude", "mac", "mail", "mobile", "mrn", "nachname", "name", "owner",
    "passport", "patient", "person", "phone", "photo", "plate", "plz", "postcode", "serial", "sid",
    "social", "ssn", "strasse", "street", "surname", "tel", "telefon", "telephone", "upn", "url", "user",
    "userid", "username", "vehicle", "vin", "vorname", "zip", "zipcode",
];

/// Words in names of fields that hold what people write themselves, in English and German.
#[rustfmt::skip]
const FREE_TEXT: &[&str] = &[
    "bemerkung", "beschreibung", "betreff", "body", "caption", "comment", "comments", "description", "filename",
    "kommentar", "message", "nachricht", "note", "notes", "notiz", "remark", "remarks", "subject", "summary",
    "text", "titel", "title",
];
/// Words that make a sentence.
const WORDS_MIN: usize = 3;
/// Letters of the longest name of a kind or place.
const LETTERS_MAX: usize = 40;

/// Common first names, enough to notice a column of names; nothing rests on a name being here.
#[rustfmt::skip]
const FIRST_NAMES: &[&str] = &[
    "ada", "alexander", "ali", "andrea", "andreas", "anna", "anne", "barbara", "ben", "carlos", "charles",
    "christian", "christine", "claudia", "daniel", "david", "elena", "elizabeth", "emily", "emma", "eva",
    "fatima", "felix", "frank", "gabriele", "george", "hans", "heike", "helmut", "ivan", "jack", "james",
    "jan", "jennifer", "john", "jonas", "jose", "joseph", "juan", "julia", "jurgen", "karin", "karl",
    "katharina", "klaus", "laura", "lena", "leon", "linda", "lisa", "luca", "lukas", "manfred", "marco",
    "maria", "marie", "mark", "markus", "martin", "mary", "max", "mehmet", "mia", "michael", "mohammed",
    "monika", "muhammad", "nicole", "oliver", "olivia", "patricia", "paul", "peter", "petra", "rainer",
    "richard", "robert", "sabine", "sandra", "sarah", "sebastian", "sofia", "sophia", "sophie", "stefan",
    "susan", "susanne", "thomas", "tobias", "ursula", "uwe", "walter", "werner", "william", "wolfgang",
    "yusuf",
];

/// Letters and digits that make a code rather than a word.
const CODE_CHARACTERS_MIN: usize = 10;

/// Whether a field's name says that it holds an identifier. `page_count` does not, `userEmail` does.
pub fn identifying_name(name: &str) -> bool {
    let words = words(name);
    let whole: String = words.concat();
    let is_listed = |word: &str| IDENTIFYING.binary_search(&word).is_ok();
    words.iter().any(|word| is_listed(word) || word == "id") || is_listed(&whole)
}

/// Whether a field's name says that people write into it what they like. `document_title` does, `document_type` does not.
pub fn free_text_name(name: &str) -> bool {
    words(name).iter().any(|word| FREE_TEXT.binary_search(&word.as_str()).is_ok())
}

/// Whether a value is rather a sentence than one of a list: three words, or longer than names of kinds and places are.
pub(crate) fn is_wordy(value: &str) -> bool {
    value.split_whitespace().count() >= WORDS_MIN || value.chars().count() > LETTERS_MAX
}

/// The words of a name, in lower case.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut before_lower = false;
    for letter in name.chars() {
        let begins = letter.is_uppercase() && before_lower;
        before_lower = letter.is_lowercase() || letter.is_ascii_digit();
        if !letter.is_alphanumeric() || begins {
            words.push(String::new());
        }
        if letter.is_alphanumeric()
            && let Some(word) = words.last_mut()
        {
            word.extend(letter.to_lowercase());
        }
    }
    words
}

fn is_email(value: &str) -> bool {
    let Some((local, domain)) = value.split_once('@') else { return false };
    let label = |text: &str| {
        !text.is_empty() && text.chars().all(|letter| letter.is_alphanumeric() || "-_.+%'".contains(letter))
    };
    label(local) && label(domain) && domain.contains('.') && !domain.ends_with('.')
}

fn is_account(value: &str) -> bool {
    let plain: Vec<u8> = value.bytes().filter(|byte| *byte != b' ').collect();
    if !(15..=34).contains(&plain.len()) || !plain.iter().all(u8::is_ascii_alphanumeric) {
        return false;
    }
    let rotated = plain[4..].iter().chain(&plain[..4]);
    // ISO 7064: letters count as 10 to 35, the whole number is 1 modulo 97
    let remainder = rotated.fold(0_u32, |sum, byte| {
        let digit = char::from(*byte).to_digit(36).unwrap_or(0);
        (sum * if digit > 9 { 100 } else { 10 } + digit) % 97
    });
    plain[..2].iter().all(u8::is_ascii_uppercase)
        && plain[2..4].iter().all(u8::is_ascii_digit)
        && remainder == 1
}

fn is_telephone(value: &str) -> bool {
    let digits = value.bytes().filter(u8::is_ascii_digit).count();
    let others = value.bytes().all(|byte| byte.is_ascii_digit() || b"+-/(). ".contains(&byte));
    let marked = value.starts_with('+') || (value.starts_with('0') && value.len() > digits);
    others && marked && (7..=15).contains(&digits)
}

fn is_code(value: &str) -> bool {
    let characters = value.chars().filter(char::is_ascii_alphanumeric).count();
    let digits = value.bytes().filter(u8::is_ascii_digit).count();
    let letters = characters - digits;
    let plain = value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_:{}".contains(&byte));
    plain && characters >= CODE_CHARACTERS_MIN && digits >= 4 && (digits >= characters / 3 || letters == 0)
}

fn is_person_name(value: &str) -> bool {
    let words: Vec<&str> = value.split([' ', ',']).filter(|word| !word.is_empty()).collect();
    let is_word = |word: &&str| word.chars().all(|letter| letter.is_alphabetic() || ".-'".contains(letter));
    let is_first = |word: &&str| FIRST_NAMES.binary_search(&word.to_lowercase().as_str()).is_ok();
    (2..=5).contains(&words.len()) && words.iter().all(is_word) && words.iter().any(is_first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lists_are_sorted() {
        assert!(IDENTIFYING.is_sorted() && FIRST_NAMES.is_sorted() && FREE_TEXT.is_sorted());
    }

    #[test]
    fn names_of_fields_are_read_word_by_word() {
        for name in ["email", "userEmail", "user_id", "Client-IP", "e-mail", "deviceSerial", "Vorname", "ID"]
        {
            assert!(identifying_name(name), "{name}");
        }
        for name in ["pages", "page_count", "shipment", "idle", "submitted_at", "colour", "cardinal", "kind"]
        {
            assert!(!identifying_name(name), "{name}");
        }
    }

    #[test]
    fn free_text_is_told_by_its_name_and_by_its_words() {
        for name in ["document_title", "fileName.text", "Subject", "jobComment"] {
            assert!(free_text_name(name), "{name}");
        }
        for name in ["document_type", "subtitle_count", "site", "notebook"] {
            assert!(!free_text_name(name), "{name}");
        }
        assert!(is_wordy("Notice to Ada Lovelace") && is_wordy(&"x".repeat(41)));
        assert!(!is_wordy("human resources") && !is_wordy("A4"));
    }

    #[test]
    fn values_look_like_what_they_are() {
        for (value, looks) in [
            ("ada.lovelace@example.org", Looks::Email),
            ("10.1.2.3", Looks::Address),
            ("2001:db8::1", Looks::Address),
            ("+49 30 123456", Looks::Telephone),
            ("030/123456", Looks::Telephone),
            ("DE89 3704 0044 0532 0130 00", Looks::Account),
            ("3f2504e0-4f89-11d3-9a0c-0305e82c3301", Looks::Code),
            ("4111111111111111", Looks::Code),
            ("Anna Schmidt", Looks::PersonName),
            ("Schmidt, Hans-Peter Karl", Looks::PersonName),
            ("2026-11-22T10:00:00Z", Looks::Time),
        ] {
            assert_eq!(Looks::of(value), Some(looks), "{value}");
        }
        for value in ["", "A4", "duplex", "17", "Annual report", "12.50", "building 7", "a@b"] {
            assert_eq!(Looks::of(value), None, "{value}");
        }
    }
}
