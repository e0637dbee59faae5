//! CSV: what was written comes back, and no bytes at all make it panic or read for ever.

use super::*;

struct Random(u64);

impl Random {
    fn below(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % below
    }

    fn bytes(&mut self, alphabet: &[u8], length_max: usize) -> Vec<u8> {
        (0..self.below(length_max + 1)).map(|_| alphabet[self.below(alphabet.len())]).collect()
    }
}

type Rows = Vec<Vec<Vec<u8>>>;

fn rows(text: &[u8], delimiter: u8, wanted: &[&str]) -> Result<Rows, PseudoError> {
    let wanted: Vec<String> = wanted.iter().map(|name| (*name).to_owned()).collect();
    let mut rows = Rows::new();
    read(Box::new(text), Path::new("table"), delimiter, &wanted, &mut |number, cells| {
        assert_eq!(number, rows.len() as u64 + 1);
        rows.push(cells.iter().map(|cell| cell.unwrap().to_vec()).collect());
        Ok(())
    })?;
    Ok(rows)
}

#[test]
fn whatever_is_written_in_quotes_comes_back() {
    for seed in 0..300 {
        let mut random = Random(seed);
        let delimiter = [b',', b';', b'\t', b'|'][random.below(4)];
        let line_end: &[u8] = [b"\n".as_slice(), b"\r\n", b"\r"][random.below(3)];
        let records: Rows = (0..random.below(20))
            .map(|_| (0..3).map(|_| random.bytes(b"ab\",;\t|\n\r \0\xff", 12)).collect())
            .collect();
        let mut text = [b"a", b"b", b"c"].map(|name| name.to_vec()).join(&delimiter);
        text.extend_from_slice(line_end);
        for record in &records {
            let quoted = record.iter().map(|cell| {
                let doubled = cell.split(|byte| *byte == b'"').collect::<Vec<_>>().join(b"\"\"".as_slice());
                [b"\"".as_slice(), &doubled, b"\""].concat()
            });
            text.extend(quoted.collect::<Vec<_>>().join(&delimiter));
            text.extend_from_slice(line_end);
        }
        let expected: Rows = records.iter().map(|row| vec![row[2].clone(), row[0].clone()]).collect();
        assert_eq!(rows(&text, delimiter, &["c", "a"]).unwrap(), expected, "seed {seed}");
    }
}

#[test]
fn no_bytes_at_all_make_it_panic() {
    for seed in 0..20_000 {
        let mut random = Random(seed);
        let mut text = if random.below(2) == 0 { b"a,b\n".to_vec() } else { Vec::new() };
        text.extend(random.bytes(b"ab,\"\n\r\0\xef\xbb\xbf\xff", 60));
        if let Ok(rows) = rows(&text, b',', &["a"]) {
            assert!(rows.len() <= text.len(), "seed {seed}");
        }
    }
}

#[test]
fn a_record_of_the_longest_length_is_read_and_a_longer_one_is_refused() {
    let text = |length: usize| [b"a\n".as_slice(), &vec![b'x'; length], b"\nx\n"].concat();
    assert_eq!(rows(&text(RECORD_BYTES_MAX - 1), b',', &["a"]).unwrap().len(), 2);
    assert!(rows(&text(RECORD_BYTES_MAX + 1), b',', &["a"]).is_err());
}
