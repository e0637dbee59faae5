//! The closed list of a policy's fields as a tree of names.

use std::collections::HashMap;

use policy::{Policy, Spec};

/// What a name leads to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    /// A field, by its place in the policy.
    Field(usize),
    /// A field that is dropped, whatever it holds.
    Dropped,
    /// A record within the record.
    Node(usize),
}

/// One name of a node.
pub(crate) struct Member {
    pub(crate) name: Box<[u8]>,
    /// The name as most records have it: in quotes, with its colon. Names of a policy need no escapes.
    pub(crate) written: Box<[u8]>,
    pub(crate) target: Target,
    /// Its number in the whole tree: where it is noted that a record had it.
    pub(crate) number: usize,
}

/// The names that a record, or a record within it, may have.
#[derive(Default)]
pub(crate) struct Node {
    pub(crate) members: Vec<Member>,
    by_name: HashMap<Box<[u8]>, usize>,
}

/// The whole tree; the first node is the record.
pub(crate) struct Tree {
    pub(crate) nodes: Vec<Node>,
    pub(crate) members: usize,
}

/// Up to so many names a node is searched one by one, which is faster than hashing.
const LINEAR_MAX: usize = 8;

impl Tree {
    pub(crate) fn new(policy: &Policy) -> Self {
        let mut tree = Self { nodes: vec![Node::default()], members: 0 };
        for (field, rule) in policy.fields.iter().enumerate() {
            let (last, above) = rule.path.names().split_last().expect("a path has names");
            let mut node = 0;
            for name in above {
                node = match tree.nodes[node]
                    .find(name.as_bytes(), 0)
                    .map(|at| tree.nodes[node].members[at].target)
                {
                    Some(Target::Node(inner)) => inner,
                    Some(_) => unreachable!("a policy has no field within a field"),
                    None => {
                        tree.nodes.push(Node::default());
                        let inner = tree.nodes.len() - 1;
                        tree.add(node, name, Target::Node(inner));
                        inner
                    }
                };
            }
            let is_dropped = matches!(rule.spec, Spec::Drop) && !is_used(policy, field);
            tree.add(node, last, if is_dropped { Target::Dropped } else { Target::Field(field) });
        }
        tree
    }

    fn add(&mut self, node: usize, name: &str, target: Target) {
        let written = format!("\"{name}\":").into_bytes().into();
        let name: Box<[u8]> = name.as_bytes().into();
        let node = &mut self.nodes[node];
        node.by_name.insert(name.clone(), node.members.len());
        node.members.push(Member { name, written, target, number: self.members });
        self.members += 1;
    }
}

/// Whether something else is made of a field that is dropped itself.
pub(crate) fn is_used(policy: &Policy, field: usize) -> bool {
    let path = &policy.fields[field].path;
    let shifts = policy.columns().any(|rule| matches!(&rule.spec, Spec::DateShift { by, .. } if by == path));
    shifts || policy.derived.iter().any(|rule| rule.path == *path)
}

impl Node {
    /// How long the name is, with its quotes and colon, if the text begins with that of this member.
    pub(crate) fn begins(&self, at: usize, text: &[u8]) -> Option<usize> {
        let member = self.members.get(at)?;
        text.starts_with(&member.written).then_some(member.written.len())
    }

    /// The place of a name among the members; `hint` is where it most likely is.
    pub(crate) fn find(&self, name: &[u8], hint: usize) -> Option<usize> {
        if self.members.get(hint).is_some_and(|member| *member.name == *name) {
            return Some(hint);
        }
        if self.members.len() <= LINEAR_MAX {
            return self.members.iter().position(|member| *member.name == *name);
        }
        self.by_name.get(name).copied()
    }
}
