//! One JSON object, scanned once against the closed list. Every member is visited: an unknown one, a second one of a name, a name
//! with escapes, a value of another type are faults, so nothing slips past by being written otherwise.

use crate::Fault;
use crate::number;
use crate::slots::{Slot, Slots};
use crate::tree::{Target, Tree};

/// Records within records, and whatever is nested in a field that is dropped: as deep as any reader of JSON allows.
const DEPTH_MAX: usize = 64;

/// Scans records against a tree.
pub(crate) struct Scanner {
    tree: Tree,
    drops_unknown: bool,
    /// Number of the record in which a member was last seen.
    seen: Vec<u64>,
    record: u64,
    /// Fields without a rule that were left out so far.
    pub(crate) dropped: u64,
}

/// A place in one record.
struct Cursor<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
}

impl Scanner {
    pub(crate) fn new(tree: Tree, drops_unknown: bool) -> Self {
        let seen = vec![0; tree.members];
        Self { tree, drops_unknown, seen, record: 0, dropped: 0 }
    }

    /// Puts the record's values into the slots.
    pub(crate) fn scan(&mut self, record: &str, slots: &mut Slots) -> Result<(), Fault> {
        slots.clear();
        self.record += 1;
        let mut cursor = Cursor { text: record, bytes: record.as_bytes(), at: 0 };
        cursor.space();
        self.object(0, 1, &mut cursor, slots)?;
        cursor.space();
        if cursor.at == cursor.bytes.len() { Ok(()) } else { Err(Fault::Malformed) }
    }

    fn object(
        &mut self,
        node: usize,
        depth: usize,
        cursor: &mut Cursor<'_>,
        slots: &mut Slots,
    ) -> Result<(), Fault> {
        if depth > DEPTH_MAX {
            return Err(Fault::TooDeep);
        }
        cursor.expect(b'{')?;
        cursor.space();
        if cursor.take(b'}') {
            return Ok(());
        }
        let mut hint = 0;
        loop {
            let node_here = &self.tree.nodes[node];
            // most records have their members in one order, and nothing between a name and its colon
            let found = match node_here.begins(hint, &cursor.bytes[cursor.at..]) {
                Some(length) => {
                    cursor.at += length;
                    Some(hint)
                }
                None => {
                    let name = cursor.name()?;
                    cursor.space();
                    cursor.expect(b':')?;
                    node_here.find(name, hint)
                }
            };
            cursor.space();
            match found {
                Some(at) => {
                    hint = at + 1;
                    let member = &node_here.members[at];
                    let target = member.target;
                    if std::mem::replace(&mut self.seen[member.number], self.record) == self.record {
                        return Err(Fault::DuplicateField);
                    }
                    match target {
                        Target::Field(field) => cursor.value(field, slots)?,
                        Target::Dropped => cursor.skip(depth + 1)?,
                        // null instead of a record: all its fields are null
                        Target::Node(inner) if cursor.peek() != Some(b'n') => {
                            self.object(inner, depth + 1, cursor, slots)?;
                        }
                        Target::Node(_) => cursor.word(b"null")?,
                    }
                }
                None if self.drops_unknown => {
                    cursor.skip(depth + 1)?;
                    self.dropped += 1;
                }
                None => return Err(Fault::UnknownField),
            }
            cursor.space();
            if cursor.take(b'}') {
                return Ok(());
            }
            cursor.expect(b',')?;
            cursor.space();
        }
    }
}

impl<'a> Cursor<'a> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\n' | b'\r' | b'\t')) {
            self.at += 1;
        }
    }

    fn take(&mut self, byte: u8) -> bool {
        let there = self.peek() == Some(byte);
        self.at += usize::from(there);
        there
    }

    fn expect(&mut self, byte: u8) -> Result<(), Fault> {
        if self.take(byte) { Ok(()) } else { Err(Fault::Malformed) }
    }

    fn word(&mut self, word: &[u8]) -> Result<(), Fault> {
        if self.bytes[self.at..].starts_with(word) {
            self.at += word.len();
            return Ok(());
        }
        Err(Fault::Malformed)
    }

    /// A name, after which the cursor is behind its quote.
    fn name(&mut self) -> Result<&'a [u8], Fault> {
        self.expect(b'"')?;
        let from = self.at;
        self.at += plain_length(&self.bytes[from..]);
        match self.peek() {
            Some(b'"') => {
                self.at += 1;
                Ok(&self.bytes[from..self.at - 1])
            }
            Some(b'\\') => Err(Fault::EscapedName),
            _ => Err(Fault::Malformed),
        }
    }

    fn value(&mut self, field: usize, slots: &mut Slots) -> Result<(), Fault> {
        let slot = match self.peek() {
            Some(b'"') => {
                self.at += 1;
                let from = self.at;
                self.at += plain_length(&self.bytes[from..]);
                match self.peek() {
                    Some(b'"') => {
                        self.at += 1;
                        Slot::Plain(place(from), place(self.at - 1))
                    }
                    Some(b'\\') => {
                        let start = slots.arena.len();
                        slots.arena.push_str(&self.text[from..self.at]);
                        self.unescape(&mut slots.arena)?;
                        Slot::Unescaped(place(start), place(slots.arena.len()))
                    }
                    _ => return Err(Fault::Malformed),
                }
            }
            Some(b'-' | b'0'..=b'9') => {
                let (from, length) = (self.at, number::length(&self.bytes[self.at..]));
                if length == 0 {
                    return Err(Fault::Malformed);
                }
                self.at += length;
                Slot::Number(place(from), place(self.at))
            }
            Some(b'n') => {
                self.word(b"null")?;
                Slot::Null
            }
            Some(b't') => {
                self.word(b"true")?;
                Slot::True
            }
            Some(b'f') => {
                self.word(b"false")?;
                Slot::False
            }
            Some(b'{' | b'[') => return Err(Fault::Type { field }),
            _ => return Err(Fault::Malformed),
        };
        slots.set(field, slot);
        Ok(())
    }

    /// The rest of a text from its first escape on, behind its quote.
    fn unescape(&mut self, out: &mut String) -> Result<(), Fault> {
        loop {
            let from = self.at;
            self.at += plain_length(&self.bytes[from..]);
            out.push_str(&self.text[from..self.at]);
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(());
                }
                Some(b'\\') => {
                    self.at += 1;
                    out.push(self.escape()?);
                }
                _ => return Err(Fault::Malformed),
            }
        }
    }

    fn escape(&mut self) -> Result<char, Fault> {
        let letter = self.peek().ok_or(Fault::Malformed)?;
        self.at += 1;
        Ok(match letter {
            b'"' | b'\\' | b'/' => char::from(letter),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let first = self.hex()?;
                let code = match first {
                    0xd800..=0xdbff => {
                        self.word(b"\\u")?;
                        let second = self.hex()?;
                        if !(0xdc00..=0xdfff).contains(&second) {
                            return Err(Fault::Malformed);
                        }
                        0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00)
                    }
                    code => code,
                };
                char::from_u32(code).ok_or(Fault::Malformed)?
            }
            _ => return Err(Fault::Malformed),
        })
    }

    fn hex(&mut self) -> Result<u32, Fault> {
        let digits = self.bytes.get(self.at..self.at + 4).ok_or(Fault::Malformed)?;
        self.at += 4;
        digits
            .iter()
            .try_fold(0, |code, digit| Some(code << 4 | char::from(*digit).to_digit(16)?))
            .ok_or(Fault::Malformed)
    }

    /// Passes over a value of any kind, which has to be right all the same.
    fn skip(&mut self, depth: usize) -> Result<(), Fault> {
        if depth > DEPTH_MAX {
            return Err(Fault::TooDeep);
        }
        let close = match self.peek() {
            Some(b'{') => b'}',
            Some(b'[') => b']',
            Some(b'"') => return self.skip_text(),
            _ => {
                // any field will do: the value goes nowhere
                let mut nowhere = Slots::new(1);
                return self.value(0, &mut nowhere);
            }
        };
        self.at += 1;
        self.space();
        if self.take(close) {
            return Ok(());
        }
        loop {
            if close == b'}' {
                self.skip_name()?;
            }
            self.skip(depth + 1)?;
            self.space();
            if self.take(close) {
                return Ok(());
            }
            self.expect(b',')?;
            self.space();
        }
    }

    /// Passes over a text, behind its quote.
    fn skip_text(&mut self) -> Result<(), Fault> {
        self.expect(b'"')?;
        loop {
            self.at += plain_length(&self.bytes[self.at..]);
            match self.peek() {
                Some(b'\\') => {
                    self.at += 1;
                    self.escape()?;
                }
                _ => return self.expect(b'"'),
            }
        }
    }

    fn skip_name(&mut self) -> Result<(), Fault> {
        self.skip_text()?;
        self.space();
        self.expect(b':')?;
        self.space();
        Ok(())
    }
}

fn place(at: usize) -> u32 {
    u32::try_from(at).expect("a record is shorter than 4 GiB")
}

/// How many bytes come before a quote, a backslash or a control character. Eight at a time: most of a record is text.
pub(crate) fn plain_length(bytes: &[u8]) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let (words, rest) = bytes.as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        // a byte's high bit is set where the byte is zero after the exclusive or, or where it is below 0x20
        let zero = |word: u64| word.wrapping_sub(ONES) & !word;
        let quote = zero(word ^ (ONES * u64::from(b'"')));
        let backslash = zero(word ^ (ONES * u64::from(b'\\')));
        let control = word.wrapping_sub(ONES * 0x20) & !word;
        let found = (quote | backslash | control) & HIGH;
        if found != 0 {
            // borrows reach upwards only, so the lowest hit is a true one
            return index * 8 + found.trailing_zeros() as usize / 8;
        }
    }
    let stops = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..0x20);
    words.len() * 8 + rest.iter().position(stops).unwrap_or(rest.len())
}
