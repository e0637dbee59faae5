//! The Merkle tree over the leaves of what a group holds: 4,096 leaves, sixteen of them, or of the nodes above them, below
//! each node. Two regions that hold the same have the same root; where roots differ, going down finds the leaves that do.
//!
//! ```text
//! leaf   SHA-256(entries u64 · bytes u64 · sum 32 B), numbers little-endian; 32 zero bytes for one without entries
//! node   SHA-256(its sixteen children); 32 zero bytes if all of them are
//! ```

use ring::digest::{Context, SHA256};
use std::collections::BTreeMap;
use wire::{COMPARE_LEAVES, Digest, LeafSum};

/// Children of a node.
const FAN_OUT: usize = 16;

/// The tree, leaves first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct MerkleTree {
    levels: Vec<Vec<Digest>>,
}

impl MerkleTree {
    /// Over these leaves; those that are missing have no entries.
    pub(super) fn of(leaves: &BTreeMap<u16, LeafSum>) -> Self {
        let mut level = vec![Digest::default(); usize::from(COMPARE_LEAVES)];
        for (leaf, sum) in leaves.iter().filter(|(_, sum)| sum.entries > 0) {
            let numbers = [sum.entries.to_le_bytes(), sum.bytes.to_le_bytes()];
            level[usize::from(*leaf)] = hash(&[&numbers[0], &numbers[1], &sum.sum.0]);
        }
        let mut levels = vec![level];
        while let Some(below) = levels.last().filter(|level| level.len() > 1) {
            levels.push(below.chunks(FAN_OUT).map(node).collect());
        }
        Self { levels }
    }

    /// What stands for all of it.
    pub(super) fn root(&self) -> Digest {
        self.levels.last().and_then(|level| level.first()).copied().unwrap_or_default()
    }

    /// The leaves that are not the same, in order.
    pub(super) fn differing(&self, other: &Self) -> Vec<u16> {
        let mut nodes = vec![0_usize];
        for (own, others) in self.levels.iter().zip(&other.levels).rev() {
            nodes.retain(|at| own[*at] != others[*at]);
            if own.len() < usize::from(COMPARE_LEAVES) {
                nodes = nodes.iter().flat_map(|at| at * FAN_OUT..(at + 1) * FAN_OUT).collect();
            }
        }
        nodes.into_iter().filter_map(|at| u16::try_from(at).ok()).collect()
    }
}

/// What stands for the parts that groups have of the same tree, each with its group's number.
pub(super) fn root_of_groups(roots: &[(u32, Digest)]) -> Digest {
    let mut all = Context::new(&SHA256);
    for (group, root) in roots {
        all.update(&group.to_le_bytes());
        all.update(&root.0);
    }
    finish(all)
}

fn node(children: &[Digest]) -> Digest {
    if children.iter().all(|child| *child == Digest::default()) {
        return Digest::default();
    }
    let children: Vec<&[u8]> = children.iter().map(|child| &child.0[..]).collect();
    hash(&children)
}

fn hash(pieces: &[&[u8]]) -> Digest {
    let mut context = Context::new(&SHA256);
    pieces.iter().for_each(|piece| context.update(piece));
    finish(context)
}

fn finish(context: Context) -> Digest {
    Digest(context.finish().as_ref().try_into().expect("a SHA-256 has 32 bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaves(numbers: &[u16]) -> BTreeMap<u16, LeafSum> {
        let leaf = |leaf: u16| LeafSum { leaf, entries: 1, bytes: 2, sum: Digest([leaf as u8; 32]) };
        numbers.iter().map(|number| (*number, leaf(*number))).collect()
    }

    #[test]
    fn equal_leaves_have_equal_roots_and_differing_ones_are_found() {
        let (one, other) = (leaves(&[0, 17, 300, 4_095]), leaves(&[0, 17, 301, 4_095]));
        let (first, second) = (MerkleTree::of(&one), MerkleTree::of(&other));
        assert_eq!(first.root(), MerkleTree::of(&one).root());
        assert_eq!(first.differing(&first), Vec::<u16>::new());
        assert_ne!(first.root(), second.root());
        assert_eq!(first.differing(&second), [300, 301]);
        assert_eq!(MerkleTree::of(&BTreeMap::new()).root(), Digest::default());
        let empty = MerkleTree::of(&BTreeMap::new());
        assert_eq!(first.differing(&empty), [0, 17, 300, 4_095]);
    }

    #[test]
    fn every_figure_of_a_leaf_counts() {
        let root = |change: &dyn Fn(&mut LeafSum)| {
            let mut all = leaves(&[5, 9]);
            change(all.get_mut(&9).unwrap());
            MerkleTree::of(&all).root()
        };
        let same = root(&|_| {});
        assert_ne!(root(&|leaf| leaf.entries += 1), same);
        assert_ne!(root(&|leaf| leaf.bytes += 1), same);
        assert_ne!(root(&|leaf| leaf.sum.0[31] ^= 1), same);
    }
}
