//! The codes of `check`, each with its page of the documentation built in.

/// One code.
#[derive(Clone, Copy, Debug)]
pub struct CodePage {
    /// The code.
    pub code: &'static str,
    /// What it is called.
    pub title: &'static str,
    /// Its page, Markdown.
    pub page: &'static str,
}

const fn code(code: &'static str, title: &'static str, page: &'static str) -> CodePage {
    CodePage { code, title, page }
}

/// Every code there is; codes are never given a second meaning.
pub const CODES: &[CodePage] = &[
    code("TK-C001", "No region here", include_str!("../../../docs/codes/TK-C001.md")),
    code(
        "TK-C002",
        "Files of the operator's folder are missing or damaged",
        include_str!("../../../docs/codes/TK-C002.md"),
    ),
    code("TK-C003", "Secrets can be read by others", include_str!("../../../docs/codes/TK-C003.md")),
    code(
        "TK-C004",
        "The passphrase lies beside the key it protects",
        include_str!("../../../docs/codes/TK-C004.md"),
    ),
    code("TK-C005", "Little room on the disk", include_str!("../../../docs/codes/TK-C005.md")),
    code("TK-C006", "A clock is wrong", include_str!("../../../docs/codes/TK-C006.md")),
    code("TK-C007", "The gateway is not ready", include_str!("../../../docs/codes/TK-C007.md")),
    code(
        "TK-C008",
        "A process of the development region does not run",
        include_str!("../../../docs/codes/TK-C008.md"),
    ),
    code("TK-C009", "A port is taken", include_str!("../../../docs/codes/TK-C009.md")),
    code(
        "TK-C010",
        "A certificate is unreadable or of another region",
        include_str!("../../../docs/codes/TK-C010.md"),
    ),
    code("TK-C011", "A certificate ends", include_str!("../../../docs/codes/TK-C011.md")),
    code("TK-C012", "The region does not answer", include_str!("../../../docs/codes/TK-C012.md")),
    code("TK-C013", "A node is down or on the move", include_str!("../../../docs/codes/TK-C013.md")),
    code("TK-C014", "A disk is full or out of service", include_str!("../../../docs/codes/TK-C014.md")),
    code("TK-C015", "Groups have no leader", include_str!("../../../docs/codes/TK-C015.md")),
    code("TK-C016", "Fewer than three good copies", include_str!("../../../docs/codes/TK-C016.md")),
    code("TK-C017", "Nodes run different releases", include_str!("../../../docs/codes/TK-C017.md")),
    code("TK-C018", "The root key is not open", include_str!("../../../docs/codes/TK-C018.md")),
    code("TK-C019", "Connections were refused", include_str!("../../../docs/codes/TK-C019.md")),
    code("TK-C020", "Corrupt records without a good copy", include_str!("../../../docs/codes/TK-C020.md")),
    code("TK-C021", "Too few open files", include_str!("../../../docs/codes/TK-C021.md")),
    code("TK-C022", "The pair descriptor does not hold", include_str!("../../../docs/codes/TK-C022.md")),
    code("TK-C023", "The pair is not in order", include_str!("../../../docs/codes/TK-C023.md")),
];

/// The page of a code, however it is capitalised.
pub fn page(wanted: &str) -> Option<&'static CodePage> {
    CODES.iter().find(|page| page.code.eq_ignore_ascii_case(wanted.trim()))
}
