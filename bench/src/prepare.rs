//! Prepares the requests of each cell, signatures included, before anything is timed.

use std::sync::Arc;

use http::{Method, Uri};

use crate::cell::{Cell, KIB, MIB, Operation};
use crate::content::ContentId;
use crate::error::BenchError;
use crate::load::{Body, Expected, Step};
use crate::sign::Signer;
use crate::target::{BUCKET, Target};

/// Keys in one LIST answer, the most that S3 allows.
pub const LIST_KEYS: usize = 1_000;
/// Length of the objects that only exist to be listed, in bytes.
const LISTED_BYTES: u64 = 16;
/// Different LIST places prepared: enough that no cache of answers helps.
const LIST_PLACES: u64 = 2_000;
/// New objects of one PUT cell; after that many they are overwritten, which bounds the disk a run needs.
const PUT_BYTES_MAX: u64 = 1024 * MIB;
/// New objects of one PUT cell at most: 20,000 signed addresses are 8 MB and take 0.1 s to sign.
const PUT_OBJECTS_MAX: u64 = 20_000;
/// Steps of the mixed cell before it repeats itself.
const MIXED_STEPS: u64 = 20_000;
/// One period of the mixed cell: 9 GET, 3 PUT, 6 HEAD, 2 DELETE, spread out.
const MIX: &[u8; 20] = b"ghgpghgghpghdgphgdhg";

/// Signs the requests of one target.
pub struct Preparer {
    signer: Signer,
    host: String,
}

/// A key and its content.
struct Object {
    key: String,
    body: Body,
}

impl Preparer {
    /// Signs for this target, now.
    pub fn new(target: &Target) -> Self {
        Self { signer: target.signer(), host: target.authority.as_str().to_owned() }
    }

    /// The timed requests of a cell; `listed` is how many keys there are to list.
    pub fn cell(&self, cell: Cell, listed: u64) -> Result<Arc<Vec<Step>>, BenchError> {
        let steps = match cell.operation {
            Operation::Put => self.puts(cell),
            Operation::Get => self.gets(cell.object_bytes),
            Operation::List => self.lists(listed),
            Operation::Mixed => self.mixed(cell),
        };
        Ok(Arc::new(steps?))
    }

    /// Stores the objects that GET cells of this size read.
    pub fn stores_for_reading(&self, object_bytes: u64) -> Result<Vec<Step>, BenchError> {
        (0..readable(object_bytes)).map(|number| self.put(&read_object(number, object_bytes))).collect()
    }

    /// Stores the objects that LIST cells list.
    pub fn stores_for_listing(&self, listed: u64) -> Result<Vec<Step>, BenchError> {
        (0..listed).map(|number| self.put(&listed_object(number))).collect()
    }

    /// Reads what a PUT cell stored: `count` of the first `stored` objects, spread evenly.
    pub fn reads_of_puts(&self, cell: Cell, stored: u64, count: u64) -> Result<Vec<Step>, BenchError> {
        let stored = stored.min(put_objects(cell.object_bytes));
        let count = count.min(stored);
        (0..count).map(|number| self.get(&put_object(cell, number * stored / count))).collect()
    }

    /// Deletes what a PUT cell stored.
    pub fn deletes_of_puts(&self, cell: Cell, stored: u64) -> Result<Vec<Step>, BenchError> {
        let stored = stored.min(put_objects(cell.object_bytes));
        (0..stored).map(|number| self.delete(&put_object(cell, number).key)).collect()
    }

    fn puts(&self, cell: Cell) -> Result<Vec<Step>, BenchError> {
        (0..put_objects(cell.object_bytes)).map(|number| self.put(&put_object(cell, number))).collect()
    }

    fn gets(&self, object_bytes: u64) -> Result<Vec<Step>, BenchError> {
        (0..readable(object_bytes)).map(|number| self.get(&read_object(number, object_bytes))).collect()
    }

    fn lists(&self, listed: u64) -> Result<Vec<Step>, BenchError> {
        let listed = listed.max(2);
        let count = (LIST_KEYS as u64).min(listed - 1);
        let starts = listed - count;
        (0..LIST_PLACES.min(starts))
            .map(|number| {
                // A multiplicative walk visits the places in an order without locality.
                let start = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) % starts;
                self.list(start, count as usize)
            })
            .collect()
    }

    fn mixed(&self, cell: Cell) -> Result<Vec<Step>, BenchError> {
        let (mut stored, mut deleted) = (0, 0);
        let objects = readable(cell.object_bytes);
        (0..MIXED_STEPS)
            .map(|number| {
                let read = read_object(number.wrapping_mul(7_919) % objects, cell.object_bytes);
                match MIX[(number % MIX.len() as u64) as usize] {
                    b'p' => {
                        stored += 1;
                        self.put(&put_object(cell, stored - 1))
                    }
                    // The oldest stored one: its PUT was answered long ago.
                    b'd' => {
                        deleted += 1;
                        self.delete(&put_object(cell, deleted - 1).key)
                    }
                    b'h' => self.step(Method::HEAD, &read.key, &[], None, Expected::Anything),
                    _ => self.get(&read),
                }
            })
            .collect()
    }

    fn put(&self, object: &Object) -> Result<Step, BenchError> {
        self.step(Method::PUT, &object.key, &[], Some(object.body), Expected::Anything)
    }

    fn get(&self, object: &Object) -> Result<Step, BenchError> {
        self.step(Method::GET, &object.key, &[], None, Expected::Object(object.body))
    }

    fn delete(&self, key: &str) -> Result<Step, BenchError> {
        self.step(Method::DELETE, key, &[], None, Expected::Anything)
    }

    fn list(&self, start: u64, count: usize) -> Result<Step, BenchError> {
        let after = listed_object(start).key;
        let maximum = LIST_KEYS.to_string();
        let query = [
            ("list-type", "2"),
            ("max-keys", maximum.as_str()),
            ("prefix", "list/"),
            ("start-after", after.as_str()),
        ];
        let expected = Expected::Keys { first: listed_object(start + 1).key, count };
        self.step(Method::GET, "", &query, None, expected)
    }

    fn step(
        &self,
        method: Method,
        key: &str,
        query: &[(&str, &str)],
        body: Option<Body>,
        expected: Expected,
    ) -> Result<Step, BenchError> {
        let path = if key.is_empty() { format!("/{BUCKET}") } else { format!("/{BUCKET}/{key}") };
        let address = self.signer.presign(method.as_str(), &self.host, &path, query);
        let address: Uri = address.parse().map_err(|error: http::uri::InvalidUri| BenchError::Transport {
            operation: "prepare",
            detail: error.to_string(),
        })?;
        Ok(Step { method, address, body, expected })
    }
}

/// How many objects of a size are there to read: many small ones, 256 MiB of large ones.
fn readable(object_bytes: u64) -> u64 {
    (256 * MIB / object_bytes).clamp(16, 2_000)
}

fn put_objects(object_bytes: u64) -> u64 {
    (PUT_BYTES_MAX / object_bytes.max(KIB)).min(PUT_OBJECTS_MAX)
}

fn put_object(cell: Cell, number: u64) -> Object {
    let folder = cell.to_string().replace(' ', "-");
    let salt = cell.connections as u64 * 1_000_003;
    let body = Body { id: ContentId(number + salt), bytes: cell.object_bytes };
    Object { key: format!("{folder}/{number:08}"), body }
}

fn read_object(number: u64, bytes: u64) -> Object {
    let body = Body { id: ContentId(number + bytes), bytes };
    Object { key: format!("read-{bytes}/{number:08}"), body }
}

fn listed_object(number: u64) -> Object {
    let body = Body { id: ContentId(number), bytes: LISTED_BYTES };
    Object { key: format!("list/{number:08}"), body }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cell::{SIZES, all_cells};
    use crate::clock::Moment;
    use crate::sign::Credentials;

    fn preparer() -> Preparer {
        let credentials = Credentials::new("key", "secret");
        Preparer {
            signer: Signer::new(&credentials, "here", Moment::from_unix(0)),
            host: "127.0.0.1:1".to_owned(),
        }
    }

    #[test]
    fn every_cell_has_requests_and_they_stay_within_the_disk_bound() {
        for cell in all_cells() {
            let steps = preparer().cell(cell, 5_000).unwrap();
            assert!(!steps.is_empty(), "{cell}");
            if cell.is_put() {
                assert!(steps.len() as u64 * cell.object_bytes <= PUT_BYTES_MAX, "{cell}");
            }
        }
        assert!(SIZES.iter().all(|size| readable(*size) * size <= 256 * MIB));
    }

    #[test]
    fn the_mix_is_what_the_report_says() {
        let cell = Cell { operation: Operation::Mixed, object_bytes: 64 * KIB, connections: 16 };
        let steps = preparer().cell(cell, 0).unwrap();
        let share = |method: Method| {
            let count = steps.iter().filter(|step| step.method == method).count();
            count * 100 / steps.len()
        };
        assert_eq!([Method::GET, Method::PUT, Method::HEAD, Method::DELETE].map(share), [45, 15, 30, 10]);
    }

    #[test]
    fn a_mixed_run_deletes_only_what_it_stored_before() {
        let cell = Cell { operation: Operation::Mixed, object_bytes: 64 * KIB, connections: 16 };
        let mut stored = Vec::new();
        for step in preparer().cell(cell, 0).unwrap().iter() {
            if step.method == Method::PUT {
                stored.push(step.address.path().to_owned());
            } else if step.method == Method::DELETE {
                assert!(stored.contains(&step.address.path().to_owned()));
                if stored.len() > 100 {
                    break;
                }
            }
        }
    }

    #[test]
    fn listings_expect_the_keys_after_their_start() {
        let steps = preparer().lists(3_000).unwrap();
        for step in &steps {
            let query = step.address.query().unwrap();
            let Expected::Keys { first, count } = &step.expected else { panic!("not a listing") };
            let number: u64 = first.trim_start_matches("list/").parse().unwrap();
            assert!(query.contains(&format!("start-after=list%2F{:08}", number - 1)));
            assert_eq!(*count, LIST_KEYS);
            assert!(number + LIST_KEYS as u64 <= 3_000);
        }
    }

    #[test]
    fn reads_of_puts_are_spread_over_what_was_stored() {
        let cell = Cell { operation: Operation::Put, object_bytes: 4 * KIB, connections: 1 };
        let steps = preparer().reads_of_puts(cell, 1_000, 4).unwrap();
        let paths: Vec<&str> = steps.iter().map(|step| step.address.path()).collect();
        assert!(paths[3].ends_with("00000750") && paths[0].ends_with("00000000"));
        assert!(preparer().reads_of_puts(cell, 0, 4).unwrap().is_empty());
    }
}
