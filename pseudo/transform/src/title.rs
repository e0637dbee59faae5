//! What can be said of a document's title without saying anything of it: the first class that one of its words belongs to, the
//! kind of file, about how long it is. Everything that comes out is from a closed list.

use crate::error::within;
use crate::normalise::lower;
use crate::{Clear, Kind, TransformError};

/// Classes of one rule.
pub const TITLE_CLASSES_MAX: usize = 64;
/// Words of all classes of a rule.
pub const TITLE_WORDS_MAX: usize = 1_000;
/// A word or the name of a class, bytes.
const WORD_BYTES_MAX: usize = 64;
/// Characters that a word has at least: less is in every other title.
const WORD_MIN: usize = 2;

const TECHNIQUE: &str = "classify";
/// What no class has a word of, and an ending that is not listed: somebody's name may stand there.
const OTHER: &str = "other";
/// A title without an ending.
const NONE: &str = "none";
/// What documents that are printed end with.
const EXTENSIONS: [&str; 30] = [
    "bmp", "csv", "doc", "docx", "dwg", "eml", "gif", "htm", "html", "jpeg", "jpg", "md", "msg", "odp",
    "ods", "odt", "pdf", "png", "ppt", "pptx", "ps", "rtf", "svg", "tif", "tiff", "txt", "vsdx", "xls",
    "xlsx", "xml",
];
/// Longest titles of each range but the last, characters, and what the range is called.
const LENGTHS: [(usize, &str); 5] = [(0, "0"), (16, "1-16"), (32, "17-32"), (64, "33-64"), (128, "65-128")];
const LONGER: &str = "129+";

/// What is said of a title.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Title {
    /// The name of the first class that has one of its words.
    Class(Vec<TitleClass>),
    /// The ending of a file's name.
    Extension,
    /// The range of its length in characters.
    Length,
}

/// A class of titles.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TitleClass {
    name: String,
    /// Words in lower case, and whether longer words that begin so are meant too.
    words: Vec<(String, bool)>,
}

impl Title {
    /// Classes in their order: the name of each, and its words. A word with `*` at its end stands for all that begin so.
    pub fn classes(classes: &[(String, Vec<String>)]) -> Result<Self, TransformError> {
        let problem = |problem| TransformError::Parameter { technique: TECHNIQUE, problem };
        within("classes of titles", classes.len() as u64, 1, TITLE_CLASSES_MAX as u64)?;
        let words: usize = classes.iter().map(|(_, words)| words.len()).sum();
        within("words of titles' classes", words as u64, 1, TITLE_WORDS_MAX as u64)?;
        let class = |(name, words): &(String, Vec<String>)| {
            if !(1..=WORD_BYTES_MAX).contains(&name.len()) || name == OTHER {
                return Err(problem("a class has a name of 1 to 64 bytes that is not \"other\""));
            }
            if words.is_empty() {
                return Err(problem("a class has no words"));
            }
            let word = |text: &String| {
                let (word, is_prefix) =
                    text.strip_suffix('*').map_or((text.as_str(), false), |word| (word, true));
                let word = lowered(word);
                if word.len() > WORD_BYTES_MAX
                    || word.chars().count() < WORD_MIN
                    || !word.chars().all(char::is_alphanumeric)
                {
                    return Err(problem(
                        "a word has 2 letters or digits at least, 64 bytes at most, and nothing else but a * at its end",
                    ));
                }
                Ok((word, is_prefix))
            };
            let words = words.iter().map(word).collect::<Result<_, _>>()?;
            Ok(TitleClass { name: name.clone(), words })
        };
        let classes: Vec<TitleClass> = classes.iter().map(class).collect::<Result<_, _>>()?;
        let twice = |(place, class): (usize, &TitleClass)| {
            classes[..place].iter().any(|other| other.name == class.name)
        };
        if classes.iter().enumerate().any(twice) {
            return Err(problem("two classes have one name"));
        }
        Ok(Self::Class(classes))
    }

    /// Appends what is said of a title.
    pub fn apply(&self, value: &Clear<'_>, out: &mut Vec<u8>) -> Result<Kind, TransformError> {
        if value.is_null() {
            return Ok(Kind::Null);
        }
        let text = value.identifier().ok_or(TransformError::Type { technique: TECHNIQUE })?;
        let said = match self {
            Self::Class(classes) => class(classes, text),
            Self::Extension => extension(text),
            Self::Length => {
                let characters = text.chars().count();
                LENGTHS.iter().find(|(most, _)| characters <= *most).map_or(LONGER, |(_, name)| *name)
            }
        };
        out.extend_from_slice(said.as_bytes());
        Ok(Kind::Text)
    }
}

fn lowered(text: &str) -> String {
    let mut out = String::new();
    lower(text, &mut out);
    out
}

fn class<'a>(classes: &'a [TitleClass], title: &str) -> &'a str {
    let title = lowered(title);
    let mut words: Vec<&str> = title.split(|character: char| !character.is_alphanumeric()).collect();
    words.sort_unstable();
    let has = |(wanted, is_prefix): &(String, bool)| {
        let next = words.get(words.partition_point(|word| *word < wanted.as_str()));
        next.is_some_and(|word| if *is_prefix { word.starts_with(wanted.as_str()) } else { word == wanted })
    };
    classes.iter().find(|class| class.words.iter().any(has)).map_or(OTHER, |class| class.name.as_str())
}

fn extension(title: &str) -> &'static str {
    match title.trim_end().rsplit_once('.') {
        None => NONE,
        Some((_, ending)) => {
            let listed = EXTENSIONS.iter().find(|extension| extension.eq_ignore_ascii_case(ending));
            listed.copied().unwrap_or(OTHER)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    fn classes() -> Title {
        Title::classes(&[
            ("invoice".to_owned(), words(&["invoice", "Rechnung*"])),
            ("contract".to_owned(), words(&["contract", "vertrag"])),
            ("fee".to_owned(), words(&["geb\u{fc}hr*"])),
        ])
        .unwrap()
    }

    fn said(title: &Title, text: &str) -> String {
        let mut out = Vec::new();
        assert_eq!(title.apply(&Clear::Text(text), &mut out), Ok(Kind::Text));
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_first_class_that_has_a_word_of_a_title_names_it() {
        let classes = classes();
        for (title, class) in [
            ("Invoice 4711 for Ada Lovelace.pdf", "invoice"),
            ("RECHNUNGSKOPIE-Ada.docx", "invoice"),
            ("contract_with_invoice", "invoice"),
            ("Vertrag (Entwurf)", "contract"),
            ("Mietvertrag", "other"),
            ("invoices", "other"),
            ("", "other"),
            ("Rechnung", "invoice"),
            ("Gebu\u{308}hr", "fee"),
        ] {
            assert_eq!(said(&classes, title), class, "{title}");
        }
    }

    #[test]
    fn endings_and_lengths_are_from_closed_lists() {
        for (title, ending) in [
            ("a.PDF", "pdf"),
            ("a.b.xlsx ", "xlsx"),
            ("notes", "none"),
            ("letter to dr.lovelace", "other"),
            (".", "other"),
        ] {
            assert_eq!(said(&Title::Extension, title), ending, "{title}");
        }
        for (characters, range) in
            [(0, "0"), (1, "1-16"), (16, "1-16"), (17, "17-32"), (128, "65-128"), (129, "129+")]
        {
            assert_eq!(said(&Title::Length, &"ä".repeat(characters)), range);
        }
        assert_eq!(Title::Length.apply(&Clear::Null, &mut Vec::new()), Ok(Kind::Null));
        assert!(Title::Extension.apply(&Clear::Boolean(true), &mut Vec::new()).is_err());
    }

    #[test]
    fn classes_that_cannot_be_meant_are_refused() {
        let refused = |name: &str, of: &[&str]| Title::classes(&[(name.to_owned(), words(of))]).is_err();
        assert!(refused("", &["invoice"]) && refused("other", &["invoice"]) && refused("invoice", &[]));
        assert!(
            refused("invoice", &["a"]) && refused("invoice", &["two words"]) && refused("invoice", &["*"])
        );
        assert!(refused(&"n".repeat(65), &["invoice"]) && Title::classes(&[]).is_err());
        let twice = ("invoice".to_owned(), words(&["invoice"]));
        assert!(Title::classes(&[twice.clone(), twice]).is_err());
    }
}
