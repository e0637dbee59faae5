//! All combinations of levels, and which of them are coarse enough.
//!
//! A node is one level per column. What is asked of it must be *monotone*: when a node satisfies it, so does every node
//! that is nowhere finer. Then one answer settles many nodes: all above a node that satisfies, all below one that does not.
//! The search goes up from each open node along a path of open nodes and halves the path, so it asks few questions
//! (the idea of Flash, Kohlmayer and others 2012). When it ends every node is settled, so what it calls minimal is all there is.

/// Nodes of a lattice, at most: one byte is kept for each.
pub const NODES_MAX: usize = 64 << 20;

/// The combinations of levels of several columns.
#[derive(Clone, Debug)]
pub struct Lattice {
    /// Coarsest level of each column.
    heights: Vec<usize>,
    /// How far apart two nodes are that differ by one level of a column.
    strides: Vec<usize>,
    nodes: usize,
}

/// A lattice in which every node is settled.
#[derive(Clone, Debug)]
pub struct Settled {
    lattice: Lattice,
    tags: Vec<Tag>,
    /// How many nodes were asked about.
    pub asked: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tag {
    Open,
    Yes,
    No,
}

impl Lattice {
    /// The lattice over columns whose coarsest levels these are; `None` when it has more nodes than [`NODES_MAX`].
    pub fn new(heights: &[usize]) -> Option<Self> {
        let (mut strides, mut nodes) = (Vec::with_capacity(heights.len()), 1_usize);
        for height in heights {
            strides.push(nodes);
            nodes = nodes.checked_mul(height.checked_add(1)?).filter(|nodes| *nodes <= NODES_MAX)?;
        }
        Some(Self { heights: heights.to_vec(), strides, nodes })
    }

    /// How many nodes there are.
    pub fn nodes(&self) -> usize {
        self.nodes
    }

    /// The levels of a node.
    pub fn levels(&self, node: usize) -> Vec<usize> {
        (0..self.heights.len()).map(|column| self.level(node, column)).collect()
    }

    /// The nodes that are one level coarser in one column.
    pub fn coarser(&self, node: usize) -> impl Iterator<Item = usize> + '_ {
        let columns =
            (0..self.heights.len()).filter(move |column| self.level(node, *column) < self.heights[*column]);
        columns.map(move |column| node + self.strides[column])
    }

    /// The nodes that are one level finer in one column.
    pub fn finer(&self, node: usize) -> impl Iterator<Item = usize> + '_ {
        let columns = (0..self.heights.len()).filter(move |column| self.level(node, *column) > 0);
        columns.map(move |column| node - self.strides[column])
    }

    /// Settles every node by asking about few. The question must be monotone.
    pub fn settle<E>(&self, mut ask: impl FnMut(usize) -> Result<bool, E>) -> Result<Settled, E> {
        let mut settled = Settled { lattice: self.clone(), tags: vec![Tag::Open; self.nodes], asked: 0 };
        for start in self.fine_to_coarse() {
            while settled.tags[start] == Tag::Open {
                let path = settled.open_path(start);
                let (mut low, mut high) = (0, path.len());
                while low < high {
                    let middle = low + (high - low) / 2;
                    settled.asked += 1;
                    if ask(path[middle])? {
                        settled.tag(path[middle], Tag::Yes);
                        high = middle;
                    } else {
                        settled.tag(path[middle], Tag::No);
                        low = middle + 1;
                    }
                }
            }
        }
        assert!(!settled.tags.contains(&Tag::Open), "every node is a start or was settled before its turn");
        Ok(settled)
    }

    fn level(&self, node: usize, column: usize) -> usize {
        node / self.strides[column] % (self.heights[column] + 1)
    }

    /// All nodes by the sum of their levels.
    fn fine_to_coarse(&self) -> Vec<usize> {
        let sum =
            |node: &usize| (0..self.heights.len()).map(|column| self.level(*node, column)).sum::<usize>();
        let mut nodes: Vec<usize> = (0..self.nodes).collect();
        nodes.sort_by_cached_key(sum);
        nodes
    }
}

impl Settled {
    /// Whether a node satisfies what was asked.
    pub fn satisfies(&self, node: usize) -> bool {
        self.tags[node] == Tag::Yes
    }

    /// The nodes that satisfy, while no finer node does.
    pub fn minimal(&self) -> Vec<usize> {
        let is_minimal = |node: &usize| {
            self.satisfies(*node) && self.lattice.finer(*node).all(|finer| !self.satisfies(finer))
        };
        (0..self.tags.len()).filter(is_minimal).collect()
    }

    /// A way up through open nodes that cannot be made longer.
    fn open_path(&self, start: usize) -> Vec<usize> {
        let mut path = vec![start];
        let mut last = start;
        while let Some(next) = self.lattice.coarser(last).find(|node| self.tags[*node] == Tag::Open) {
            path.push(next);
            last = next;
        }
        path
    }

    /// Tags a node and all that follow from it.
    fn tag(&mut self, node: usize, tag: Tag) {
        let mut next = vec![node];
        while let Some(node) = next.pop() {
            if self.tags[node] == tag {
                continue;
            }
            assert!(self.tags[node] == Tag::Open, "a monotone question is never answered both ways");
            self.tags[node] = tag;
            if tag == Tag::Yes {
                next.extend(self.lattice.coarser(node));
            } else {
                next.extend(self.lattice.finer(node));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;

    /// Settles with "is nowhere finer than one of these nodes", which is monotone, and compares with asking everywhere.
    fn check(heights: &[usize], floors: &[Vec<usize>]) {
        let lattice = Lattice::new(heights).unwrap();
        let above = |node: usize| {
            let levels = lattice.levels(node);
            floors.iter().any(|floor| floor.iter().zip(&levels).all(|(floor, level)| level >= floor))
        };
        let settled = lattice.settle(|node| Ok::<_, Infallible>(above(node))).unwrap();
        for node in 0..lattice.nodes() {
            assert_eq!(
                settled.satisfies(node),
                above(node),
                "{heights:?} {floors:?} {:?}",
                lattice.levels(node)
            );
            let minimal = above(node) && lattice.finer(node).all(|finer| !above(finer));
            assert_eq!(settled.minimal().contains(&node), minimal);
        }
        assert!(settled.asked <= lattice.nodes() as u64);
    }

    #[test]
    fn every_node_is_settled_as_if_all_were_asked() {
        let mut state = 5_u64;
        let mut next = |below: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize % below
        };
        for _ in 0..200 {
            let heights: Vec<usize> = (0..1 + next(4)).map(|_| next(4)).collect();
            let floors: Vec<Vec<usize>> =
                (0..next(4)).map(|_| heights.iter().map(|height| next(height + 2)).collect()).collect();
            check(&heights, &floors);
        }
    }

    #[test]
    fn few_questions_settle_a_large_lattice() {
        let lattice = Lattice::new(&[9, 9, 9, 9]).unwrap();
        let ask = |node: usize| Ok::<_, Infallible>(lattice.levels(node).iter().all(|level| *level >= 5));
        let settled = lattice.settle(ask).unwrap();
        assert_eq!(settled.minimal().len(), 1);
        assert!(settled.asked < 2_500, "{} of {} nodes", settled.asked, lattice.nodes());
    }

    #[test]
    fn a_lattice_without_columns_is_one_node() {
        check(&[], &[]);
        check(&[], &[vec![]]);
        check(&[0], &[vec![0]]);
    }

    #[test]
    fn a_lattice_that_is_too_large_is_none() {
        assert!(Lattice::new(&[63; 5]).is_none());
        assert!(Lattice::new(&[usize::MAX]).is_none());
    }

    #[test]
    fn an_error_ends_the_search() {
        let lattice = Lattice::new(&[3]).unwrap();
        assert_eq!(lattice.settle(|_| Err("no")).map(|_| ()), Err("no"));
    }
}
