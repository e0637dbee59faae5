//! Changes rows of an ended region behind its log's back: in the index of every node alike, so that no copy of the region
//! knows better. The layout of rows is that of `replication/src/index/FORMAT.md`; what keeps bodies alive is kept right.

use chaos::dev::Ready;

const VERSION: u8 = 0x02;
const CHUNK: u8 = 0x06;
const LIVENESS: u8 = 0x09;
const SYSTEM: u8 = 0x0A;

/// Bytes of a place in a row.
const PLACE: usize = 24;

/// From the start of a version's record to the text of its ETag.
const ETAG: usize = 8 + 16 + 1 + 8 + 8 + 1 + 8 + 4;

/// The indexes of all nodes of a region.
pub(crate) struct Planter {
    nodes: Vec<sled::Db>,
}

/// A row of one group.
struct Row {
    group: sled::Tree,
    key: Vec<u8>,
    value: Vec<u8>,
}

impl Planter {
    /// Opens the indexes of an ended region.
    pub(crate) fn open(region: &Ready) -> Self {
        let open = |folder: &std::path::Path| {
            let config = sled::Config::new().path(folder.join("index")).mode(sled::Mode::LowSpace);
            config.flush_every_ms(None).open().unwrap()
        };
        Self { nodes: region.nodes.iter().map(|node| open(&node.data)).collect() }
    }

    /// The object's only version is gone.
    pub(crate) fn remove(&self, name: &str) {
        self.change(|node| {
            let row = version(node, name);
            keep_alive(&row, -1);
            row.group.remove(&row.key).unwrap();
        });
    }

    /// There is an object more: like another one, under a name of its own.
    pub(crate) fn add(&self, like: &str, name: &str) {
        self.change(|node| {
            let row = version(node, like);
            let (bucket, sequence) = (&row.key[1..9], &row.key[row.key.len() - 10..]);
            let key = [&[VERSION], bucket, name.as_bytes(), sequence].concat();
            keep_alive(&row, 1);
            row.group.insert(key, row.value).unwrap();
        });
    }

    /// The object has the sealed body of another one.
    pub(crate) fn swap_body(&self, name: &str, with: &str) {
        self.change(|node| {
            let (mut row, other) = (version(node, name), version(node, with));
            assert_eq!((row.value[0], other.value[0]), (1, 1), "both travelled in their commits");
            keep_alive(&row, -1);
            row.value[1..=PLACE].copy_from_slice(&other.value[1..=PLACE]);
            keep_alive(&row, 1);
            row.group.insert(row.key, row.value).unwrap();
        });
    }

    /// The object has another ETag.
    pub(crate) fn change_etag(&self, name: &str) {
        self.change(|node| {
            let mut row = version(node, name);
            let record = 1 + if row.value[0] == 1 { PLACE } else { 0 };
            let letter = &mut row.value[record + ETAG];
            *letter = if *letter == b'0' { b'1' } else { b'0' };
            row.group.insert(row.key, row.value).unwrap();
        });
    }

    /// A chunk of the only large object has another checksum.
    pub(crate) fn change_chunk(&self) {
        self.change(|node| {
            let mut row = rows(node, CHUNK).into_iter().next().unwrap();
            *row.value.last_mut().unwrap() ^= 1;
            row.group.insert(row.key, row.value).unwrap();
        });
    }

    /// A record of the system group is gone.
    pub(crate) fn remove_record(&self, table: u8, name: &str) {
        self.change(|node| {
            let group = node.open_tree(0_u32.to_be_bytes()).unwrap();
            let key = [&[SYSTEM, table], name.as_bytes()].concat();
            assert!(group.remove(key).unwrap().is_some(), "there is no record {name:?}");
        });
    }

    fn change(&self, change: impl Fn(&sled::Db)) {
        for node in &self.nodes {
            change(node);
            node.flush().unwrap();
        }
    }
}

/// The only version of an object.
fn version(node: &sled::Db, name: &str) -> Row {
    let of_name = |row: &Row| row.key[9..row.key.len() - 10] == *name.as_bytes();
    let mut found: Vec<Row> = rows(node, VERSION).into_iter().filter(of_name).collect();
    assert_eq!(found.len(), 1, "versions of {name}");
    found.remove(0)
}

/// All rows of a table, of all groups.
fn rows(node: &sled::Db, table: u8) -> Vec<Row> {
    let names = node.tree_names().into_iter().filter(|name| name.len() == 4);
    let groups = names.map(|name| node.open_tree(name).unwrap());
    let rows = groups.flat_map(|group| {
        let all: Vec<_> = group.scan_prefix([table]).map(Result::unwrap).collect();
        all.into_iter().map(move |(key, value)| Row {
            group: group.clone(),
            key: key.to_vec(),
            value: value.to_vec(),
        })
    });
    rows.collect()
}

/// Counts the body that a version's row points to once more, or once less, as alive in its segment.
fn keep_alive(row: &Row, times: i64) {
    if row.value[0] == 0 {
        return;
    }
    let number = |at: usize| u32::from_le_bytes(row.value[at..at + 4].try_into().unwrap());
    let bytes = i64::from(number(13)) + i64::from(number(17));
    let key = [&[LIVENESS][..], &number(1).to_be_bytes()].concat();
    let before = row
        .group
        .get(&key)
        .unwrap()
        .map_or(0, |value| i64::from_le_bytes(value.as_ref().try_into().unwrap()));
    row.group.insert(key, &(before + bytes * times).to_le_bytes()).unwrap();
}
