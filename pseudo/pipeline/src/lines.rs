//! Records that are lines: newline-delimited JSON. Empty lines are passed over, a byte order mark too.

use std::io::{self, Read};

use memchr::memchr;

use crate::feed::{Feed, RECORD_BYTES_MAX};

/// A record, or that it is too long.
pub(crate) enum Piece {
    /// The record is the beginning of the window, so many bytes.
    Record(usize),
    /// It was longer than a record may be, and is passed over.
    TooLong,
}

/// Cuts a stream into lines.
pub(crate) struct Lines<R> {
    pub(crate) feed: Feed<R>,
    /// What the last record took of the window, with what separates it from the next.
    used: usize,
    has_begun: bool,
}

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

impl<R: Read> Lines<R> {
    pub(crate) fn new(reader: R) -> Self {
        Self { feed: Feed::new(reader), used: 0, has_begun: false }
    }

    /// The next record; `None` at the end.
    pub(crate) fn next(&mut self) -> io::Result<Option<Piece>> {
        self.feed.consume(std::mem::take(&mut self.used));
        if !self.has_begun {
            self.has_begun = true;
            while self.feed.window().len() < BYTE_ORDER_MARK.len() && self.feed.more()? {}
            if self.feed.window().starts_with(BYTE_ORDER_MARK) {
                self.feed.consume(BYTE_ORDER_MARK.len());
            }
        }
        let mut searched = 0;
        loop {
            let window = self.feed.window();
            if let Some(at) = memchr(b'\n', &window[searched..]) {
                let length = searched + at;
                if window[..length].iter().all(|byte| matches!(byte, b' ' | b'\t' | b'\r')) {
                    self.feed.consume(length + 1);
                    searched = 0;
                    continue;
                }
                self.used = length + 1;
                return Ok(Some(if length > RECORD_BYTES_MAX {
                    Piece::TooLong
                } else {
                    Piece::Record(length)
                }));
            }
            searched = window.len();
            if searched > RECORD_BYTES_MAX {
                self.skip_line()?;
                return Ok(Some(Piece::TooLong));
            }
            if !self.feed.more()? {
                let window = self.feed.window();
                let is_empty = window.iter().all(u8::is_ascii_whitespace);
                self.used = window.len();
                return Ok((!is_empty).then_some(Piece::Record(self.used)));
            }
        }
    }

    fn skip_line(&mut self) -> io::Result<()> {
        loop {
            let window = self.feed.window();
            if let Some(at) = memchr(b'\n', window) {
                self.feed.consume(at + 1);
                return Ok(());
            }
            self.feed.consume(window.len());
            if !self.feed.more()? {
                return Ok(());
            }
        }
    }
}
