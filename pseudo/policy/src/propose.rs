//! A first policy from what a sample says. It is a proposal: what is not understood is dropped, and purpose, legal basis and owner
//! are left for a person to write; until then the policy cannot be read.

use std::fmt::Write as _;

use crate::{Format, Leaf, Looks, Path, Profile, free_text_name, identifying_name};

/// Few enough values that a person can look at all of them.
const FEW_VALUES: u64 = 50;

/// The text of a policy.
pub fn propose(name: &str, format: Format, profile: &Profile) -> String {
    let format = match format {
        Format::Ndjson => "ndjson",
        Format::JsonArray => "json",
        Format::Csv => "csv",
        Format::Parquet => "parquet",
    };
    let mut text = format!(
        "# Proposed from {} records. Read every rule: a proposal is no decision.\n\
         policy = \"{name}\"\nversion = 1\ndomain = \"{name}\"\n\
         purpose = \"\"       # what the data are used for\n\
         legal_basis = \"\"   # such as Art. 6(1)(f)\n\
         owner = \"\"         # who answers for it\n\
         recipient = \"\"     # who gets exports, unless --recipient says so\n\
         unknown_field = \"stop\"\nbad_record = \"stop\"\n\n\
         [source]\nformat = \"{format}\"\n\n[target]\nformat = \"{}\"\nshuffle = true\n\n\
         [retention]\nanonymise_after = \"P24M\"\ndelete_after = \"P36M\"\n\n",
        profile.records(),
        if format == "json" { "ndjson" } else { format },
    );
    let quasi: Vec<String> = profile
        .leaves()
        .filter(|(path, leaf)| is_quasi(path, leaf))
        .map(|(path, _)| format!("\"{path}\""))
        .collect();
    let _ = writeln!(text, "[gate]\nquasi_identifiers = [{}]\nk = 10\n", quasi.join(", "));
    let person =
        profile.leaves().find(|(_, leaf)| leaf.identifying() == Some(Looks::Email)).map(|(path, _)| path);
    for (path, leaf) in profile.leaves() {
        let _ = writeln!(text, "[[field]]\npath = \"{path}\"\n{}\n", rule(path, leaf, person));
    }
    text
}

fn is_quasi(path: &Path, leaf: &Leaf) -> bool {
    leaf.is_time()
        || (leaf.identifying() == Some(Looks::Address))
        || (is_few(leaf) && !is_named(path) && !is_free_text(path, leaf) && leaf.identifying().is_none())
}

fn is_few(leaf: &Leaf) -> bool {
    leaf.texts > 0 && leaf.distinct() <= FEW_VALUES && leaf.distinct() * 10 <= leaf.present
}

fn is_named(path: &Path) -> bool {
    path.names().last().is_some_and(|name| identifying_name(name))
}

fn is_free_text(path: &Path, leaf: &Leaf) -> bool {
    leaf.is_free_text() || path.names().last().is_some_and(|name| free_text_name(name))
}

fn rule(path: &Path, leaf: &Leaf, person: Option<&Path>) -> String {
    if leaf.is_time() {
        return match person {
            Some(by) => format!("technique = \"date-shift\"\nby = \"{by}\"\nmax_days = 15\nthen = \"day\""),
            None => "technique = \"truncate\"\nunit = \"day\"".to_owned(),
        };
    }
    match leaf.identifying() {
        Some(Looks::Email) => {
            "technique = \"prf\"\nclass = \"person.email\"\nnormalise = [\"nfc\", \"email\"]".to_owned()
        }
        Some(Looks::Address) => "technique = \"ip-prefix\"\nkeep_v4 = 16\nkeep_v6 = 32".to_owned(),
        Some(Looks::Telephone) => {
            "technique = \"prf\"\nclass = \"person.telephone\"\nnormalise = [\"digits\"]".to_owned()
        }
        Some(Looks::Account) => {
            "technique = \"prf\"\nclass = \"person.account\"\nnormalise = [\"spaces\"]".to_owned()
        }
        Some(Looks::Code) => "technique = \"prf\"\nclass = \"code\"\nnormalise = [\"trim\"]".to_owned(),
        Some(Looks::PersonName | Looks::Time) => "technique = \"drop\"".to_owned(),
        None if is_named(path) => "technique = \"drop\"   # by its name an identifier".to_owned(),
        None if leaf.booleans == leaf.present && leaf.present > 0 => {
            "technique = \"keep\"\ntype = \"boolean\"".to_owned()
        }
        None if leaf.numbers == leaf.present && leaf.present > 0 => {
            "technique = \"bucket\"\nwidth = 10   # keep, if exact numbers single nobody out".to_owned()
        }
        None if is_free_text(path, leaf) => {
            "technique = \"drop\"   # free text; classify says what kind of title it is".to_owned()
        }
        None if is_few(leaf) => "technique = \"null-if-rare\"\nmin_records = 10".to_owned(),
        None => "technique = \"drop\"   # not understood".to_owned(),
    }
}
