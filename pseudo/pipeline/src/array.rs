//! Records that are elements of one JSON array. The array is never whole in memory; each element is cut out by counting brackets
//! outside texts, and judged by the scanner.

use std::io::{self, Read};

use crate::feed::{Feed, RECORD_BYTES_MAX};
use crate::lines::Piece;

/// Cuts a stream into the elements of its array.
pub(crate) struct Elements<R> {
    pub(crate) feed: Feed<R>,
    used: usize,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Before the opening bracket.
    Before,
    /// After it, where the array may also end.
    First,
    /// After an element.
    Next,
    /// After the closing bracket.
    Done,
}

/// The array itself is not one, or is cut off: nothing after that can be trusted.
pub(crate) struct Broken;

impl<R: Read> Elements<R> {
    pub(crate) fn new(reader: R) -> Self {
        Self { feed: Feed::new(reader), used: 0, state: State::Before }
    }

    /// The next element; `None` at the end.
    pub(crate) fn next(&mut self) -> io::Result<Result<Option<Piece>, Broken>> {
        self.feed.consume(std::mem::take(&mut self.used));
        if self.state == State::Before {
            if self.byte()? != Some(b'[') {
                return Ok(Err(Broken));
            }
            self.feed.consume(1);
            self.state = State::First;
        }
        if self.state != State::Done {
            match (self.byte()?, self.state) {
                (Some(b']'), _) => {
                    self.feed.consume(1);
                    self.state = State::Done;
                }
                (Some(b','), State::Next) => {
                    self.feed.consume(1);
                    // nothing or another comma is no element: the scanner says so
                    self.byte()?;
                    return self.element();
                }
                (Some(_), State::First) => return self.element(),
                _ => return Ok(Err(Broken)),
            }
        }
        // only space may follow
        Ok(if self.byte()?.is_none() { Ok(None) } else { Err(Broken) })
    }

    /// The next byte that is not space, left in the window.
    fn byte(&mut self) -> io::Result<Option<u8>> {
        loop {
            let window = self.feed.window();
            let space = window.iter().take_while(|byte| matches!(byte, b' ' | b'\n' | b'\r' | b'\t')).count();
            let byte = window.get(space).copied();
            self.feed.consume(space);
            if byte.is_some() || !self.feed.more()? {
                return Ok(byte);
            }
        }
    }

    fn element(&mut self) -> io::Result<Result<Option<Piece>, Broken>> {
        self.state = State::Next;
        let (mut at, mut depth, mut in_text, mut is_long) = (0_usize, 0_u64, false, false);
        loop {
            while at < self.feed.window().len() {
                let byte = self.feed.window()[at];
                match byte {
                    // the byte after a backslash ends nothing; it may not be there yet
                    b'\\' if in_text => at += 1,
                    b'"' => in_text = !in_text,
                    b'{' | b'[' if !in_text => depth += 1,
                    b',' | b']' if !in_text && depth == 0 => {
                        self.used = at;
                        return Ok(Ok(Some(if is_long { Piece::TooLong } else { Piece::Record(at) })));
                    }
                    b'}' | b']' if !in_text => match depth.checked_sub(1) {
                        Some(less) => depth = less,
                        None => return Ok(Err(Broken)),
                    },
                    _ => {}
                }
                at += 1;
            }
            if at > RECORD_BYTES_MAX {
                // go on counting without keeping
                is_long = true;
                let window = self.feed.window().len();
                self.feed.consume(window);
                at -= window;
            }
            if !self.feed.more()? {
                return Ok(Err(Broken));
            }
        }
    }
}
